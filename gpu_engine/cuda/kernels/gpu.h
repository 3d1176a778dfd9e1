/*
 * The only header that a kernel includes. Under nvcc it is CUDA; under any other C++ compiler it is
 * the SIMT runtime of the tests, which runs each CUDA thread as a fiber. So everything that is not
 * plain C stands here once, with its twin for the host: what is written in inline assembly, where
 * shared memory lies, how a kernel is declared.
 *
 * A kernel is KERNEL(threads, name, (parameters)) with pointers, int32_t, uint64_t and float by
 * value. Halves are uint16_t everywhere, so that host, kernel and test share one set of types.
 */
#ifndef CUDA_KERNELS_GPU_H
#define CUDA_KERNELS_GPU_H

#include <stddef.h>
#include <stdint.h>

#include "types.h"

#define ALL_LANES    0xffffffffu
#define WARP	     32
#define HALF_LARGEST 65504.0f
#define NO_MAXIMUM   -1e30f /* below every score of attention */

#ifdef __CUDACC__

#include <cuda_runtime.h>
#include <math.h>

#define GPU_FN static __device__ __forceinline__
/* threads: the most that a block of it is launched with; "threads, blocks" says also how many
 * blocks must fit a multiprocessor, which bounds registers from above and lets ptxas use that many.
 */
#define KERNEL(threads, name, parameters)                                                          \
	extern "C" __global__ void __launch_bounds__(threads) name parameters
#define SHARED(type, name, dims) __shared__ __align__(16) type name dims
#define DYN_SHARED(type, name)                                                                     \
	extern __shared__ __align__(16) unsigned char gpu_dynamic_shared[];                        \
	type *name = (type *)gpu_dynamic_shared
#define UNROLL _Pragma("unroll")

GPU_FN uint32_t shared_address(const void *p)
{
	return (uint32_t)__cvta_generic_to_shared(p);
}

GPU_FN float half_to_float(uint16_t h)
{
	float f;

	asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
	return f;
}

GPU_FN uint16_t half_nearest(float f)
{
	uint16_t h;

	asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
	return h;
}

/* d += a b: 16 x 16 times 16 x 8, halves, sums in float. Fragments as in the PTX manual. */
GPU_FN void mma_16816(float d[4], const uint32_t a[4], const uint32_t b[2])
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
		     "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
		     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

/* Four 8 x 8 matrices of halves; lane l gives the address of row l % 8 of matrix l / 8. */
GPU_FN void load_matrices(uint32_t r[4], const uint16_t *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
		     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
		     : "r"(shared_address(row))
		     : "memory");
}

/* Each 8 x 8 matrix turned over. */
GPU_FN void load_matrices_turned(uint32_t r[4], const uint16_t *row)
{
	asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
		     : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
		     : "r"(shared_address(row))
		     : "memory");
}

/* 16 bytes from global to shared memory, of which `bytes` (0 or 16) are read, the rest zeros. */
GPU_FN void copy_async(void *shared, const void *global, int32_t bytes)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
		     "l"(global), "r"(bytes)
		     : "memory");
}

GPU_FN void copy_commit(void)
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}

/* Until at most `behind` groups of this thread's copies are under way. */
template <int behind> GPU_FN void copy_wait(void)
{
	asm volatile("cp.async.wait_group %0;" ::"n"(behind) : "memory");
}

#else
#include "simt_device.h"
#endif

/* ---- both ---- */

/* Nearest even; what is beyond the range is cut to it, so that a sum can not become infinite. NaN
 * stays NaN, and is seen. */
GPU_FN uint16_t float_to_half(float f)
{
	f = f > HALF_LARGEST ? HALF_LARGEST : f;
	return half_nearest(f < -HALF_LARGEST ? -HALF_LARGEST : f);
}

GPU_FN float low_half(uint32_t pair)
{
	return half_to_float((uint16_t)(pair & 0xffff));
}

GPU_FN float high_half(uint32_t pair)
{
	return half_to_float((uint16_t)(pair >> 16));
}

GPU_FN uint32_t pack_halves(float low, float high)
{
	return (uint32_t)float_to_half(low) | (uint32_t)float_to_half(high) << 16;
}

GPU_FN float low_bf16(uint32_t pair)
{
	return __uint_as_float(pair << 16);
}

GPU_FN float high_bf16(uint32_t pair)
{
	return __uint_as_float(pair & 0xffff0000u);
}

/* ---- sums over a warp and over a block: one order, all lanes get the result ---- */

GPU_FN float warp_sum(float v)
{
	UNROLL
	for (int32_t d = WARP / 2; d > 0; d /= 2)
		v += __shfl_xor_sync(ALL_LANES, v, d);
	return v;
}

GPU_FN float warp_max(float v)
{
	UNROLL
	for (int32_t d = WARP / 2; d > 0; d /= 2)
		v = fmaxf(v, __shfl_xor_sync(ALL_LANES, v, d));
	return v;
}

GPU_FN int32_t warp_sum_int(int32_t v)
{
	UNROLL
	for (int32_t d = WARP / 2; d > 0; d /= 2)
		v += __shfl_xor_sync(ALL_LANES, v, d);
	return v;
}

/* The whole block calls it, of whole warps. */
GPU_FN float block_sum(float v)
{
	SHARED(float, part, [WARP]);
	int32_t warp = (int32_t)threadIdx.x / WARP, lane = (int32_t)threadIdx.x % WARP;
	int32_t warps = (int32_t)blockDim.x / WARP;

	v = warp_sum(v);
	if (lane == 0)
		part[warp] = v;
	__syncthreads();
	v = warp_sum(lane < warps ? part[lane] : 0.0f);
	__syncthreads();
	return v;
}

GPU_FN float block_max(float v)
{
	SHARED(float, part, [WARP]);
	int32_t warp = (int32_t)threadIdx.x / WARP, lane = (int32_t)threadIdx.x % WARP;
	int32_t warps = (int32_t)blockDim.x / WARP;

	v = warp_max(v);
	if (lane == 0)
		part[warp] = v;
	__syncthreads();
	v = warp_max(part[lane < warps ? lane : 0]);
	__syncthreads();
	return v;
}

#endif

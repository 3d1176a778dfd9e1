/*
 * What gpu.h is under a host compiler: CUDA's built-in variables, types and functions, as far as
 * the kernels use them, on top of simt.h. Arithmetic is the device's where it is defined (halves to
 * nearest even, dp4a, umulhi); the approximate functions are the exact ones here.
 */
#ifndef SIMT_DEVICE_H
#define SIMT_DEVICE_H

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#include "simt.h"

#define threadIdx (simt_self->thread)
#define blockIdx  (simt_self->block)
#define blockDim  (simt_self->threads)
#define gridDim	  (simt_self->blocks)

#define GPU_FN static inline
#define UNROLL

/* A kernel tells the runtime what it is called and what it is called with. */
template <auto function> struct simt_thunk;
template <class... P, void (*function)(P...)> struct simt_thunk<function> {
	static constexpr size_t bytes[sizeof...(P) + 1] = {sizeof(P)..., 0};

	template <size_t... i>
	static void spread(const struct simt_arg *args, std::index_sequence<i...>)
	{
		function(*(const P *)args[i].at...);
	}
	static void call(const struct simt_arg *args)
	{
		spread(args, std::index_sequence_for<P...>());
	}
};
struct simt_registration {
	simt_kernel kernel;

	simt_registration(const char *name, void (*call)(const simt_arg *), const size_t *bytes,
			  int n, uint32_t threads, uint32_t = 1)
	    : kernel{name, call, n, bytes, threads, nullptr}
	{
		simt_register(&kernel);
	}
};
#define KERNEL(threads, name, parameters)                                                          \
	extern "C" void name parameters;                                                           \
	static simt_registration simt_registration_##name(                                         \
		#name, simt_thunk<name>::call, simt_thunk<name>::bytes,                            \
		sizeof(simt_thunk<name>::bytes) / sizeof(size_t) - 1, threads);                    \
	extern "C" void name parameters

#define SHARED(type, name, dims)                                                                   \
	typedef type simt_type_##name dims;                                                        \
	static const char simt_key_##name = 0;                                                     \
	simt_type_##name &name =                                                                   \
		*(simt_type_##name *)simt_shared(&simt_key_##name, sizeof(simt_type_##name))
#define DYN_SHARED(type, name) type *name = (type *)simt_dynamic_shared()

/* ---- types, as aligned as CUDA's ---- */

struct alignas(8) float2 {
	float x, y;
};
struct alignas(16) float4 {
	float x, y, z, w;
};
struct alignas(8) uint2 {
	uint32_t x, y;
};
struct alignas(16) uint4 {
	uint32_t x, y, z, w;
};
struct alignas(16) int4 {
	int32_t x, y, z, w;
};
static inline float2 make_float2(float x, float y)
{
	return {x, y};
}
static inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w)
{
	return {x, y, z, w};
}

static inline uint32_t __float_as_uint(float f)
{
	uint32_t u;

	__builtin_memcpy(&u, &f, sizeof(u));
	return u;
}
static inline float __uint_as_float(uint32_t u)
{
	float f;

	__builtin_memcpy(&f, &u, sizeof(f));
	return f;
}

/* ---- halves ---- */

static inline float half_to_float(uint16_t h)
{
	uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, m = h & 0x3ff;

	if (exponent == 31)
		return __uint_as_float(sign | 0x7f800000 | m << 13);
	if (exponent == 0)
		return __uint_as_float(sign | __float_as_uint((float)m * 0x1p-24f));
	return __uint_as_float(sign | (exponent + 112) << 23 | m << 13);
}

static inline uint16_t half_nearest(float f)
{
	uint32_t x = __float_as_uint(f), a = x & 0x7fffffff;
	uint16_t sign = (uint16_t)(x >> 16 & 0x8000);

	if (a > 0x7f800000)
		return 0x7fff;
	if (a >= 0x477ff000)
		return (uint16_t)(sign | 0x7c00);
	if (a < 0x38800000) /* subnormal: the sum leaves it in the low bits, rounded */
		return (uint16_t)(sign | (__float_as_uint(__uint_as_float(a) + 0.5f) - 0x3f000000));
	return (uint16_t)(sign | (a - 0x38000000 + 0xfff + (a >> 13 & 1)) >> 13);
}

/* ---- warps and blocks ---- */

#define SIMT_LINE int line = __builtin_LINE()

static inline void __syncthreads(SIMT_LINE)
{
	simt_barrier(line);
}
static inline void __syncwarp(uint32_t mask = 0xffffffffu, SIMT_LINE)
{
	simt_warp_op(SIMT_SYNCWARP, mask, nullptr, nullptr, 0, 0, line);
}
template <class T> static inline T __shfl_sync(uint32_t mask, T v, int from, SIMT_LINE)
{
	T r;

	simt_warp_op(SIMT_SHUFFLE, mask, &v, &r, sizeof(T), (uint32_t)from & 31, line);
	return r;
}
template <class T> static inline T __shfl_xor_sync(uint32_t mask, T v, int with, SIMT_LINE)
{
	T r;

	simt_warp_op(SIMT_SHUFFLE, mask, &v, &r, sizeof(T), simt_self->lane ^ (uint32_t)with, line);
	return r;
}
template <class T> static inline T __shfl_up_sync(uint32_t mask, T v, uint32_t by, SIMT_LINE)
{
	uint32_t lane = simt_self->lane;
	T r;

	simt_warp_op(SIMT_SHUFFLE, mask, &v, &r, sizeof(T), lane < by ? lane : lane - by, line);
	return r;
}
static inline uint32_t __ballot_sync(uint32_t mask, int predicate, SIMT_LINE)
{
	uint32_t in = predicate != 0, r;

	simt_warp_op(SIMT_BALLOT, mask, &in, &r, sizeof(r), 0, line);
	return r;
}

/* ---- what is inline assembly on the device ---- */

static inline void mma_16816(float d[4], const uint32_t a[4], const uint32_t b[2], SIMT_LINE)
{
	const void *in[] = {a, b, d};

	simt_warp_op(SIMT_MMA_F16, 0xffffffffu, in, d, 0, 0, line);
}
static inline void load_matrices(uint32_t r[4], const uint16_t *row, SIMT_LINE)
{
	simt_warp_op(SIMT_LOAD_MATRICES, 0xffffffffu, row, r, 0, 0, line);
}
static inline void load_matrices_turned(uint32_t r[4], const uint16_t *row, SIMT_LINE)
{
	simt_warp_op(SIMT_LOAD_MATRICES_TURNED, 0xffffffffu, row, r, 0, 0, line);
}
static inline void copy_async(void *shared, const void *global, int32_t bytes)
{
	simt_copy(shared, global, 16, (uint32_t)bytes);
}
static inline void copy_commit(void)
{
	simt_copy_commit();
}
template <int behind> static inline void copy_wait(void)
{
	simt_copy_wait(behind);
}

/* ---- scalars ---- */

static inline int32_t __dp4a(int32_t a, int32_t b, int32_t c)
{
	for (int i = 0; i < 32; i += 8)
		c += (int8_t)(a >> i) * (int8_t)(b >> i);
	return c;
}
static inline uint32_t __umulhi(uint32_t a, uint32_t b)
{
	return (uint32_t)((uint64_t)a * b >> 32);
}
static inline int __ffs(int32_t x)
{
	return __builtin_ffs(x);
}
static inline int __clz(int32_t x)
{
	return x == 0 ? 32 : __builtin_clz((uint32_t)x);
}
static inline int32_t __float2int_rn(float f)
{
	return (int32_t)lrintf(f);
}
template <class T> static inline T __ldg(const T *p)
{
	return *p;
}
static inline float rsqrtf(float x)
{
	return 1.0f / sqrtf(x);
}
#define __expf expf
#define __logf logf
static inline float __fdividef(float a, float b)
{
	return a / b;
}
static inline int32_t min(int32_t a, int32_t b)
{
	return a < b ? a : b;
}
static inline int32_t max(int32_t a, int32_t b)
{
	return a > b ? a : b;
}
static inline uint32_t atomicAdd(uint32_t *p, uint32_t v)
{
	return __atomic_fetch_add(p, v, __ATOMIC_RELAXED);
}
static inline uint32_t atomicOr(uint32_t *p, uint32_t v)
{
	return __atomic_fetch_or(p, v, __ATOMIC_RELAXED);
}
static inline uint32_t atomicExch(uint32_t *p, uint32_t v)
{
	return __atomic_exchange_n(p, v, __ATOMIC_RELAXED);
}

#endif

// Kernels with one mistake each; test_ptxsim.c says which check must notice it.
#include "device.h"

KERNEL b_race_read(float *out, const float *x)
{
	__shared__ float s[64];
	s[threadIdx.x] = x[threadIdx.x];
	out[threadIdx.x] = s[63 - threadIdx.x]; // no barrier
}

KERNEL b_race_write(float *out, const float *x)
{
	__shared__ float s[64];
	s[threadIdx.x] = x[threadIdx.x];
	__syncthreads();
	float v = s[63 - threadIdx.x];
	s[threadIdx.x] = v; // no barrier before the buffer is written again
	__syncthreads();
	out[threadIdx.x] = s[threadIdx.x];
}

KERNEL b_race_warp(float *out, const float *x)
{
	__shared__ float s[32];
	s[threadIdx.x] = x[threadIdx.x];
	float v = __shfl_xor_sync(FULL, x[threadIdx.x], 1); // orders nothing
	out[threadIdx.x] = s[31 - threadIdx.x] + v;
}

KERNEL b_race_blocks(float *out, const float *x)
{
	if (threadIdx.x == 0)
		out[0] += x[blockIdx.x];
}

KERNEL b_race_grid(float *out, const float *x)
{
	if (threadIdx.x == 0)
		out[blockIdx.x] = x[blockIdx.x];
	__syncthreads();
	if (threadIdx.x == 1)
		out[gridDim.x + blockIdx.x] = out[(blockIdx.x + 1) % gridDim.x]; // no grid barrier
}

KERNEL b_global_bounds(float *out, const float *x)
{
	out[threadIdx.x + 1] = x[threadIdx.x];
}

KERNEL b_shared_bounds(float *out, const float *x)
{
	__shared__ float s[64];
	s[threadIdx.x + (int)x[0] + 1] = 1; // x[0] is 0
	__syncthreads();
	out[threadIdx.x] = s[threadIdx.x];
}

KERNEL b_misaligned(float *out, const float *x)
{
	float4 v = *(const float4 *)(x + threadIdx.x);
	out[threadIdx.x] = v.x + v.w;
}

KERNEL b_divergent_barrier(float *out, const float *x)
{
	if (threadIdx.x < 32) {
		out[threadIdx.x] = x[threadIdx.x];
		__syncthreads();
		out[threadIdx.x] += 1;
	} else {
		out[threadIdx.x] = 0;
		__syncthreads();
		out[threadIdx.x] += 2;
	}
}

KERNEL b_exit_before_barrier(float *out, const float *x)
{
	if (threadIdx.x >= 40)
		return;
	out[threadIdx.x] = x[threadIdx.x];
	__syncthreads();
	out[threadIdx.x] += 1;
}

KERNEL b_lane_not_in_mask(float *out, const float *x)
{
	float v = x[threadIdx.x];
	out[threadIdx.x] = v + __shfl_xor_sync(0xffffu, v, 1);
}

KERNEL b_partial_mask(float *out, const float *x)
{
	float v = x[threadIdx.x];
	if (threadIdx.x < 16)
		v += __shfl_xor_sync(FULL, v, 1);
	out[threadIdx.x] = v;
}

KERNEL b_exited_lane(float *out, const float *x)
{
	if (threadIdx.x >= 20)
		return;
	out[threadIdx.x] = __shfl_down_sync(FULL, x[threadIdx.x], 4);
}

KERNEL b_copy_without_wait(float *out, const float *x)
{
	__shared__ __align__(16) float s[256];
	copy16(&s[threadIdx.x * 4], x + threadIdx.x * 4);
	copy_commit();
	__syncthreads();
	out[threadIdx.x] = s[threadIdx.x];
	copy_wait<0>();
}

KERNEL b_copy_without_barrier(float *out, const float *x)
{
	__shared__ __align__(16) float s[256];
	copy16(&s[threadIdx.x * 4], x + threadIdx.x * 4);
	copy_commit();
	copy_wait<0>();
	out[threadIdx.x] = s[255 - threadIdx.x];
}

KERNEL b_copy_refill(float *out, const float *x)
{
	__shared__ __align__(16) float s[256];
	float v = 0;
	for (int k = 0; k < 2; k++) {
		// others may still read the last round
		copy16(&s[threadIdx.x * 4], x + threadIdx.x * 4);
		copy_commit();
		copy_wait<0>();
		__syncthreads();
		v += s[255 - threadIdx.x];
	}
	out[threadIdx.x] = v;
}

KERNEL b_copy_never_waited(float *out, const float *x)
{
	__shared__ __align__(16) float s[256];
	copy16(&s[threadIdx.x * 4], x + threadIdx.x * 4);
	copy_commit();
	out[threadIdx.x] = 0;
}

KERNEL b_uninitialised_shared(float *out, const float *x)
{
	__shared__ float s[64];
	if (threadIdx.x < 60)
		s[threadIdx.x] = x[threadIdx.x];
	__syncthreads();
	// not a number compares false: the value hides it
	out[threadIdx.x] = s[threadIdx.x ^ 32] > 5 ? 1 : 0;
}

KERNEL b_uninitialised_global(float *out, const float *x)
{
	(void)x;
	out[threadIdx.x] = out[threadIdx.x + 64] > 5 ? 1 : 0;
}

KERNEL b_spin(float *out, const float *x)
{
	(void)x;
	while (*(volatile float *)out == 0 || blockIdx.x == 5)
		;
}

KERNEL b_trap(float *out, const float *x)
{
	if (x[0] == 0)
		__trap();
	out[0] = 1;
}

// What the threads of a warp, a block and a grid do together.
#include "device.h"

INLINE float warp_sum(float v)
{
	for (int o = 16; o; o >>= 1)
		v += __shfl_xor_sync(FULL, v, o);
	return v;
}

KERNEL k_block_sum(float *out, const float *x, int n)
{
	__shared__ float part[32];
	float s = 0;
	for (int i = threadIdx.x; i < n; i += blockDim.x)
		s += x[(size_t)blockIdx.x * n + i];
	s = warp_sum(s);
	if (threadIdx.x % 32 == 0)
		part[threadIdx.x / 32] = s;
	__syncthreads();
	s = threadIdx.x % 32 < blockDim.x / 32 ? part[threadIdx.x % 32] : 0;
	s = warp_sum(s);
	if (threadIdx.x == 0)
		out[blockIdx.x] = s;
}

KERNEL k_warp_ops(int *out, const int *x)
{
	int l = threadIdx.x, v = x[l], *o = out + l * 8;
	o[0] = __shfl_up_sync(FULL, v, 3);
	o[1] = __shfl_down_sync(FULL, v, 5, 8);
	o[2] = __shfl_sync(FULL, v, l * 7, 16);
	o[3] = (int)__ballot_sync(FULL, v & 1);
	o[4] = __any_sync(FULL, v == 77) + 2 * __all_sync(FULL, v < 1000);
	o[5] = __reduce_add_sync(FULL, v);
	o[6] = __reduce_max_sync(FULL, v);
	int t = 0; // lanes leave the loop one after the other and meet again
	for (int i = 0; i < l; i++)
		t += v & i;
	__syncwarp();
	o[7] = __shfl_xor_sync(FULL, t, 1);
}

KERNEL k_exchange(float *out, const float *x)
{
	extern __shared__ float dynamic[];
	dynamic[threadIdx.x] = x[blockIdx.x * blockDim.x + threadIdx.x];
	__syncwarp();
	float v = dynamic[threadIdx.x ^ 31];
	__syncthreads();
	dynamic[blockDim.x - 1 - threadIdx.x] = v;
	__syncthreads();
	out[blockIdx.x * blockDim.x + threadIdx.x] = dynamic[threadIdx.x];
}

KERNEL k_atomics(unsigned *out, const unsigned *x, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i >= n)
		return;
	atomicAdd(out, x[i]);
	atomicMax(out + 1, x[i]);
	atomicMin((int *)out + 2, (int)x[i]);
	atomicOr(out + 3, 1u << (x[i] & 31));
	atomicInc(out + 4, 9);
	atomicCAS(out + 5, 0, x[i]);
	atomicAdd((unsigned long long *)(out + 6), (unsigned long long)x[i] << 20);
	atomicAdd((float *)out + 8, 0.5f);
}

KERNEL k_grid_sum(float *out, float *part, const float *x)
{
	if (threadIdx.x == 0)
		part[blockIdx.x] = x[blockIdx.x] * 2;
	cooperative_groups::this_grid().sync();
	float s = 0;
	for (unsigned b = 0; b < gridDim.x; b++)
		s += part[b];
	if (threadIdx.x == 0)
		out[blockIdx.x] = s;
	cooperative_groups::this_grid().sync();
	if (threadIdx.x == 0)
		part[blockIdx.x] = out[(blockIdx.x + 1) % gridDim.x];
}

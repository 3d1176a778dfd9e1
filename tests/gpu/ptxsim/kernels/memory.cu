// Widths, spaces, vectors; copies that go by themselves.
#include "device.h"

__constant__ float table[4] = {0.5f, 1.5f, 2.5f, 3.5f};
__device__ int counter[2];

KERNEL k_widths(uint8_t *out, const uint8_t *in)
{
	int i = threadIdx.x;
	__shared__ __align__(16) uint8_t s[32 * 32];
	*(uint4 *)(s + i * 16) = *(const uint4 *)(in + i * 16);
	*(uint2 *)(s + 512 + i * 8) = *(const uint2 *)(in + i * 8);
	__syncwarp();
	const volatile uint8_t *g = i & 1 ? s : in; // a generic address: shared or global
	out[i] = (uint8_t)(g[i * 3] + 1);
	*(int16_t *)(out + 32 + i * 2) = (int16_t)(*(const int8_t *)(s + 512 + i) * 100);
	*(float *)(out + 96 + i * 4) = table[i & 3];
	if (i == 5)
		counter[1] = (int)in[7];
	*(uint64_t *)(out + 224 + i * 8) = *(const uint64_t *)(s + (31 - i) * 8);
}

// A window of four blocks of 128 floats, two of them on their way.
KERNEL k_pipeline(float *out, const float *x, int blocks, int last)
{
	__shared__ __align__(16) float s[2][128];
	float sum = 0;
	copy16(&s[0][threadIdx.x * 4], x + threadIdx.x * 4);
	copy_commit();
	for (int k = 0; k < blocks; k++) {
		if (k + 1 < blocks) {
			copy16_or_zero(&s[(k + 1) & 1][threadIdx.x * 4],
				       x + (k + 1) * 128 + threadIdx.x * 4,
				       k + 2 == blocks ? last : 16);
			copy_commit();
			copy_wait<1>();
		} else {
			copy_wait<0>();
		}
		__syncthreads();
		for (int i = 0; i < 128; i++)
			sum += s[k & 1][i] * (i + threadIdx.x);
		__syncthreads();
	}
	out[threadIdx.x] = sum;
}

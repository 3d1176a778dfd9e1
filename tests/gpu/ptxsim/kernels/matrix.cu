// Tensor-core tiles: 16 x 8 results from rows of A and of B transposed, both row-major, through
// ldmatrix.
#include "device.h"

template <bool bf> INLINE void mma_float(float *d, const uint32_t *a, const uint32_t *b)
{
	if (bf)
		asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, "
			     "{%4,%5,%6,%7}, {%8,%9}, "
			     "{%0,%1,%2,%3};"
			     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
			     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
	else
		asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, "
			     "{%4,%5,%6,%7}, {%8,%9}, "
			     "{%0,%1,%2,%3};"
			     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
			     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// out[16][8] = a[16][k] * b[8][k]^T, k a multiple of 16
template <bool bf> INLINE void tile(float *out, const uint16_t *a, const uint16_t *b, int k)
{
	__shared__ __align__(16) uint16_t as[16][24], bs[8][24];
	int l = threadIdx.x;
	float d[4] = {};
	for (int k0 = 0; k0 < k; k0 += 16) {
		copy16(&as[l / 2][l % 2 * 8], a + l / 2 * k + k0 + l % 2 * 8);
		if (l < 16)
			copy16(&bs[l / 2][l % 2 * 8], b + l / 2 * k + k0 + l % 2 * 8);
		copy_commit();
		copy_wait<0>();
		__syncthreads();
		uint32_t ar[4], br[2];
		asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
			     : "=r"(ar[0]), "=r"(ar[1]), "=r"(ar[2]), "=r"(ar[3])
			     : "r"(shared_address(&as[l % 16][l / 16 * 8]))
			     : "memory");
		asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];"
			     : "=r"(br[0]), "=r"(br[1])
			     : "r"(shared_address(&bs[l % 8][l / 8 % 2 * 8]))
			     : "memory");
		mma_float<bf>(d, ar, br);
		__syncthreads();
	}
	for (int h = 0; h < 2; h++)
		for (int c = 0; c < 2; c++)
			out[(l / 4 + 8 * h) * 8 + l % 4 * 2 + c] = d[h * 2 + c];
}

KERNEL k_mma_f16(float *out, const uint16_t *a, const uint16_t *b, int k)
{
	tile<false>(out, a, b, k);
}

KERNEL k_mma_bf16(float *out, const uint16_t *a, const uint16_t *b, int k)
{
	tile<true>(out, a, b, k);
}

// out[16][8] = a[16][32] * b[8][32]^T in bytes
KERNEL k_mma_s8(int *out, const int8_t *a, const int8_t *b)
{
	int l = threadIdx.x, g = l / 4, p = l % 4, d[4] = {1, 1, 1, 1};
	const int *aw = (const int *)a, *bw = (const int *)b;
	asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, "
		     "{%4,%5,%6,%7}, {%8,%9}, "
		     "{%0,%1,%2,%3};"
		     : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
		     : "r"(aw[g * 8 + p]), "r"(aw[(g + 8) * 8 + p]), "r"(aw[g * 8 + p + 4]),
		       "r"(aw[(g + 8) * 8 + p + 4]), "r"(bw[g * 8 + p]), "r"(bw[g * 8 + p + 4]));
	for (int h = 0; h < 2; h++)
		for (int c = 0; c < 2; c++)
			out[(g + 8 * h) * 8 + p * 2 + c] = d[h * 2 + c];
}

// ldmatrix.trans: out[l] is the word of the transposed 8 x 8 matrix of 16-bit values
KERNEL k_transpose(uint32_t *out, const uint16_t *a)
{
	__shared__ __align__(16) uint16_t s[8][8];
	int l = threadIdx.x;
	*(uint32_t *)&s[l / 4][l % 4 * 2] = *(const uint32_t *)(a + l * 2);
	__syncwarp();
	uint32_t v;
	asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1];"
		     : "=r"(v)
		     : "r"(shared_address(&s[l % 8][0]))
		     : "memory");
	out[l] = v;
}

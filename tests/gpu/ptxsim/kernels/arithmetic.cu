// Integers, floats, 16-bit floats, conversions, bit fields: each thread works on one element.
#include "device.h"

KERNEL k_integers(int *out, const int *a, const int *b, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i >= n)
		return;
	int x = a[i], y = b[i], *o = out + (size_t)i * 16;
	unsigned ux = (unsigned)x, uy = (unsigned)y;
	o[0] = x + y;
	o[1] = x * y;
	o[2] = y ? x / y : 7;
	o[3] = y ? (int)(ux % (uy | 1)) : 9;
	o[4] = __mulhi(x, y);
	o[5] = (int)(((long long)x * y) >> 13);
	o[6] = x >> (y & 31);
	o[7] = (int)(ux >> (uy & 31));
	o[8] = min(x, y) ^ max(ux, uy);
	o[9] = __popc(ux) + (__clz(x) << 8) + ((int)__brev(uy) >> 8);
	o[10] = __dp4a(x, y, 100);
	o[11] = (int)__byte_perm(ux, uy, 0x6513);
	o[12] = (int)__funnelshift_r(ux, uy, 11);
	o[13] = ((x >> 5) & 0x1ff) | (y << 20);
	o[14] = (int)(short)x * (int)(signed char)y + (int)(unsigned char)(ux >> 8);
	o[15] = abs(x) - (x & y | ~x);
}

KERNEL k_floats(float *out, const float *a, const float *b, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i >= n)
		return;
	float x = a[i], y = b[i], *o = out + (size_t)i * 12;
	o[0] = x + y * 3;
	o[1] = x / y;
	o[2] = fmaxf(x, fminf(y, 0.5f));
	o[3] = __expf(x);
	o[4] = rsqrtf(fabsf(x) + 0.25f);
	o[5] = sqrtf(fabsf(y));
	o[6] = (float)__float2int_rn(x * 10);
	o[7] = truncf(x * 10) + floorf(y * 10) * 100;
	o[8] = __logf(fabsf(x) + 0.5f);
	o[9] = __fdividef(x, y);
	o[10] = (float)((double)x * (double)y);
	o[11] = x < y ? 1 : x > y ? 2 : 3;
}

KERNEL k_halves(uint16_t *out, const float *a, const float *b, int n)
{
	int i = blockIdx.x * blockDim.x + threadIdx.x;
	if (i >= n)
		return;
	__half x = __float2half(a[i]), y = __float2half(b[i]);
	__nv_bfloat16 u = __float2bfloat16(a[i]), v = __float2bfloat16(b[i]);
	__half2 p = __floats2half2_rn(a[i], b[i]);
	p = __hfma2(p, p, p);
	uint16_t *o = out + (size_t)i * 8;
	o[0] = __half_as_ushort(x);
	o[1] = __bfloat16_as_ushort(u);
	o[2] = __half_as_ushort(__hadd(x, y));
	o[3] = __half_as_ushort(__hmul(x, y));
	o[4] = __half_as_ushort(__low2half(p));
	o[5] = __half_as_ushort(__high2half(p));
	o[6] = __bfloat16_as_ushort(__hfma(u, v, u));
	o[7] = __half_as_ushort(__float2half(__half2float(x) * 2 + __bfloat162float(v)));
}

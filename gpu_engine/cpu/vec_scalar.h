/*
 * The 16 lanes of vec_avx512.h as loops, for a machine that has neither set and as the plainest
 * statement of what each name means.
 */
#ifndef CPU_VEC_SCALAR_H
#define CPU_VEC_SCALAR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "model/dtype.h"

#define V_NAME	 "scalar"
#define V_ROWS	 2
#define V_TILES	 1
#define V_INLINE static inline

typedef struct {
	float f[16];
} vf;

typedef struct {
	int32_t i[16];
} vi;

#define EACH_LANE for (int l = 0; l < 16; l++)

V_INLINE vf v_set1(float x)
{
	vf r;

	EACH_LANE r.f[l] = x;
	return r;
}

V_INLINE vf v_load(const float *p)
{
	vf r;

	memcpy(&r, p, sizeof(r));
	return r;
}

V_INLINE void v_store(float *p, vf a)
{
	memcpy(p, &a, sizeof(a));
}

V_INLINE vf v_load_n(const float *p, int32_t n)
{
	vf r = {{0}};

	memcpy(&r, p, (size_t)n * sizeof(*p));
	return r;
}

V_INLINE void v_store_n(float *p, vf a, int32_t n)
{
	memcpy(p, &a, (size_t)n * sizeof(*p));
}

V_INLINE vf v_load_f16(const uint16_t *p)
{
	vf r;

	EACH_LANE r.f[l] = f16_to_float(p[l]);
	return r;
}

V_INLINE void v_store_f16(uint16_t *p, vf a)
{
	EACH_LANE p[l] = f16_from_float(a.f[l]);
}

V_INLINE vf v_load_bf16(const uint16_t *p)
{
	vf r;

	EACH_LANE r.f[l] = bf16_to_float(p[l]);
	return r;
}

V_INLINE vf v_add(vf a, vf b)
{
	EACH_LANE a.f[l] += b.f[l];
	return a;
}

V_INLINE vf v_sub(vf a, vf b)
{
	EACH_LANE a.f[l] -= b.f[l];
	return a;
}

V_INLINE vf v_mul(vf a, vf b)
{
	EACH_LANE a.f[l] *= b.f[l];
	return a;
}

V_INLINE vf v_div(vf a, vf b)
{
	EACH_LANE a.f[l] /= b.f[l];
	return a;
}

V_INLINE vf v_min(vf a, vf b)
{
	EACH_LANE a.f[l] = a.f[l] < b.f[l] ? a.f[l] : b.f[l];
	return a;
}

V_INLINE vf v_max(vf a, vf b)
{
	EACH_LANE a.f[l] = a.f[l] > b.f[l] ? a.f[l] : b.f[l];
	return a;
}

V_INLINE vf v_abs(vf a)
{
	EACH_LANE a.f[l] = fabsf(a.f[l]);
	return a;
}

/* Not fused: a library call a lane where the machine has no instruction for it. */
V_INLINE vf v_fma(vf a, vf b, vf c)
{
	EACH_LANE a.f[l] = a.f[l] * b.f[l] + c.f[l];
	return a;
}

V_INLINE vf v_select_less(vf a, vf b, vf if_less, vf otherwise)
{
	EACH_LANE a.f[l] = a.f[l] < b.f[l] ? if_less.f[l] : otherwise.f[l];
	return a;
}

V_INLINE vf v_keep(vf a, int32_t first, int32_t end, float otherwise)
{
	EACH_LANE a.f[l] = l >= first && l < end ? a.f[l] : otherwise;
	return a;
}

V_INLINE float v_sum(vf a)
{
	for (int half = 8; half > 0; half /= 2)
		for (int l = 0; l < half; l++)
			a.f[l] += a.f[l + half];
	return a.f[0];
}

V_INLINE float v_largest(vf a)
{
	for (int l = 1; l < 16; l++)
		a.f[0] = a.f[l] > a.f[0] ? a.f[l] : a.f[0];
	return a.f[0];
}

V_INLINE vf v_iota(void)
{
	vf r;

	EACH_LANE r.f[l] = (float)l;
	return r;
}

V_INLINE vi vi_set1(int32_t x)
{
	vi r;

	EACH_LANE r.i[l] = x;
	return r;
}

V_INLINE int32_t vi_sum(vi a)
{
	int32_t sum = 0;

	EACH_LANE sum += a.i[l];
	return sum;
}

V_INLINE vi vi_add(vi a, vi b)
{
	EACH_LANE a.i[l] += b.i[l];
	return a;
}

V_INLINE vi v_to_int(vf a)
{
	vi r;

	EACH_LANE r.i[l] = (int32_t)lrintf(a.f[l]);
	return r;
}

V_INLINE vf v_from_int(vi a)
{
	vf r;

	EACH_LANE r.f[l] = (float)a.i[l];
	return r;
}

V_INLINE vf v_power_of_2(vi n)
{
	vf r;

	EACH_LANE n.i[l] = (int32_t)((uint32_t)(n.i[l] + 127) << 23);
	memcpy(&r, &n, sizeof(r));
	return r;
}

V_INLINE void vi_store_i8(int8_t *p, vi a)
{
	EACH_LANE p[l] = (int8_t)a.i[l];
}

V_INLINE vi vi_load_bytes(const uint8_t *p)
{
	vi r;

	memcpy(&r, p, sizeof(r));
	return r;
}

V_INLINE vi vi_low_nibbles(vi a)
{
	EACH_LANE a.i[l] &= 0x0f0f0f0f;
	return a;
}

V_INLINE vi vi_high_nibbles(vi a)
{
	EACH_LANE a.i[l] = a.i[l] >> 4 & 0x0f0f0f0f;
	return a;
}

V_INLINE vi vi_dot4(vi acc, vi bytes, const int8_t *x)
{
	uint8_t b[16][4];

	memcpy(b, &bytes, sizeof(b));
	EACH_LANE acc.i[l] += b[l][0] * x[0] + b[l][1] * x[1] + b[l][2] * x[2] + b[l][3] * x[3];
	return acc;
}

V_INLINE vi vi_start_q8(int32_t sum)
{
	return vi_set1(-128 * sum);
}

V_INLINE vi vi_dot4_q8(vi acc, vi bytes, const int8_t *x)
{
	return vi_dot4(acc, bytes, x);
}

V_INLINE void v_transpose(vf r[16])
{
	for (int i = 0; i < 16; i++)
		for (int j = 0; j < i; j++) {
			float swapped = r[i].f[j];

			r[i].f[j] = r[j].f[i];
			r[j].f[i] = swapped;
		}
}

#endif

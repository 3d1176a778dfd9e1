/*
 * 16 floats (vf) or 16 integers (vi) at a time, one register each. vec_avx2.h and vec_scalar.h have
 * the same names with the same meaning.
 */
#ifndef CPU_VEC_AVX512_H
#define CPU_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define V_NAME	 "avx512"
#define V_ROWS	 8 /* rows of activations that a product keeps in registers */
#define V_TILES	 2 /* tiles likewise, of plain numbers */
#define V_INLINE static inline __attribute__((always_inline))

typedef __m512 vf;
typedef __m512i vi;

V_INLINE vf v_set1(float x)
{
	return _mm512_set1_ps(x);
}

V_INLINE vf v_load(const float *p)
{
	return _mm512_loadu_ps(p);
}

V_INLINE void v_store(float *p, vf a)
{
	_mm512_storeu_ps(p, a);
}

V_INLINE __mmask16 v_first(int32_t n)
{
	return (__mmask16)((1u << n) - 1);
}

/* The first n of 16, n < 16; zeros behind them. */
V_INLINE vf v_load_n(const float *p, int32_t n)
{
	return _mm512_maskz_loadu_ps(v_first(n), p);
}

V_INLINE void v_store_n(float *p, vf a, int32_t n)
{
	_mm512_mask_storeu_ps(p, v_first(n), a);
}

V_INLINE vf v_load_f16(const uint16_t *p)
{
	return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

V_INLINE void v_store_f16(uint16_t *p, vf a)
{
	_mm256_storeu_si256((__m256i *)p, _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT));
}

V_INLINE vf v_load_bf16(const uint16_t *p)
{
	__m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));

	return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

V_INLINE vf v_add(vf a, vf b)
{
	return _mm512_add_ps(a, b);
}

V_INLINE vf v_sub(vf a, vf b)
{
	return _mm512_sub_ps(a, b);
}

V_INLINE vf v_mul(vf a, vf b)
{
	return _mm512_mul_ps(a, b);
}

V_INLINE vf v_div(vf a, vf b)
{
	return _mm512_div_ps(a, b);
}

V_INLINE vf v_min(vf a, vf b)
{
	return _mm512_min_ps(a, b);
}

V_INLINE vf v_max(vf a, vf b)
{
	return _mm512_max_ps(a, b);
}

V_INLINE vf v_abs(vf a)
{
	return _mm512_abs_ps(a);
}

/* a * b + c */
V_INLINE vf v_fma(vf a, vf b, vf c)
{
	return _mm512_fmadd_ps(a, b, c);
}

/* if_less where a < b, else otherwise. */
V_INLINE vf v_select_less(vf a, vf b, vf if_less, vf otherwise)
{
	return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), otherwise, if_less);
}

/* Lanes [first, end) of a, `otherwise` in the others. */
V_INLINE vf v_keep(vf a, int32_t first, int32_t end, float otherwise)
{
	__mmask16 kept = (__mmask16)(((1u << end) - 1) & ~((1u << first) - 1));

	return _mm512_mask_blend_ps(kept, v_set1(otherwise), a);
}

V_INLINE float v_sum(vf a)
{
	return _mm512_reduce_add_ps(a);
}

V_INLINE float v_largest(vf a)
{
	return _mm512_reduce_max_ps(a);
}

/* 0, 1, .. 15 */
V_INLINE vf v_iota(void)
{
	return _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}

V_INLINE vi vi_set1(int32_t x)
{
	return _mm512_set1_epi32(x);
}

V_INLINE int32_t vi_sum(vi a)
{
	return _mm512_reduce_add_epi32(a);
}

V_INLINE vi vi_add(vi a, vi b)
{
	return _mm512_add_epi32(a, b);
}

/* To the nearest, ties to even. */
V_INLINE vi v_to_int(vf a)
{
	return _mm512_cvtps_epi32(a);
}

V_INLINE vf v_from_int(vi a)
{
	return _mm512_cvtepi32_ps(a);
}

/* 2^n, n in -126 .. 127 */
V_INLINE vf v_power_of_2(vi n)
{
	return _mm512_castsi512_ps(
		_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
}

/* As bytes; all of them fit. */
V_INLINE void vi_store_i8(int8_t *p, vi a)
{
	_mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(a));
}

/* 64 bytes: four of each lane. */
V_INLINE vi vi_load_bytes(const uint8_t *p)
{
	return _mm512_loadu_si512(p);
}

V_INLINE vi vi_low_nibbles(vi a)
{
	return _mm512_and_si512(a, _mm512_set1_epi8(15));
}

V_INLINE vi vi_high_nibbles(vi a)
{
	return _mm512_and_si512(_mm512_srli_epi32(a, 4), _mm512_set1_epi8(15));
}

/* acc + the products of each lane's four unsigned bytes with the four signed ones at x. The bytes
 * are below 128 ... */
V_INLINE vi vi_dot4(vi acc, vi bytes, const int8_t *x)
{
	int32_t four;

	memcpy(&four, x, sizeof(four));
	return _mm512_dpbusd_epi32(acc, bytes, _mm512_set1_epi32(four));
}

/* ... or they stand for bytes - 128: then the sum starts here, sum being that of the x. */
V_INLINE vi vi_start_q8(int32_t sum)
{
	return _mm512_set1_epi32(-128 * sum);
}

V_INLINE vi vi_dot4_q8(vi acc, vi bytes, const int8_t *x)
{
	return vi_dot4(acc, bytes, x);
}

/* r[i] lane j <-> r[j] lane i: pairs, then fours, then the 128-bit quarters in two rounds. */
V_INLINE void v_transpose(vf r[16])
{
	vf t[16];

#pragma GCC unroll 8
	for (int i = 0; i < 16; i += 2) {
		t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
		t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 16; i += 4) {
		r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
		r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xee);
		r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xee);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		t[i] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0x88);
		t[i + 4] = _mm512_shuffle_f32x4(r[i], r[i + 4], 0xdd);
		t[i + 8] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0x88);
		t[i + 12] = _mm512_shuffle_f32x4(r[i + 8], r[i + 12], 0xdd);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
		r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xdd);
		r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
		r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xdd);
	}
}

#endif

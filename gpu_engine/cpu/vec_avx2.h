/*
 * The 16 lanes of vec_avx512.h in two registers of 8: with FMA and F16C, which every machine with
 * AVX2 has.
 */
#ifndef CPU_VEC_AVX2_H
#define CPU_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define V_NAME	 "avx2"
#define V_ROWS	 4
#define V_TILES	 1
#define V_INLINE static inline __attribute__((always_inline))

typedef struct {
	__m256 a, b;
} vf;

typedef struct {
	__m256i a, b;
} vi;

V_INLINE vf v_set1(float x)
{
	__m256 r = _mm256_set1_ps(x);

	return (vf){r, r};
}

V_INLINE vf v_load(const float *p)
{
	return (vf){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}

V_INLINE void v_store(float *p, vf x)
{
	_mm256_storeu_ps(p, x.a);
	_mm256_storeu_ps(p + 8, x.b);
}

V_INLINE vf v_load_n(const float *p, int32_t n)
{
	float whole[16] = {0};

	memcpy(whole, p, (size_t)n * sizeof(*p));
	return v_load(whole);
}

V_INLINE void v_store_n(float *p, vf x, int32_t n)
{
	float whole[16];

	v_store(whole, x);
	memcpy(p, whole, (size_t)n * sizeof(*p));
}

V_INLINE vf v_load_f16(const uint16_t *p)
{
	return (vf){_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p)),
		    _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(p + 8)))};
}

V_INLINE void v_store_f16(uint16_t *p, vf x)
{
	_mm_storeu_si128((__m128i *)p, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
	_mm_storeu_si128((__m128i *)(p + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}

V_INLINE __m256 widen_bf16(const uint16_t *p)
{
	__m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));

	return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

V_INLINE vf v_load_bf16(const uint16_t *p)
{
	return (vf){widen_bf16(p), widen_bf16(p + 8)};
}

V_INLINE vf v_add(vf x, vf y)
{
	return (vf){_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)};
}

V_INLINE vf v_sub(vf x, vf y)
{
	return (vf){_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)};
}

V_INLINE vf v_mul(vf x, vf y)
{
	return (vf){_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)};
}

V_INLINE vf v_div(vf x, vf y)
{
	return (vf){_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)};
}

V_INLINE vf v_min(vf x, vf y)
{
	return (vf){_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)};
}

V_INLINE vf v_max(vf x, vf y)
{
	return (vf){_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)};
}

V_INLINE vf v_abs(vf x)
{
	__m256 sign = _mm256_set1_ps(-0.0f);

	return (vf){_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}

V_INLINE vf v_fma(vf x, vf y, vf z)
{
	return (vf){_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)};
}

V_INLINE vf v_select_less(vf x, vf y, vf if_less, vf otherwise)
{
	return (vf){_mm256_blendv_ps(otherwise.a, if_less.a, _mm256_cmp_ps(x.a, y.a, _CMP_LT_OQ)),
		    _mm256_blendv_ps(otherwise.b, if_less.b, _mm256_cmp_ps(x.b, y.b, _CMP_LT_OQ))};
}

/* All bits where first <= lane < end, for the lanes that begin at `lane`. */
V_INLINE __m256 lanes_between(int32_t first, int32_t end, int32_t lane)
{
	__m256i lanes = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
					 _mm256_set1_epi32(lane));

	return _mm256_castsi256_ps(
		_mm256_and_si256(_mm256_cmpgt_epi32(lanes, _mm256_set1_epi32(first - 1)),
				 _mm256_cmpgt_epi32(_mm256_set1_epi32(end), lanes)));
}

V_INLINE vf v_keep(vf x, int32_t first, int32_t end, float otherwise)
{
	__m256 other = _mm256_set1_ps(otherwise);

	return (vf){_mm256_blendv_ps(other, x.a, lanes_between(first, end, 0)),
		    _mm256_blendv_ps(other, x.b, lanes_between(first, end, 8))};
}

V_INLINE float v_sum(vf x)
{
	__m256 eight = _mm256_add_ps(x.a, x.b);
	__m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));

	four = _mm_add_ps(four, _mm_movehl_ps(four, four));
	return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

V_INLINE float v_largest(vf x)
{
	__m256 eight = _mm256_max_ps(x.a, x.b);
	__m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));

	four = _mm_max_ps(four, _mm_movehl_ps(four, four));
	return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

V_INLINE vf v_iota(void)
{
	return (vf){_mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7),
		    _mm256_setr_ps(8, 9, 10, 11, 12, 13, 14, 15)};
}

V_INLINE vi vi_set1(int32_t x)
{
	__m256i r = _mm256_set1_epi32(x);

	return (vi){r, r};
}

V_INLINE int32_t vi_sum(vi x)
{
	__m256i eight = _mm256_add_epi32(x.a, x.b);
	__m128i four =
		_mm_add_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));

	four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
	return _mm_cvtsi128_si32(_mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1)));
}

V_INLINE vi vi_add(vi x, vi y)
{
	return (vi){_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)};
}

V_INLINE vi v_to_int(vf x)
{
	return (vi){_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)};
}

V_INLINE vf v_from_int(vi x)
{
	return (vf){_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)};
}

V_INLINE __m256 power_of_2(__m256i n)
{
	return _mm256_castsi256_ps(
		_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

V_INLINE vf v_power_of_2(vi n)
{
	return (vf){power_of_2(n.a), power_of_2(n.b)};
}

V_INLINE void vi_store_i8(int8_t *p, vi x)
{
	__m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xd8);

	_mm_storeu_si128((__m128i *)p, _mm_packs_epi16(_mm256_castsi256_si128(words),
						       _mm256_extracti128_si256(words, 1)));
}

V_INLINE vi vi_load_bytes(const uint8_t *p)
{
	return (vi){_mm256_loadu_si256((const __m256i *)p),
		    _mm256_loadu_si256((const __m256i *)(p + 32))};
}

V_INLINE vi vi_low_nibbles(vi x)
{
	__m256i low = _mm256_set1_epi8(15);

	return (vi){_mm256_and_si256(x.a, low), _mm256_and_si256(x.b, low)};
}

V_INLINE vi vi_high_nibbles(vi x)
{
	return vi_low_nibbles((vi){_mm256_srli_epi32(x.a, 4), _mm256_srli_epi32(x.b, 4)});
}

V_INLINE __m256i broadcast4(const int8_t *x)
{
	int32_t four;

	memcpy(&four, x, sizeof(four));
	return _mm256_set1_epi32(four);
}

/* Pairs of products are summed in 16 bits: 2 * 127 * 127 has room. */
V_INLINE __m256i dot4(__m256i acc, __m256i bytes, __m256i x)
{
	return _mm256_add_epi32(
		acc, _mm256_madd_epi16(_mm256_maddubs_epi16(bytes, x), _mm256_set1_epi16(1)));
}

V_INLINE vi vi_dot4(vi acc, vi bytes, const int8_t *x)
{
	__m256i four = broadcast4(x);

	return (vi){dot4(acc.a, bytes.a, four), dot4(acc.b, bytes.b, four)};
}

/* 2 * 255 * 127 has not. So the bytes go back to what they stand for, and their signs to the x: 2 *
 * 128 * 127 has. */
V_INLINE vi vi_start_q8(int32_t sum)
{
	(void)sum;
	return vi_set1(0);
}

V_INLINE __m256i dot4_q8(__m256i acc, __m256i bytes, __m256i x)
{
	__m256i w = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));

	return dot4(acc, _mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}

V_INLINE vi vi_dot4_q8(vi acc, vi bytes, const int8_t *x)
{
	__m256i four = broadcast4(x);

	return (vi){dot4_q8(acc.a, bytes.a, four), dot4_q8(acc.b, bytes.b, four)};
}

V_INLINE void transpose8(__m256 r[8])
{
	__m256 t[8];

#pragma GCC unroll 4
	for (int i = 0; i < 8; i += 2) {
		t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
		t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
	}
#pragma GCC unroll 2
	for (int i = 0; i < 8; i += 4) {
		r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
		r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xee);
		r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
		r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xee);
	}
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++) {
		t[i] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x20);
		t[i + 4] = _mm256_permute2f128_ps(r[i], r[i + 4], 0x31);
	}
	memcpy(r, t, sizeof(t));
}

/* Four blocks of 8 x 8; the two beside the diagonal change places. */
V_INLINE void v_transpose(vf r[16])
{
	__m256 block[8], other[8];

	for (int i = 0; i < 8; i++)
		block[i] = r[i].a;
	transpose8(block);
	for (int i = 0; i < 8; i++)
		r[i].a = block[i];
	for (int i = 0; i < 8; i++) {
		block[i] = r[i].b;
		other[i] = r[i + 8].a;
	}
	transpose8(block);
	transpose8(other);
	for (int i = 0; i < 8; i++) {
		r[i].b = other[i];
		r[i + 8].a = block[i];
		block[i] = r[i + 8].b;
	}
	transpose8(block);
	for (int i = 0; i < 8; i++)
		r[i + 8].b = block[i];
}

#endif

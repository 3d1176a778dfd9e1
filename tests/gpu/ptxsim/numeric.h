/* The 16-bit float formats and what PTX asks of arithmetic beyond C's: rounding to even, flushing,
 * saturation. */
#ifndef PTXSIM_NUMERIC_H
#define PTXSIM_NUMERIC_H

#include <cmath>
#include <cstdint>
#include <cstring>

template <class To, class From> static inline To bits_as(From from)
{
	static_assert(sizeof(To) == sizeof(From), "same size");
	To to;
	memcpy(&to, &from, sizeof to);
	return to;
}

static inline float half_to_float(uint32_t h)
{
	uint32_t sign = (h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3ff;
	if (exponent == 31)
		return bits_as<float>(sign | 0x7f800000 | fraction << 13);
	if (exponent == 0)
		return bits_as<float>(sign | bits_as<uint32_t>((float)fraction * 0x1p-24f));
	return bits_as<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

static inline float bf16_to_float(uint32_t h)
{
	return bits_as<float>(h << 16);
}

/* To the nearest, ties to even, from a double once: no double rounding on the way through float. */
static inline uint32_t narrow(double x, int fraction_bits, int min_exponent, int max_exponent)
{
	uint32_t sign = std::signbit(x) ? 0x8000 : 0,
		 infinity = 0x7fffu >> fraction_bits << fraction_bits;
	if (x != x)
		return 0x7fff;
	double a = fabs(x);
	if (a == 0)
		return sign;
	int e;
	frexp(a, &e);
	e = e - 1 < min_exponent ? min_exponent : e - 1;
	double units = nearbyint(ldexp(a, fraction_bits - e)); /* of the last place */
	if (ldexp(units, e - fraction_bits) >= ldexp(1, max_exponent + 1))
		return sign | infinity;
	return sign | ((uint32_t)units + ((uint32_t)(e - min_exponent) << fraction_bits));
}

static inline uint32_t to_half(double x)
{
	return narrow(x, 10, -14, 15);
}

static inline uint32_t to_bf16(double x)
{
	return narrow(x, 7, -126, 127);
}

static inline uint32_t float_to_half(float f)
{
	uint32_t u = bits_as<uint32_t>(f), sign = u >> 16 & 0x8000, a = u & 0x7fffffff;
	if (a < 0x38800000 || a >= 0x47800000)
		return to_half(f); /* subnormal, too large, not a number */
	return sign | ((a - 0x38000000 + 0xfff + (a >> 13 & 1)) >> 13);
}

static inline uint32_t float_to_bf16(float f)
{
	uint32_t u = bits_as<uint32_t>(f);
	if (f != f)
		return 0x7fff;
	return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

static inline float flushed(float f)
{
	return std::fpclassify(f) == FP_SUBNORMAL ? copysignf(0, f) : f;
}

#endif

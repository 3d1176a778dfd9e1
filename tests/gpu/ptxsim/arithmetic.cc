/* Integer and floating-point arithmetic, lane by lane: one template a shape, one small functor an
 * operation. */
#include <algorithm>
#include <type_traits>
#include "machine.h"
#include "numeric.h"

/* How a type lies in the register file, and what is computed with. */
struct half_lane {
	typedef uint32_t place;
	typedef float value;
	static float load(uint32_t v)
	{
		return half_to_float(v & 0xffff);
	}
	static uint32_t store(double v)
	{
		return to_half(v);
	}
};
struct bf16_lane {
	typedef uint32_t place;
	typedef float value;
	static float load(uint32_t v)
	{
		return bf16_to_float(v & 0xffff);
	}
	static uint32_t store(double v)
	{
		return to_bf16(v);
	}
};
template <class T> struct plain_lane {
	typedef typename std::conditional<sizeof(T) == 2, uint32_t, T>::type place;
	typedef T value;
	static T load(place v)
	{
		return (T)v;
	}
	static place store(T v)
	{
		return sizeof(T) == 2 ? (place)(uint16_t)v : (place)v;
	}
};

template <class L, int N, class F>
static inline typename L::place apply(F f, typename L::place a, typename L::place b,
				      typename L::place c)
{
	if constexpr (N == 1)
		return L::store(f(L::load(a)));
	else if constexpr (N == 2)
		return L::store(f(L::load(a), L::load(b)));
	else
		return L::store(f(L::load(a), L::load(b), L::load(c)));
}

template <class L, int N, class F> static void map_lanes(warp &w, const insn &i, uint32_t lanes)
{
	typedef typename L::place place;
	place *d = lanes_of<place>(w, i.d[0]), *a = lanes_of<place>(w, i.s[0]),
	      *b = lanes_of<place>(w, i.s[N > 1]), *c = lanes_of<place>(w, i.s[N > 2 ? 2 : 0]);
	if (lanes == ~0u) {
		for (int l = 0; l < 32; l++)
			d[l] = apply<L, N>(F(), a[l], b[l], c[l]);
	} else {
		each_lane(lanes, [&](int l) { d[l] = apply<L, N>(F(), a[l], b[l], c[l]); });
	}
}

/* Two 16-bit values in a word. */
template <class L, int N, class F> static void map_pairs(warp &w, const insn &i, uint32_t lanes)
{
	uint32_t *d = lanes_of<uint32_t>(w, i.d[0]), *a = lanes_of<uint32_t>(w, i.s[0]),
		 *b = lanes_of<uint32_t>(w, i.s[N > 1]),
		 *c = lanes_of<uint32_t>(w, i.s[N > 2 ? 2 : 0]);
	each_lane(lanes, [&](int l) {
		uint32_t low = apply<L, N>(F(), a[l], b[l], c[l]);
		uint32_t high = apply<L, N>(F(), a[l] >> 16, b[l] >> 16, c[l] >> 16);
		d[l] = low | high << 16;
	});
}

/* f32 with .ftz or .sat: what goes in and comes out is flushed or clamped. */
template <int N, class F> static void map_special(warp &w, const insn &i, uint32_t lanes)
{
	float *d = lanes_of<float>(w, i.d[0]), *a = lanes_of<float>(w, i.s[0]),
	      *b = lanes_of<float>(w, i.s[N > 1]), *c = lanes_of<float>(w, i.s[N > 2 ? 2 : 0]);
	bool ftz = i.flags & FTZ;
	each_lane(lanes, [&](int l) {
		float x = ftz ? flushed(a[l]) : a[l], y = ftz ? flushed(b[l]) : b[l],
		      z = ftz ? flushed(c[l]) : c[l];
		float r = apply<plain_lane<float>, N>(F(), x, y, z);
		if (ftz)
			r = flushed(r);
		if (i.flags & SAT)
			r = r > 0 ? std::min(r, 1.0f) : 0;
		d[l] = r;
	});
}

template <class T>
using wrapping = typename std::make_unsigned<
	typename std::conditional<std::is_integral<T>::value, T, int>::type>::type;

#define FUNCTOR2(NAME, INTEGER, FLOAT)                                                             \
	struct NAME {                                                                              \
		template <class T> T operator()(T a, T b) const                                    \
		{                                                                                  \
			if constexpr (std::is_integral<T>::value) {                                \
				typedef wrapping<T> U;                                             \
				(void)sizeof(U);                                                   \
				return (T)(INTEGER);                                               \
			} else {                                                                   \
				return FLOAT;                                                      \
			}                                                                          \
		}                                                                                  \
	}

FUNCTOR2(op_add, (U)((U)a + (U)b), a + b);
FUNCTOR2(op_sub, (U)((U)a - (U)b), a - b);
FUNCTOR2(op_mul, (U)((uint64_t)a *(uint64_t)b), a *b);
FUNCTOR2(op_div,
	 b == 0					  ? (T)-1
	 : b == (T)-1 && std::is_signed<T>::value ? (T)((U)0 - (U)a)
						  : (T)(a / b),
	 a / b);
FUNCTOR2(op_rem,
	 b == 0					  ? (T)-1
	 : b == (T)-1 && std::is_signed<T>::value ? (T)0
						  : (T)(a % b),
	 fmod(a, b));
FUNCTOR2(op_min, a < b ? a : b,
	 a != a					? b
	 : b != b				? a
	 : a < b || (a == b && std::signbit(a)) ? a
						: b);
FUNCTOR2(op_max, a > b ? a : b,
	 a != a					 ? b
	 : b != b				 ? a
	 : a > b || (a == b && !std::signbit(a)) ? a
						 : b);
FUNCTOR2(op_min_nan, a, a != a ? a : b != b ? b : a < b ? a : b);
FUNCTOR2(op_max_nan, a, a != a ? a : b != b ? b : a > b ? a : b);
FUNCTOR2(op_copysign, a, std::copysign(b, a));

struct op_mul_hi {
	template <class T> T operator()(T a, T b) const
	{
		typedef typename std::conditional<std::is_signed<T>::value, __int128,
						  unsigned __int128>::type wide;
		return (T)((wide)a * (wide)b >> (8 * sizeof(T)));
	}
};
struct op_mad {
	template <class T> T operator()(T a, T b, T c) const
	{
		return (T)((uint64_t)a * (uint64_t)b + (uint64_t)c);
	}
};
struct op_mad_hi {
	template <class T> T operator()(T a, T b, T c) const
	{
		return (T)((wrapping<T>)op_mul_hi()(a, b) + (wrapping<T>)c);
	}
};
struct op_fma {
	float operator()(float a, float b, float c) const
	{
		return __builtin_fmaf(a, b, c);
	}
	double operator()(double a, double b, double c) const
	{
		return __builtin_fma(a, b, c);
	}
};
struct op_fma16 { /* a product of 16-bit floats is exact in a double */
	double operator()(float a, float b, float c) const
	{
		return (double)a * b + c;
	}
};
struct op_fma16_relu {
	double operator()(float a, float b, float c) const
	{
		double r = (double)a * b + c;
		return r < 0 ? 0 : r;
	}
};
struct op_neg {
	template <class T> T operator()(T a) const
	{
		if constexpr (std::is_integral<T>::value)
			return (T)(0 - (wrapping<T>)a);
		else
			return -a;
	}
};
struct op_abs {
	template <class T> T operator()(T a) const
	{
		if constexpr (std::is_integral<T>::value)
			return a < 0 ? op_neg()(a) : a;
		else
			return std::fabs(a);
	}
};
#define FUNCTOR1(NAME, EXPRESSION)                                                                 \
	struct NAME {                                                                              \
		template <class T> T operator()(T a) const                                         \
		{                                                                                  \
			return EXPRESSION;                                                         \
		}                                                                                  \
	}
FUNCTOR1(op_ex2, std::exp2(a));
FUNCTOR1(op_lg2, std::log2(a));
FUNCTOR1(op_rcp, 1 / a);
FUNCTOR1(op_rsqrt, 1 / std::sqrt(a));
FUNCTOR1(op_sqrt, std::sqrt(a));
FUNCTOR1(op_sin, std::sin(a));
FUNCTOR1(op_cos, std::cos(a));
FUNCTOR1(op_tanh, std::tanh(a));

template <class F, int N> static exec_fn of_floats(const insn &i)
{
	bool plain = !(i.flags & (FTZ | SAT));
	switch (i.t) {
	case F32:
		return plain ? map_lanes<plain_lane<float>, N, F> : map_special<N, F>;
	case F64:
		return plain ? map_lanes<plain_lane<double>, N, F> : nullptr;
	case F16:
		return plain ? map_lanes<half_lane, N, F> : nullptr;
	case BF16:
		return plain ? map_lanes<bf16_lane, N, F> : nullptr;
	case F16X2:
		return plain ? map_pairs<half_lane, N, F> : nullptr;
	case BF16X2:
		return plain ? map_pairs<bf16_lane, N, F> : nullptr;
	default:
		return nullptr;
	}
}

template <class F, int N> static exec_fn of_integers(const insn &i)
{
	if (i.flags & SAT)
		return nullptr;
	switch (i.t) {
	case U16:
		return map_lanes<plain_lane<uint16_t>, N, F>;
	case S16:
		return map_lanes<plain_lane<int16_t>, N, F>;
	case U32:
		return map_lanes<plain_lane<uint32_t>, N, F>;
	case S32:
		return map_lanes<plain_lane<int32_t>, N, F>;
	case U64:
		return map_lanes<plain_lane<uint64_t>, N, F>;
	case S64:
		return map_lanes<plain_lane<int64_t>, N, F>;
	default:
		return nullptr;
	}
}

template <class F, int N> static exec_fn of_all(const insn &i)
{
	return type_float(i.t) ? of_floats<F, N>(i) : of_integers<F, N>(i);
}

/* The approximate functions: computed exactly, so tolerances must have room for the hardware's
 * error. */
template <class F> static exec_fn of_f32(const insn &i)
{
	bool allowed = i.t == F32 || i.t == F16 || i.t == F16X2 || i.t == F64;
	return allowed ? of_floats<F, 1>(i) : nullptr;
}

template <class A, class R> static void wide(warp &w, const insn &i, uint32_t lanes)
{
	each_lane(lanes, [&](int l) {
		R r = (R)(A)get(w, i.s[0], l) * (R)(A)get(w, i.s[1], l);
		uint64_t sum = (uint64_t)r + (i.nsrc == 3 ? get(w, i.s[2], l) : 0);
		put(w, i.d[0], l, sum);
	});
}

static exec_fn pick_wide(const insn &i)
{
	switch (i.t) {
	case U16:
		return wide<uint16_t, uint32_t>;
	case S16:
		return wide<int16_t, int32_t>;
	case U32:
		return wide<uint32_t, uint64_t>;
	case S32:
		return wide<int32_t, int64_t>;
	default:
		return nullptr;
	}
}

static exec_fn pick_fma(const insn &i, const words_t &words)
{
	bool relu = has_word(words, "relu");
	if (i.t == F32 || i.t == F64)
		return relu				       ? nullptr
		       : i.t == F32 && (i.flags & (FTZ | SAT)) ? map_special<3, op_fma>
		       : i.t == F32	       ? map_lanes<plain_lane<float>, 3, op_fma>
		       : i.flags & (FTZ | SAT) ? nullptr
					       : map_lanes<plain_lane<double>, 3, op_fma>;
	if (i.flags & (FTZ | SAT))
		return nullptr;
	switch (i.t) {
	case F16:
		return relu ? map_lanes<half_lane, 3, op_fma16_relu>
			    : map_lanes<half_lane, 3, op_fma16>;
	case BF16:
		return relu ? map_lanes<bf16_lane, 3, op_fma16_relu>
			    : map_lanes<bf16_lane, 3, op_fma16>;
	case F16X2:
		return relu ? map_pairs<half_lane, 3, op_fma16_relu>
			    : map_pairs<half_lane, 3, op_fma16>;
	case BF16X2:
		return relu ? map_pairs<bf16_lane, 3, op_fma16_relu>
			    : map_pairs<bf16_lane, 3, op_fma16>;
	default:
		return nullptr;
	}
}

static const struct {
	const char *name;
	exec_fn (*pick)(const insn &i);
} plain_rows[] = {
	{"add", of_all<op_add, 2>},
	{"sub", of_all<op_sub, 2>},
	{"div", of_all<op_div, 2>},
	{"rem", of_integers<op_rem, 2>},
	{"neg", of_all<op_neg, 1>},
	{"abs", of_all<op_abs, 1>},
	{"copysign", of_floats<op_copysign, 2>},
	{"ex2", of_f32<op_ex2>},
	{"lg2", of_f32<op_lg2>},
	{"rcp", of_f32<op_rcp>},
	{"rsqrt", of_f32<op_rsqrt>},
	{"sqrt", of_f32<op_sqrt>},
	{"sin", of_f32<op_sin>},
	{"cos", of_f32<op_cos>},
	{"tanh", of_f32<op_tanh>},
};

void bind_arithmetic(insn &i, const words_t &words)
{
	const std::string &name = words[0];
	bool hi = has_word(words, "hi"), nan = has_word(words, "NaN");
	if (has_word(words, "wide"))
		i.run = pick_wide(i);
	else if (name == "mul")
		i.run = hi ? (type_float(i.t) ? nullptr : of_integers<op_mul_hi, 2>(i))
			   : of_all<op_mul, 2>(i);
	else if (name == "mad")
		i.run = hi ? of_integers<op_mad_hi, 3>(i) : of_integers<op_mad, 3>(i);
	else if (name == "fma")
		i.run = pick_fma(i, words);
	else if (name == "min")
		i.run = nan ? of_floats<op_min_nan, 2>(i) : of_all<op_min, 2>(i);
	else if (name == "max")
		i.run = nan ? of_floats<op_max_nan, 2>(i) : of_all<op_max, 2>(i);
	for (auto &row : plain_rows)
		if (name == row.name)
			i.run = row.pick(i);
}

/* Comparison, selection, conversion between types, moves. */
#include <type_traits>
#include "machine.h"
#include "numeric.h"

enum compare : uint8_t {
	EQ,
	NE,
	LT,
	LE,
	GT,
	GE,
	EQU,
	NEU,
	LTU,
	LEU,
	GTU,
	GEU,
	NUM,
	NAN_,
	COMPARES
};
static const char *const compare_names[] = {"eq",  "ne",  "lt",	 "le",	"gt",  "ge",  "equ",
					    "neu", "ltu", "leu", "gtu", "geu", "num", "nan"};
static const struct {
	const char *name;
	compare as;
} unsigned_names[] = {{"lo", LT}, {"ls", LE}, {"hi", GT}, {"hs", GE}};

template <class T> static bool holds(int how, T a, T b)
{
	bool unordered = a != a || b != b;
	switch (how) {
	case EQ:
		return a == b;
	case NE:
		return a != b && !unordered;
	case LT:
		return a < b;
	case LE:
		return a <= b;
	case GT:
		return a > b;
	case GE:
		return a >= b;
	case EQU:
		return a == b || unordered;
	case NEU:
		return a != b;
	case LTU:
		return a < b || unordered;
	case LEU:
		return a <= b || unordered;
	case GTU:
		return a > b || unordered;
	case GEU:
		return a >= b || unordered;
	case NUM:
		return !unordered;
	default:
		return unordered;
	}
}

struct as_half {
};
struct as_bf16 {
};

template <class T> static auto value_at(const warp &w, const operand &o, int lane)
{
	if constexpr (std::is_same<T, as_half>::value)
		return half_to_float(lanes_of<uint32_t>(w, o)[lane] & 0xffff);
	else if constexpr (std::is_same<T, as_bf16>::value)
		return bf16_to_float(lanes_of<uint32_t>(w, o)[lane] & 0xffff);
	else if constexpr (sizeof(T) == 2)
		return (T)lanes_of<uint32_t>(w, o)[lane];
	else
		return lanes_of<T>(w, o)[lane];
}

template <class T> static uint32_t compared(const warp &w, const insn &i, uint32_t lanes)
{
	uint32_t r = 0;
	each_lane(lanes, [&](int l) {
		auto a = value_at<T>(w, i.s[0], l), b = value_at<T>(w, i.s[1], l);
		if constexpr (std::is_same<T, float>::value)
			if (i.flags & FTZ)
				a = flushed(a), b = flushed(b);
		r |= (uint32_t)holds(i.sub, a, b) << l;
	});
	return r;
}

enum { JUST, AND, OR, XOR };

template <class T> static void setp(warp &w, const insn &i, uint32_t lanes)
{
	uint32_t r = compared<T>(w, i, lanes), other = i.nsrc == 3 ? pred_of(w, i.s[2]) : 0,
		 not_r = ~r;
	switch (i.sub2) {
	case AND:
		r &= other, not_r &= other;
		break;
	case OR:
		r |= other, not_r |= other;
		break;
	case XOR:
		r ^= other, not_r ^= other;
		break;
	}
	pred_put(w, i.d[0], lanes, r);
	pred_put(w, i.pdst, lanes, not_r);
}

template <class T> static void set(warp &w, const insn &i, uint32_t lanes)
{
	uint32_t r = compared<T>(w, i, lanes), yes = i.t == F32 ? 0x3f800000 : ~0u;
	each_lane(lanes, [&](int l) { put(w, i.d[0], l, r >> l & 1 ? yes : 0); });
}

static void selp(warp &w, const insn &i, uint32_t lanes)
{
	uint32_t p = pred_of(w, i.s[2]);
	each_lane(lanes, [&](int l) { put(w, i.d[0], l, get(w, i.s[p >> l & 1 ? 0 : 1], l)); });
}

static const struct {
	type t;
	exec_fn setp, set;
} compare_rows[] = {
	{U16, setp<uint16_t>, set<uint16_t>}, {B16, setp<uint16_t>, set<uint16_t>},
	{S16, setp<int16_t>, set<int16_t>},   {U32, setp<uint32_t>, set<uint32_t>},
	{B32, setp<uint32_t>, set<uint32_t>}, {S32, setp<int32_t>, set<int32_t>},
	{U64, setp<uint64_t>, set<uint64_t>}, {B64, setp<uint64_t>, set<uint64_t>},
	{S64, setp<int64_t>, set<int64_t>},   {F32, setp<float>, set<float>},
	{F64, setp<double>, set<double>},     {F16, setp<as_half>, set<as_half>},
	{BF16, setp<as_bf16>, set<as_bf16>},
};

void bind_compare(insn &i, const words_t &words)
{
	if (words[0] == "selp") {
		i.run = i.s[2].kind == operand::PREDICATE ? selp : nullptr;
		return;
	}
	i.sub = COMPARES;
	for (int n = 0; n < COMPARES; n++)
		if (words[1] == compare_names[n])
			i.sub = (uint8_t)n;
	for (auto &row : unsigned_names)
		if (words[1] == row.name)
			i.sub = row.as;
	i.sub2 = has_word(words, "and")	  ? AND
		 : has_word(words, "or")  ? OR
		 : has_word(words, "xor") ? XOR
					  : JUST;
	if (i.sub == COMPARES || (i.nsrc == 3) != (i.sub2 != JUST))
		return;
	bool is_set = words[0] == "set";
	if (is_set && i.t != U32 && i.t != S32 && i.t != F32)
		return;
	for (auto &row : compare_rows)
		if (row.t == i.t2)
			i.run = is_set ? row.set : row.setp;
}

enum rounding : uint8_t { TO_NEAREST, TO_ZERO, INT_NEAREST, INT_ZERO, INT_DOWN, INT_UP };
static const char *const rounding_names[] = {"rn", "rz", "rni", "rzi", "rmi", "rpi"};

static double rounded(int how, double x)
{
	switch (how) {
	case INT_NEAREST:
		return nearbyint(x);
	case INT_ZERO:
		return trunc(x);
	case INT_DOWN:
		return floor(x);
	case INT_UP:
		return ceil(x);
	default:
		return x;
	}
}

static uint64_t cut_to(type t, uint64_t v)
{
	int spare = 64 - 8 * type_bytes(t);
	return type_signed(t) ? (uint64_t)((int64_t)(v << spare) >> spare) : v << spare >> spare;
}

static double float_of(type t, uint64_t v)
{
	switch (t) {
	case F16:
		return half_to_float(v & 0xffff);
	case BF16:
		return bf16_to_float(v & 0xffff);
	case F32:
		return bits_as<float>((uint32_t)v);
	default:
		return bits_as<double>(v);
	}
}

static uint64_t float_bits(type t, double x)
{
	switch (t) {
	case F16:
		return to_half(x);
	case BF16:
		return to_bf16(x);
	case F32:
		return bits_as<uint32_t>((float)x);
	default:
		return bits_as<uint64_t>(x);
	}
}

static uint64_t to_integer(type t, double x)
{
	int bits = 8 * type_bytes(t);
	double high = ldexp(1, type_signed(t) ? bits - 1 : bits), low = type_signed(t) ? -high : 0;
	if (x != x)
		return 0;
	if (x >= high)
		return type_signed(t) ? (1ull << (bits - 1)) - 1 : ~0ull >> (64 - bits);
	if (x < low)
		return type_signed(t) ? cut_to(t, 1ull << (bits - 1)) : 0;
	return type_signed(t) ? (uint64_t)(int64_t)x : (uint64_t)x;
}

static uint64_t saturated_integer(const insn &i, uint64_t v)
{
	int bits = 8 * type_bytes(i.t);
	__int128 x = type_signed(i.t2) ? (__int128)(int64_t)v : (__int128)v;
	__int128 high = ((__int128)1 << (type_signed(i.t) ? bits - 1 : bits)) - 1,
		 low = type_signed(i.t) ? -high - 1 : 0;
	return (uint64_t)(x > high ? high : x < low ? low : x);
}

static void cvt(warp &w, const insn &i, uint32_t lanes)
{
	each_lane(lanes, [&](int l) {
		uint64_t v = get(w, i.s[0], l), r;
		if (type_float(i.t2)) {
			double x = float_of(i.t2, v);
			if (i.flags & FTZ && i.t2 == F32)
				x = flushed((float)x);
			if (type_float(i.t)) {
				x = rounded(i.sub, x);
				if (i.flags & SAT)
					x = x > 0 ? fmin(x, 1) : 0;
				r = float_bits(i.t, x);
			} else {
				r = to_integer(i.t,
					       i.sub <= TO_ZERO ? trunc(x) : rounded(i.sub, x));
			}
		} else {
			v = cut_to(i.t2, v);
			if (i.t == F32) /* 64 bits to float round once */
				r = bits_as<uint32_t>(type_signed(i.t2) ? (float)(int64_t)v
									: (float)v);
			else if (type_float(i.t))
				r = float_bits(i.t,
					       type_signed(i.t2) ? (double)(int64_t)v : (double)v);
			else
				r = cut_to(i.t, i.flags & SAT ? saturated_integer(i, v) : v);
		}
		put(w, i.d[0], l, r);
	});
}

/* cvt.rn.f16x2.f32 d, a, b: a is the upper half */
static void cvt_pair(warp &w, const insn &i, uint32_t lanes)
{
	uint32_t (*narrowed)(float) = i.t == F16X2 ? float_to_half : float_to_bf16;
	uint32_t *d = lanes_of<uint32_t>(w, i.d[0]);
	float *high = lanes_of<float>(w, i.s[0]), *low = lanes_of<float>(w, i.s[1]);
	each_lane(lanes, [&](int l) { d[l] = narrowed(high[l]) << 16 | narrowed(low[l]); });
}

/* The conversions of inner loops. */
static void cvt_float_half(warp &w, const insn &i, uint32_t lanes)
{
	float *d = lanes_of<float>(w, i.d[0]);
	uint32_t *a = lanes_of<uint32_t>(w, i.s[0]);
	each_lane(lanes, [&](int l) { d[l] = half_to_float(a[l] & 0xffff); });
}
static void cvt_half_float(warp &w, const insn &i, uint32_t lanes)
{
	uint32_t *d = lanes_of<uint32_t>(w, i.d[0]);
	float *a = lanes_of<float>(w, i.s[0]);
	each_lane(lanes, [&](int l) { d[l] = float_to_half(a[l]); });
}
static void cvt_float_int(warp &w, const insn &i, uint32_t lanes)
{
	float *d = lanes_of<float>(w, i.d[0]);
	int32_t *a = lanes_of<int32_t>(w, i.s[0]);
	each_lane(lanes, [&](int l) { d[l] = (float)a[l]; });
}
template <class To, class From> static void cvt_wider(warp &w, const insn &i, uint32_t lanes)
{
	To *d = lanes_of<To>(w, i.d[0]);
	From *a = lanes_of<From>(w, i.s[0]);
	each_lane(lanes, [&](int l) { d[l] = (To)a[l]; });
}

static exec_fn quick_cvt(const insn &i)
{
	if (i.flags & (FTZ | SAT))
		return cvt;
	if (i.t == F32 && i.t2 == F16 && !i.sub)
		return cvt_float_half;
	if (i.t == F16 && i.t2 == F32 && !i.sub)
		return cvt_half_float;
	if (i.t == F32 && i.t2 == S32)
		return cvt_float_int;
	bool registers_fit = i.d[0].bytes == 8 && i.s[0].bytes == 4;
	if (type_bytes(i.t) == 8 && !type_float(i.t) && registers_fit && i.t2 == S32)
		return cvt_wider<int64_t, int32_t>;
	if (type_bytes(i.t) == 8 && !type_float(i.t) && registers_fit && i.t2 == U32)
		return cvt_wider<uint64_t, uint32_t>;
	return cvt;
}

void bind_convert(insn &i, const words_t &words)
{
	for (int n = 0; n <= INT_UP; n++)
		if (has_word(words, rounding_names[n]))
			i.sub = (uint8_t)n;
	bool pair = i.t == F16X2 || i.t == BF16X2;
	bool float_result = type_float(i.t) && !pair;
	if (pair) {
		i.run = i.t2 == F32 && i.nsrc == 2 && i.sub == TO_NEAREST && !(i.flags & SAT)
				? cvt_pair
				: nullptr;
		return;
	}
	if (i.nsrc != 1 || i.t2 == F16X2 || i.t2 == BF16X2 || i.t3 != NO_TYPE || i.t == PRED)
		return;
	if (i.sub == TO_ZERO && float_result)
		return; /* rounding toward zero of a float result */
	i.run = quick_cvt(i);
}

static void mov(warp &w, const insn &i, uint32_t lanes)
{
	each_lane(lanes, [&](int l) { put(w, i.d[0], l, get(w, i.s[0], l)); });
}
static void mov_word(warp &w, const insn &i, uint32_t lanes)
{
	uint32_t *d = lanes_of<uint32_t>(w, i.d[0]), *a = lanes_of<uint32_t>(w, i.s[0]);
	if (lanes == ~0u)
		memmove(d, a, 128);
	else
		each_lane(lanes, [&](int l) { d[l] = a[l]; });
}
static void mov_pred(warp &w, const insn &i, uint32_t lanes)
{
	pred_put(w, i.d[0], lanes, pred_of(w, i.s[0]));
}
/* mov.b32 d, {a, b}: the first is the lowest */
static void mov_pack(warp &w, const insn &i, uint32_t lanes)
{
	int bits = 8 * type_bytes(i.t) / i.nsrc;
	each_lane(lanes, [&](int l) {
		uint64_t r = 0;
		for (int n = 0; n < i.nsrc; n++)
			r |= (get(w, i.s[n], l) & ((1ull << bits) - 1)) << bits * n;
		put(w, i.d[0], l, r);
	});
}
static void mov_unpack(warp &w, const insn &i, uint32_t lanes)
{
	int bits = 8 * type_bytes(i.t) / i.ndst;
	each_lane(lanes, [&](int l) {
		uint64_t v = get(w, i.s[0], l);
		for (int n = 0; n < i.ndst; n++)
			put(w, i.d[n], l, v >> bits * n & ((1ull << bits) - 1));
	});
}

static uint64_t window_of(::space s)
{
	return s == SHARED ? SHARED_WINDOW : s == LOCAL ? LOCAL_WINDOW : 0;
}
static void cvta(warp &w, const insn &i, uint32_t lanes)
{
	uint64_t window = window_of(i.space);
	each_lane(lanes, [&](int l) {
		uint64_t v = get(w, i.s[0], l);
		put(w, i.d[0], l, i.flags & TO_SPACE ? v - window : v + window);
	});
}
static void isspacep(warp &w, const insn &i, uint32_t lanes)
{
	uint32_t r = 0;
	each_lane(lanes, [&](int l) {
		uint64_t v = get(w, i.s[0], l), window = window_of(i.space);
		bool in = window ? v >= window && v < window + WINDOW_BYTES : v < SHARED_WINDOW;
		r |= (uint32_t)in << l;
	});
	pred_put(w, i.d[0], lanes, r);
}

static void ld_param(warp &w, const insn &i, uint32_t lanes)
{
	int bytes = type_bytes(i.t);
	for (int n = 0; n < i.ndst; n++) {
		uint64_t v = 0;
		memcpy(&v, w.b->l->params + i.target + n * bytes, bytes);
		v = cut_to(i.t, v);
		each_lane(lanes, [&](int l) { put(w, i.d[n], l, v); });
	}
}

void bind_move(insn &i, const words_t &words)
{
	if (words[0] == "ld") {
		i.run = i.ndst == i.vec ? ld_param : nullptr;
	} else if (words[0] == "cvta") {
		i.flags |= has_word(words, "to") ? TO_SPACE : 0;
		i.run = cvta;
	} else if (words[0] == "isspacep") {
		i.run = i.space == GLOBAL || window_of(i.space) ? isspacep : nullptr;
	} else if (i.t == PRED) {
		i.run = mov_pred;
	} else if (i.nsrc > 1 && i.ndst == 1) {
		i.run = mov_pack;
	} else if (i.ndst > 1 && i.nsrc == 1) {
		i.run = mov_unpack;
	} else if (i.nsrc == 1 && i.ndst == 1) {
		i.run = i.d[0].bytes == 4 && i.s[0].bytes == 4 ? mov_word : mov;
	}
}

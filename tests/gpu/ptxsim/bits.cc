/* Logic, shifts, bit fields, byte permutation, and the packed dot products. */
#include <algorithm>
#include "machine.h"

/* f(a, b, c, d) of the raw values of a lane, each zero-extended; the result is cut to the register.
 */
template <class F> static void map_raw(warp &w, const insn &i, uint32_t lanes)
{
	each_lane(lanes, [&](int l) {
		uint64_t v[4] = {};
		for (int n = 0; n < i.nsrc; n++)
			v[n] = get(w, i.s[n], l);
		uint64_t r = F()(i, v);
		put(w, i.d[0], l, type_bytes(i.t) == 2 ? r & 0xffff : r);
	});
}

template <class T, class F> static void map_pair(warp &w, const insn &i, uint32_t lanes)
{
	T *d = lanes_of<T>(w, i.d[0]), *a = lanes_of<T>(w, i.s[0]), *b = lanes_of<T>(w, i.s[1]);
	if (lanes == ~0u)
		for (int l = 0; l < 32; l++)
			d[l] = F()(a[l], b[l]);
	else
		each_lane(lanes, [&](int l) { d[l] = F()(a[l], b[l]); });
}

template <class F> static void map_predicates(warp &w, const insn &i, uint32_t lanes)
{
	pred_put(w, i.d[0], lanes, F()(pred_of(w, i.s[0]), pred_of(w, i.s[1])));
}

#define LOGIC(NAME, EXPRESSION)                                                                    \
	struct NAME {                                                                              \
		template <class T> T operator()(T a, T b) const                                    \
		{                                                                                  \
			(void)b;                                                                   \
			return (T)(EXPRESSION);                                                    \
		}                                                                                  \
	}
LOGIC(op_and, a &b);
LOGIC(op_or, a | b);
LOGIC(op_xor, a ^ b);
LOGIC(op_not, ~a);
LOGIC(op_shl, b >= 8 * sizeof(T) ? 0 : a << b);

template <class F> static exec_fn logic(const insn &i)
{
	return i.t == PRED	      ? map_predicates<F>
	       : type_bytes(i.t) == 8 ? map_pair<uint64_t, F>
				      : map_pair<uint32_t, F>;
}

#define RAW(NAME, BODY)                                                                            \
	struct NAME {                                                                              \
		uint64_t operator()(const insn &i, const uint64_t *v) const                        \
		{                                                                                  \
			(void)i;                                                                   \
			BODY                                                                       \
		}                                                                                  \
	}

static int64_t extended(const insn &i, uint64_t v)
{
	int cut = 64 - 8 * type_bytes(i.t);
	return type_signed(i.t) ? (int64_t)(v << cut) >> cut : (int64_t)(v << cut >> cut);
}

RAW(raw_shl, {
	unsigned bits = 8 * type_bytes(i.t);
	return v[1] >= bits ? 0 : v[0] << v[1];
});
RAW(raw_shr, {
	unsigned bits = 8 * type_bytes(i.t);
	if (type_signed(i.t))
		return (uint64_t)(extended(i, v[0]) >> std::min<uint64_t>(v[1], bits - 1));
	return v[1] >= bits ? 0 : (uint64_t)extended(i, v[0]) >> v[1];
});
RAW(raw_shf, {
	uint64_t both = v[1] << 32 | v[0];
	uint64_t n = i.flags & CLAMP ? std::min<uint64_t>(v[2], 32) : v[2] & 31;
	return i.sub ? both >> n : both << n >> 32;
});
RAW(raw_popc, { return (uint64_t)__builtin_popcountll(v[0]); });
RAW(raw_clz, {
	int outside = 64 - 8 * type_bytes(i.t);
	return (uint64_t)((v[0] ? __builtin_clzll(v[0]) : 64) - outside);
});
RAW(raw_brev, {
	uint64_t r = 0;
	int bits = 8 * type_bytes(i.t);
	for (int n = 0; n < bits; n++)
		r |= (v[0] >> n & 1) << (bits - 1 - n);
	return r;
});
RAW(raw_bfind, {
	uint64_t x = (uint64_t)extended(i, v[0]);
	if (type_signed(i.t) && (int64_t)x < 0)
		x = ~x;
	if (!x)
		return 0xffffffff;
	int top = 63 - __builtin_clzll(x);
	return (uint64_t)(i.sub ? 8 * type_bytes(i.t) - 1 - top : top);
});
RAW(raw_prmt, {
	uint64_t both = v[1] << 32 | (uint32_t)v[0];
	uint64_t r = 0;
	for (int n = 0; n < 4; n++) {
		unsigned pick = (unsigned)(v[2] >> 4 * n);
		uint8_t byte = (uint8_t)(both >> 8 * (pick & 7));
		if (pick & 8)
			byte = byte & 0x80 ? 0xff : 0;
		r |= (uint64_t)byte << 8 * n;
	}
	return r;
});
RAW(raw_bfe, {
	unsigned bits = 8 * type_bytes(i.t);
	unsigned pos = v[1] & 255;
	unsigned len = v[2] & 255;
	if (!len)
		return 0;
	int64_t x = extended(i, v[0]);
	uint64_t r = pos >= bits	? (type_signed(i.t) && x < 0 ? ~0ull : 0)
		     : type_signed(i.t) ? (uint64_t)(x >> pos)
					: (uint64_t)x >> pos;
	if (len >= bits)
		return r;
	return type_signed(i.t) ? (uint64_t)((int64_t)(r << (64 - len)) >> (64 - len))
				: r & ((1ull << len) - 1);
});
RAW(raw_bfi, {
	unsigned bits = 8 * type_bytes(i.t);
	unsigned pos = v[2] & 255;
	unsigned len = v[3] & 255;
	if (pos >= bits)
		return v[1];
	uint64_t mask = (len >= 64 ? ~0ull : (1ull << len) - 1) << pos;
	return (v[1] & ~mask) | (v[0] << pos & mask);
});
RAW(raw_lop3, {
	uint32_t a = (uint32_t)v[0];
	uint32_t b = (uint32_t)v[1];
	uint32_t c = (uint32_t)v[2];
	uint32_t r = 0;
	for (int n = 0; n < 8; n++)
		if (i.sub2 >> n & 1)
			r |= (n & 4 ? a : ~a) & (n & 2 ? b : ~b) & (n & 1 ? c : ~c);
	return r;
});

/* dp4a, dp2a: the types say which side is signed. */
static int part(uint64_t v, int n, int bits, bool is_signed)
{
	int x = (int)(v >> bits * n & ((1u << bits) - 1));
	return is_signed && x >> (bits - 1) ? x - (1 << bits) : x;
}
RAW(raw_dp4a, {
	uint32_t sum = (uint32_t)v[2];
	for (int n = 0; n < 4; n++)
		sum += (uint32_t)(part(v[0], n, 8, i.t == S32) * part(v[1], n, 8, i.t2 == S32));
	return sum;
});
RAW(raw_dp2a, {
	uint32_t sum = (uint32_t)v[2];
	for (int n = 0; n < 2; n++)
		sum += (uint32_t)(part(v[0], n, 16, i.t == S32) *
				  part(v[1], n + 2 * i.sub, 8, i.t2 == S32));
	return sum;
});

static const struct {
	const char *name;
	exec_fn run;
	bool floats, narrow; /* besides 32 and 64-bit integers */
} raw_rows[] = {
	{"shr", map_raw<raw_shr>, false, true},	   {"shf", map_raw<raw_shf>, false, false},
	{"popc", map_raw<raw_popc>, false, false}, {"clz", map_raw<raw_clz>, false, false},
	{"brev", map_raw<raw_brev>, false, false}, {"bfind", map_raw<raw_bfind>, false, false},
	{"prmt", map_raw<raw_prmt>, false, false}, {"bfe", map_raw<raw_bfe>, false, false},
	{"bfi", map_raw<raw_bfi>, false, false},   {"lop3", map_raw<raw_lop3>, false, false},
	{"dp4a", map_raw<raw_dp4a>, false, false}, {"dp2a", map_raw<raw_dp2a>, false, false},
};

void bind_bits(insn &i, const words_t &words)
{
	const std::string &name = words[0];
	if (type_float(i.t) || type_bytes(i.t) == 0)
		return;
	if (name == "and")
		i.run = logic<op_and>(i);
	else if (name == "or")
		i.run = logic<op_or>(i);
	else if (name == "xor")
		i.run = logic<op_xor>(i);
	else if (name == "not")
		i.s[1] = i.s[0], i.run = logic<op_not>(i);
	else if (name == "shl")
		i.run = type_bytes(i.t) == 4 ? map_pair<uint32_t, op_shl> : map_raw<raw_shl>;
	else if (name == "shf")
		i.sub = has_word(words, "r"), i.flags |= has_word(words, "clamp") ? CLAMP : 0;
	else if (name == "bfind")
		i.sub = has_word(words, "shiftamt");
	else if (name == "dp2a")
		i.sub = has_word(words, "hi");
	for (auto &row : raw_rows)
		if (name == row.name &&
		    (type_bytes(i.t) >= 4 || (row.narrow && type_bytes(i.t) == 2)))
			i.run = row.run;
	if (name == "prmt" && words.size() > 2)
		i.run = nullptr; /* its other modes */
}

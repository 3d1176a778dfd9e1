/* Loads, stores, atomics and cp.async; and what a warp's request costs: sectors of 32 bytes, bank
 * conflicts. */
#include <algorithm>
#include <cstring>
#include "machine.h"
#include "numeric.h"

/*
 * Global: sectors touched against the fewest that could hold the distinct bytes. Shared: the 32
 * banks serve one word each a phase of 128 bytes; a phase takes as long as the busiest bank has
 * different words.
 */
static void count_global(const insn &i, const uint64_t *at, int n, unsigned bytes)
{
	uint64_t sectors[64];
	int count = 0;
	uint64_t distinct[32];
	std::copy(at, at + n, distinct);
	std::sort(distinct, distinct + n);
	uint64_t different = std::unique(distinct, distinct + n) - distinct;
	for (int l = 0; l < n; l++)
		for (uint64_t s = at[l] / 32; s <= (at[l] + bytes - 1) / 32; s++)
			sectors[count++] = s;
	std::sort(sectors, sectors + count);
	i.counts.sectors += std::unique(sectors, sectors + count) - sectors;
	i.counts.ideal += (different * bytes + 31) / 32;
	i.counts.bytes += different * bytes;
}

static void count_shared(const insn &i, const uint64_t *at, int n, unsigned bytes)
{
	int words = std::max(1u, bytes / 4), per_phase = std::min(32, 32 / words);
	for (int from = 0; from < n; from += per_phase) {
		uint64_t seen[32][8];
		int depth[32] = {}, most = 0;
		for (int l = from; l < std::min(n, from + per_phase); l++) {
			for (int k = 0; k < words; k++) {
				uint64_t word = at[l] / 4 + k, bank = word & 31;
				int d = std::min(depth[bank], 8);
				if (std::find(seen[bank], seen[bank] + d, word) != seen[bank] + d)
					continue;
				if (d < 8)
					seen[bank][d] = word;
				most = std::max(most, ++depth[bank]);
			}
		}
		i.counts.wavefronts += most;
		i.counts.phases++;
	}
	i.counts.bytes += (uint64_t)n * bytes;
}

void count_request(const insn &i, space sp, const uint64_t *at, int n, unsigned bytes)
{
	if (n && sp == GENERIC)
		sp = at[0] < SHARED_WINDOW ? GLOBAL : at[0] < LOCAL_WINDOW ? SHARED : LOCAL;
	if (sp == SHARED)
		count_shared(i, at, n, bytes);
	else if (sp != LOCAL)
		count_global(i, at, n, bytes);
}

static void count_lanes(const warp &w, const insn &i, const operand &o, uint32_t lanes,
			unsigned bytes)
{
	uint64_t at[32];
	int n = 0;
	each_lane(lanes, [&](int l) { at[n++] = address(w, o, l); });
	count_request(i, i.space, at, n, bytes);
}

template <class T, class Place> static void load(warp &w, const insn &i, uint32_t lanes)
{
	unsigned bytes = sizeof(T) * i.vec;
	if (opt.count)
		count_lanes(w, i, i.s[0], lanes, bytes);
	each_lane(lanes, [&](int l) {
		const char *p = memory_at(w, i, l, i.space, address(w, i.s[0], l), bytes, READ);
		for (int n = 0; n < i.vec; n++) {
			T v;
			memcpy(&v, p + n * sizeof(T), sizeof v);
			if (i.d[n].kind != operand::NONE)
				lanes_of<Place>(w, i.d[n])[l] = (Place)v;
		}
	});
}

template <class T> static void store(warp &w, const insn &i, uint32_t lanes)
{
	unsigned bytes = sizeof(T) * i.vec;
	if (opt.count)
		count_lanes(w, i, i.s[0], lanes, bytes);
	each_lane(lanes, [&](int l) {
		char *p = memory_at(w, i, l, i.space, address(w, i.s[0], l), bytes, WRITE);
		for (int n = 0; n < i.vec; n++) {
			T v = (T)get(w, i.s[n + 1], l);
			memcpy(p + n * sizeof(T), &v, sizeof v);
		}
	});
}

static const struct {
	int bytes;
	bool is_signed;
	exec_fn load32, load64, store;
} access_rows[] = {
	{1, false, load<uint8_t, uint32_t>, load<uint8_t, uint64_t>, store<uint8_t>},
	{1, true, load<int8_t, int32_t>, load<int8_t, int64_t>, store<uint8_t>},
	{2, false, load<uint16_t, uint32_t>, load<uint16_t, uint64_t>, store<uint16_t>},
	{2, true, load<int16_t, int32_t>, load<int16_t, int64_t>, store<uint16_t>},
	{4, false, load<uint32_t, uint32_t>, load<uint32_t, uint64_t>, store<uint32_t>},
	{4, true, load<int32_t, int32_t>, load<int32_t, int64_t>, store<uint32_t>},
	{8, false, nullptr, load<uint64_t, uint64_t>, store<uint64_t>},
	{8, true, nullptr, load<int64_t, int64_t>, store<uint64_t>},
};

void bind_memory(insn &i, const words_t &words)
{
	bool is_store = words[0] == "st";
	int registers = is_store ? i.nsrc - 1 : i.ndst;
	bool is_signed = type_signed(i.t) && !type_float(i.t);
	if (registers != i.vec || i.t == PRED || type_bytes(i.t) * i.vec > 16)
		return;
	if (is_store)
		i.flags |= IS_STORE;
	i.flags |= COUNT_MEMORY;
	for (auto &row : access_rows) {
		if (row.bytes != type_bytes(i.t) || row.is_signed != is_signed)
			continue;
		int wide = -1;
		for (int n = 0; n < i.ndst; n++) {
			if (i.d[n].kind == operand::NONE)
				continue;
			if (wide >= 0 && wide != (i.d[n].bytes == 8))
				return;
			wide = i.d[n].bytes == 8;
		}
		i.run = is_store ? row.store : wide == 1 ? row.load64 : row.load32;
	}
}

/* cp.async */

static void copy_now(warp &w, async_copy &c, access a)
{
	char *to = memory_at(w, *c.i, c.lane, SHARED, c.to, c.bytes, a);
	if (c.read)
		memcpy(to, memory_at(w, *c.i, c.lane, GLOBAL, c.from, c.bytes, READ), c.read);
	memset(to + c.read, 0, c.bytes - c.read);
	c.made = true;
}

static bool early()
{
	static std::minstd_rand coin((unsigned)opt.seed + 1);
	return opt.copies == COPY_EARLY || (opt.copies == COPY_RANDOM && coin() & 16);
}

static void copy_begin(warp &w, const insn &i, uint32_t lanes)
{
	if (opt.count) {
		uint64_t at[32];
		int n = 0;
		each_lane(lanes, [&](int l) { at[n++] = address(w, i.s[1], l); });
		count_global(i, at, n, i.sub2);
	}
	bool now = early();
	each_lane(lanes, [&](int l) {
		uint32_t read = i.nsrc == 3 ? (uint32_t)get(w, i.s[2], l) : i.sub2;
		if (read > i.sub2)
			kernel_fault(w, i, l, FAULT_LAUNCH, "cp.async reads more than it writes");
		async_copy c = {(uint32_t)address(w, i.s[0], l),
				address(w, i.s[1], l),
				i.sub2,
				(uint8_t)read,
				(uint8_t)l,
				false,
				w.copy_group,
				&i};
		memory_at(w, i, l, SHARED, c.to, c.bytes, COPY_BEGINS);
		if (c.read)
			memory_at(w, i, l, GLOBAL, c.from, c.bytes, READ);
		if (now) {
			char *to = w.b->shared.data() + c.to;
			memcpy(to, (const char *)c.from, c.read);
			memset(to + c.read, 0, c.bytes - c.read);
			c.made = true;
		}
		w.copies.push_back(c);
	});
}

static void copy_commit(warp &w, const insn &, uint32_t)
{
	w.copy_group++;
}

void copies_make(warp &w, int groups_left)
{
	size_t kept = 0;
	for (auto &c : w.copies) {
		if (c.group >= w.copy_group - groups_left) {
			w.copies[kept++] = c;
		} else if (!c.made) {
			copy_now(w, c, COPY_ENDS);
		} else {
			memory_at(w, *c.i, c.lane, SHARED, c.to, c.bytes, COPY_ENDS);
		}
	}
	w.copies.resize(kept);
}

static void copy_wait(warp &w, const insn &i, uint32_t)
{
	copies_make(w, i.sub2);
}

static void copy_wait_all(warp &w, const insn &, uint32_t)
{
	w.copy_group++;
	copies_make(w, 0);
}

void bind_copy(insn &i, const words_t &words)
{
	bool sizes = i.sub2 == 16 || (has_word(words, "ca") && (i.sub2 == 4 || i.sub2 == 8));
	if (has_word(words, "commit_group"))
		i.run = copy_commit;
	else if (has_word(words, "wait_group"))
		i.run = copy_wait;
	else if (has_word(words, "wait_all"))
		i.run = copy_wait_all;
	else if (sizes && i.s[1].kind == operand::ADDRESS &&
		 (i.nsrc == 2 || i.s[2].kind == operand::REG))
		i.run = copy_begin, i.flags |= COUNT_MEMORY;
}

/* Atomics: in the order of the lanes. */

enum atomic : uint8_t {
	A_ADD,
	A_MIN,
	A_MAX,
	A_EXCH,
	A_CAS,
	A_AND,
	A_OR,
	A_XOR,
	A_INC,
	A_DEC,
	ATOMICS
};
static const char *const atomic_names[] = {"add", "min", "max", "exch", "cas",
					   "and", "or",	 "xor", "inc",	"dec"};

template <class T> static T combined(int how, T old, T v, T swap)
{
	if constexpr (std::is_integral<T>::value) {
		switch (how) {
		case A_AND:
			return old & v;
		case A_OR:
			return old | v;
		case A_XOR:
			return old ^ v;
		case A_INC:
			return old >= v ? 0 : old + 1;
		case A_DEC:
			return old == 0 || old > v ? v : old - 1;
		case A_ADD:
			return (T)((uint64_t)old + (uint64_t)v);
		}
	}
	switch (how) {
	case A_ADD:
		return old + v;
	case A_MIN:
		return std::min(old, v);
	case A_MAX:
		return std::max(old, v);
	case A_CAS:
		return old == v ? swap : old;
	default:
		return v;
	}
}

template <class T> static void atomic_op(warp &w, const insn &i, uint32_t lanes)
{
	const operand *values = &i.s[1];
	if (opt.count)
		count_lanes(w, i, i.s[0], lanes, sizeof(T));
	each_lane(lanes, [&](int l) {
		char *p = memory_at(w, i, l, i.space, address(w, i.s[0], l), sizeof(T),
				    ATOMIC_ACCESS);
		T old, v = lanes_of<T>(w, values[0])[l],
		       swap = i.sub == A_CAS ? lanes_of<T>(w, values[1])[l] : v;
		memcpy(&old, p, sizeof old);
		T made = combined(i.sub, old, v, swap);
		memcpy(p, &made, sizeof made);
		if (i.ndst && i.d[0].kind != operand::NONE)
			lanes_of<T>(w, i.d[0])[l] = old;
	});
}

void bind_atomic(insn &i, const words_t &words)
{
	static const struct {
		type t;
		exec_fn run;
		bool floats;
	} rows[] = {
		{U32, atomic_op<uint32_t>, false}, {B32, atomic_op<uint32_t>, false},
		{S32, atomic_op<int32_t>, false},  {U64, atomic_op<uint64_t>, false},
		{B64, atomic_op<uint64_t>, false}, {S64, atomic_op<int64_t>, false},
		{F32, atomic_op<float>, true},	   {F64, atomic_op<double>, true},
	};
	i.sub = ATOMICS;
	for (int n = 0; n < ATOMICS; n++)
		if (has_word(words, atomic_names[n]))
			i.sub = (uint8_t)n;
	i.flags |= COUNT_MEMORY | ATOMIC;
	for (auto &row : rows)
		if (row.t == i.t && i.sub != ATOMICS && (!row.floats || i.sub == A_ADD) &&
		    i.nsrc == (i.sub == A_CAS ? 3 : 2))
			i.run = row.run;
}

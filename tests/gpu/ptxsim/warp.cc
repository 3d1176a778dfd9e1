/*
 * Steps of a warp: which lanes go next, branches, barriers, and the operations that lanes do
 * together.
 *
 * Lanes that disagree are run lowest program counter first, so that they meet again where the paths
 * join. A warp operation waits until every live lane of its mask stands at it; if nobody is left
 * who could come, the mask was wrong.
 */
#include <algorithm>
#include <cstring>
#include "machine.h"

void kernel_fault(const warp &w, const insn &i, int lane, int code, const std::string &what)
{
	const block &b = *w.b;
	uint32_t thread = (uint32_t)(w.id * 32 + lane);
	throw fault(code, what + "; kernel " + b.k->name + ", PTX line " + std::to_string(i.line) +
				  " (" + i.text + "), block " + std::to_string(b.id[0]) + "," +
				  std::to_string(b.id[1]) + "," + std::to_string(b.id[2]) +
				  " thread " + std::to_string(thread));
}

/* The member mask is the last source; mma and ldmatrix take the whole warp. */
static uint32_t mask_of(warp &w, const insn &i, uint32_t lanes)
{
	if (!(i.flags & MEMBERS))
		return ~0u;
	const uint32_t *masks = lanes_of<uint32_t>(w, i.s[i.nsrc - 1]);
	int first = __builtin_ctz(lanes);
	each_lane(lanes, [&](int l) {
		if (masks[l] != masks[first])
			kernel_fault(w, i, l, FAULT_LAUNCH, "lanes give different member masks");
		if (!(masks[l] >> l & 1))
			kernel_fault(w, i, l, FAULT_LAUNCH,
				     "the calling lane is not in its member mask");
	});
	return masks[first];
}

/* false: somebody of the mask is still to come. */
static bool all_here(warp &w, const insn &i, uint32_t lanes)
{
	uint32_t mask = mask_of(w, i, lanes);
	int first = __builtin_ctz(lanes);
	if (mask & w.all & ~w.live)
		kernel_fault(w, i, first, FAULT_LAUNCH,
			     "the member mask names a lane that has exited");
	if (lanes & ~mask)
		kernel_fault(w, i, first, FAULT_LAUNCH, "a lane is not in the member mask");
	if (!(i.flags & MEMBERS) && w.all != ~0u)
		kernel_fault(w, i, first, FAULT_LAUNCH, "the operation needs a whole warp");
	return (mask & w.all) == lanes;
}

static std::string lanes_text(uint32_t lanes)
{
	char text[16];
	snprintf(text, sizeof text, "%08x", lanes);
	return text;
}

static uint32_t lanes_at(const warp &w, uint32_t of, uint32_t pc)
{
	uint32_t lanes = 0;
	each_lane(of, [&](int l) { lanes |= (uint32_t)(w.pc[l] == pc) << l; });
	return lanes;
}

static void part(warp &w)
{
	if (w.converged)
		std::fill(w.pc, w.pc + 32, w.common_pc);
	w.converged = false;
}

static void go_on(warp &w, uint32_t lanes, uint32_t to)
{
	if (w.converged)
		w.common_pc = to;
	else
		each_lane(lanes, [&](int l) { w.pc[l] = to; });
}

static void at_barrier(warp &w, const insn &i, uint32_t pc, uint32_t here, uint32_t lanes)
{
	if (lanes != here)
		part(w);
	go_on(w, here, pc + 1);
	if (w.waiting && w.barrier_pc != (int)pc)
		kernel_fault(w, i, __builtin_ctz(lanes), FAULT_LAUNCH,
			     "divergent barrier: lanes of a warp wait at two barriers");
	w.waiting |= lanes;
	w.barrier_pc = (int)pc;
}

static void exit_lanes(warp &w, const insn &i, uint32_t here, uint32_t lanes, uint32_t pc)
{
	if (lanes != here)
		part(w);
	w.live &= ~lanes;
	go_on(w, here & ~lanes, pc + 1);
	if (!w.live && !w.copies.empty())
		kernel_fault(w, i, __builtin_ctz(lanes), FAULT_LAUNCH,
			     "exits with cp.async copies that were never waited for");
}

/* One instruction. false: the warp can not go on now. */
static bool step(warp &w)
{
	const kernel &k = *w.b->k;
	uint32_t here, pc;
	if (w.converged) {
		here = w.live & ~w.waiting;
		if (!here)
			return false;
		pc = w.common_pc;
	} else {
		uint32_t ready = w.live & ~w.waiting & ~w.stuck;
		if (!ready) {
			if (!w.stuck)
				return false;
			int l = __builtin_ctz(w.stuck);
			const insn &i = k.code[w.pc[l]];
			kernel_fault(w, i, l, FAULT_LAUNCH,
				     "only lanes " + lanes_text(w.stuck) +
					     " of the member mask reach the operation");
		}
		pc = ~0u;
		each_lane(ready, [&](int l) { pc = std::min(pc, w.pc[l]); });
		here = lanes_at(w, w.live & ~w.waiting, pc);
		if (here == w.live) {
			w.converged = true;
			w.common_pc = pc;
			w.stuck = 0;
		}
	}
	const insn &i = k.code[pc];
	uint32_t lanes = here;
	if (i.guard >= 0)
		lanes &= i.guard_negated ? ~w.pred[i.guard] : w.pred[i.guard];
	w.b->l->warp_insns++;
	w.b->k->lane_insns += (unsigned)__builtin_popcount(lanes);
	i.counts.runs++;
	switch (i.flow) {
	case NEXT:
		if (lanes)
			i.run(w, i, lanes);
		break;
	case BRANCH:
		if (lanes && lanes != here) {
			part(w);
			go_on(w, here & ~lanes, pc + 1);
			go_on(w, lanes, (uint32_t)i.target);
			return true;
		}
		go_on(w, here, lanes ? (uint32_t)i.target : pc + 1);
		return true;
	case EXIT:
		exit_lanes(w, i, here, lanes, pc);
		return true;
	case BARRIER:
		if (lanes) {
			at_barrier(w, i, pc, here, lanes);
			return true;
		}
		break;
	case WARP_SYNC:
		if (!lanes)
			break;
		if (!all_here(w, i, lanes)) {
			part(w);
			go_on(w, here & ~lanes, pc + 1);
			w.stuck |= lanes;
			return true;
		}
		w.stuck &= ~lanes;
		i.run(w, i, lanes);
		break;
	}
	go_on(w, here, pc + 1);
	return true;
}

/* All live warps wait: at the same barrier, with all of their lanes, nobody gone. */
static void barrier_pass(block &b)
{
	const warp *first = nullptr;
	for (auto &w : b.warps)
		if (w.waiting && !first)
			first = &w;
	for (auto &w : b.warps) {
		const insn &i = b.k->code[first->barrier_pc];
		int lane = __builtin_ctz(w.live ? w.live : 1);
		if (w.live != w.all)
			kernel_fault(w, i, lane, FAULT_LAUNCH,
				     "a barrier after threads of the block have exited");
		if (w.barrier_pc != first->barrier_pc)
			kernel_fault(w, b.k->code[w.barrier_pc], lane, FAULT_LAUNCH,
				     "divergent barrier: another warp waits at PTX line " +
					     std::to_string(i.line));
	}
	for (auto &w : b.warps)
		w.waiting = 0;
	b.barriers++;
}

bool block_run(block &b, uint64_t quantum)
{
	static std::minstd_rand dice((unsigned)opt.seed + 7);
	size_t count = b.warps.size(), from = opt.seed ? dice() % count : 0;
	for (size_t n = 0; n < count; n++) {
		warp &w = b.warps[(from + n) % count];
		uint64_t steps =
			opt.seed ? 1 + dice() % 200 : quantum; /* finite: somebody may spin */
		while (w.live && steps-- && step(w))
			;
		if (b.l->warp_insns > opt.max_warp_insns)
			kernel_fault(w, b.k->code[0], 0, FAULT_LAUNCH,
				     "the launch does not end: is somebody waiting for ever?");
	}
	bool over = true, all_wait = true;
	for (auto &w : b.warps) {
		over = over && !w.live;
		all_wait = all_wait && w.waiting == w.live;
	}
	if (!over && all_wait)
		barrier_pass(b);
	return over;
}

/* What lanes do together */

enum { SHFL_IDX, SHFL_UP, SHFL_DOWN, SHFL_BFLY };

static void shfl(warp &w, const insn &i, uint32_t lanes)
{
	const uint32_t *a = lanes_of<uint32_t>(w, i.s[0]), *b = lanes_of<uint32_t>(w, i.s[1]),
		       *c = lanes_of<uint32_t>(w, i.s[2]);
	uint32_t out[32], in_range = 0;
	each_lane(lanes, [&](int l) {
		int by = b[l] & 31, clamp = c[l] & 31, segment = c[l] >> 8 & 31;
		int most = (l & segment) | (clamp & ~segment), least = l & segment, from;
		bool ok;
		switch (i.sub) {
		case SHFL_IDX:
			from = least | (by & ~segment);
			ok = from <= most;
			break;
		case SHFL_UP:
			from = l - by;
			ok = from >= most;
			break;
		case SHFL_DOWN:
			from = l + by;
			ok = from <= most;
			break;
		default:
			from = l ^ by;
			ok = from <= most;
		}
		if (!ok)
			from = l;
		if (!(lanes >> from & 1))
			kernel_fault(w, i, l, FAULT_LAUNCH,
				     "shfl takes its value from lane " + std::to_string(from) +
					     ", which is not in the mask");
		out[l] = a[from];
		in_range |= (uint32_t)ok << l;
	});
	uint32_t *d = lanes_of<uint32_t>(w, i.d[0]);
	each_lane(lanes, [&](int l) { d[l] = out[l]; });
	pred_put(w, i.pdst, lanes, in_range);
}

static void vote_ballot(warp &w, const insn &i, uint32_t lanes)
{
	uint32_t v = pred_of(w, i.s[0]) & lanes;
	each_lane(lanes, [&](int l) { put(w, i.d[0], l, v); });
}
static void vote_any(warp &w, const insn &i, uint32_t lanes)
{
	pred_put(w, i.d[0], lanes, pred_of(w, i.s[0]) & lanes ? ~0u : 0);
}
static void vote_all(warp &w, const insn &i, uint32_t lanes)
{
	pred_put(w, i.d[0], lanes, (pred_of(w, i.s[0]) & lanes) == lanes ? ~0u : 0);
}
static void vote_uni(warp &w, const insn &i, uint32_t lanes)
{
	uint32_t v = pred_of(w, i.s[0]) & lanes;
	pred_put(w, i.d[0], lanes, v == lanes || v == 0 ? ~0u : 0);
}

enum { R_ADD, R_MIN, R_MAX, R_AND, R_OR, R_XOR };
static const char *const redux_names[] = {"add", "min", "max", "and", "or", "xor"};

static void redux(warp &w, const insn &i, uint32_t lanes)
{
	const uint32_t *a = lanes_of<uint32_t>(w, i.s[0]);
	uint32_t r = a[__builtin_ctz(lanes)];
	each_lane(lanes & (lanes - 1), [&](int l) {
		bool less = i.t == S32 ? (int32_t)a[l] < (int32_t)r : a[l] < r;
		uint32_t results[] = {r + a[l], less ? a[l] : r, less ? r : a[l],
				      r & a[l], r | a[l],	 r ^ a[l]};
		r = results[i.sub];
	});
	each_lane(lanes, [&](int l) { put(w, i.d[0], l, r); });
}

static void match_any(warp &w, const insn &i, uint32_t lanes)
{
	uint32_t out[32];
	each_lane(lanes, [&](int l) {
		out[l] = 0;
		each_lane(lanes, [&](int o) {
			out[l] |= (uint32_t)(get(w, i.s[0], o) == get(w, i.s[0], l)) << o;
		});
	});
	each_lane(lanes, [&](int l) { put(w, i.d[0], l, out[l]); });
}

static void syncwarp(warp &w, const insn &i, uint32_t lanes)
{
	(void)i;
	(void)lanes;
	w.syncs++;
}

static void activemask(warp &w, const insn &i, uint32_t lanes)
{
	each_lane(lanes, [&](int l) { put(w, i.d[0], l, lanes); });
}

void bind_warp(insn &i, const words_t &words)
{
	static const char *const shfl_names[] = {"idx", "up", "down", "bfly"};
	const std::string &name = words[0];
	if (name == "activemask") {
		i.run = activemask;
		return;
	}
	i.flow = WARP_SYNC;
	i.flags |= MEMBERS;
	if (name == "shfl") {
		for (int n = 0; n < 4; n++)
			if (has_word(words, shfl_names[n]))
				i.sub = (uint8_t)n;
		i.run = i.t == B32 ? shfl : nullptr;
	} else if (name == "vote") {
		i.run = has_word(words, "ballot") ? vote_ballot
			: has_word(words, "any")  ? vote_any
			: has_word(words, "all")  ? vote_all
						  : vote_uni;
	} else if (name == "redux") {
		for (int n = 0; n < 6; n++)
			if (has_word(words, redux_names[n]))
				i.sub = (uint8_t)n;
		i.run = type_bytes(i.t) == 4 && !type_float(i.t) ? redux : nullptr;
	} else if (name == "match") {
		i.run = match_any;
	} else if (name == "bar") {
		i.run = syncwarp;
	}
}

static void nothing(warp &, const insn &, uint32_t)
{
}

static void trap(warp &w, const insn &i, uint32_t lanes)
{
	kernel_fault(w, i, __builtin_ctz(lanes), FAULT_ASSERT, "trap");
}

void bind_flow(insn &i, const words_t &words)
{
	const std::string &name = words[0];
	if (name == "bra")
		i.flow = BRANCH;
	else if (name == "ret" || name == "exit")
		i.flow = EXIT;
	else if (name == "bar" || name == "barrier")
		i.flow = BARRIER; /* which one of the sixteen: the place in the program tells */
	else
		i.run = name == "trap" ? trap : nothing;
}

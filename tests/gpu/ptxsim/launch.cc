/*
 * A launch: its blocks one after the other (a cooperative launch: side by side), the options of the
 * environment, the counters of all kernels on their way to a file.
 *
 *   PTXSIM_CHECK     comma between:
 *                    race: looks for races
 *                    init: treats reading what nobody wrote as a mistake
 *   PTXSIM_CP_ASYNC  late (default), early, random: when within its limits a cp.async is made
 *   PTXSIM_SEED      above 0: blocks in another order, warps advance by turns of random length
 *   PTXSIM_REPORT    a file for the counters, written when the program ends
 *   PTXSIM_MAX_STEPS warp instructions after which a launch counts as endless
 */
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include "machine.h"

options opt;

static uint64_t number_from(const char *name, uint64_t otherwise)
{
	const char *v = getenv(name);
	return v ? strtoull(v, nullptr, 0) : otherwise;
}

void options_read()
{
	const char *check = getenv("PTXSIM_CHECK"), *copies = getenv("PTXSIM_CP_ASYNC"),
		   *report = getenv("PTXSIM_REPORT");
	opt.race = check && strstr(check, "race");
	opt.init = check && strstr(check, "init");
	opt.copies = !copies || !strcmp(copies, "late") ? COPY_LATE
		     : !strcmp(copies, "early")		? COPY_EARLY
							: COPY_RANDOM;
	opt.seed = number_from("PTXSIM_SEED", 0);
	opt.max_warp_insns = number_from("PTXSIM_MAX_STEPS", 20000000000ull);
	opt.report = report ? report : "";
	opt.count = report != nullptr;
}

/* The registers of a block keep their constants from block to block of a launch. */
static void registers_begin(block &b)
{
	const kernel &k = *b.k;
	size_t per_warp = ((size_t)k.file_bytes + 63) / 64 * 64;
	b.file.assign(per_warp * b.warps.size() + 64, 0);
	b.pred.assign((size_t)(k.predicates + 1) * b.warps.size(), 0);
	char *base = (char *)(((uint64_t)b.file.data() + 63) & ~63ull);
	for (auto &w : b.warps) {
		w.file = base + per_warp * w.id;
		w.pred = b.pred.data() + (size_t)(k.predicates + 1) * w.id;
		for (auto &c : k.constants) {
			for (int l = 0; l < 32; l++) {
				if (c.bytes == 8)
					((uint64_t *)(w.file + c.at))[l] = c.value;
				else
					((uint32_t *)(w.file + c.at))[l] = (uint32_t)c.value;
			}
		}
	}
}

static void specials_begin(block &b, warp &w)
{
	const launch &l = *b.l;
	const uint32_t *n = l.threads;
	for (uint32_t lane = 0; lane < 32; lane++) {
		uint32_t t = w.id * 32 + lane, bit = 1u << lane;
		uint32_t values[SPECIALS] = {};
		values[TID_X] = t % n[0], values[TID_Y] = t / n[0] % n[1],
		values[TID_Z] = t / n[0] / n[1];
		for (int d = 0; d < 3; d++) {
			values[CTAID_X + d] = b.id[d];
			values[NTID_X + d] = n[d];
			values[NCTAID_X + d] = l.grid[d];
		}
		values[LANEID] = lane, values[WARPID] = w.id,
		values[NWARPID] = (uint32_t)b.warps.size();
		values[ENVREG1] = (uint32_t)(l.grid_workspace >> 32),
		values[ENVREG2] = (uint32_t)l.grid_workspace;
		values[LANEMASK_EQ] = bit, values[LANEMASK_LT] = bit - 1,
		values[LANEMASK_LE] = bit | (bit - 1);
		values[LANEMASK_GT] = ~(bit | (bit - 1)), values[LANEMASK_GE] = ~(bit - 1);
		values[DYNAMIC_SMEM] = l.dynamic_bytes;
		values[TOTAL_SMEM] = (uint32_t)b.shared.size();
		for (int s = 0; s < SPECIALS; s++)
			((uint32_t *)(w.file + s * 128))[lane] = values[s];
	}
}

void block_begin(block &b, launch &l, uint32_t index)
{
	bool fresh = b.k != l.k || b.l != &l;
	kernel &k = *l.k;
	b.k = &k, b.l = &l, b.index = index;
	b.id[0] = index % l.grid[0], b.id[1] = index / l.grid[0] % l.grid[1],
	b.id[2] = index / l.grid[0] / l.grid[1];
	b.threads = l.threads[0] * l.threads[1] * l.threads[2];
	b.warps.resize((b.threads + 31) / 32);
	b.barriers = b.grid_arrivals = 0;
	size_t shared =
		l.dynamic_bytes ? (size_t)k.dynamic_at + l.dynamic_bytes : (size_t)k.shared_bytes;
	b.shared.assign(shared, (char)0xff);
	b.local.assign((size_t)k.local_bytes * b.warps.size() * 32, (char)0xff);
	shadows_reset(b);
	for (size_t n = 0; n < b.warps.size(); n++) {
		warp &w = b.warps[n];
		uint32_t left = b.threads - (uint32_t)n * 32;
		w.b = &b, w.id = (int)n;
		w.all = w.live = left >= 32 ? ~0u : (1u << left) - 1;
		w.waiting = w.stuck = w.syncs = 0;
		w.converged = true, w.common_pc = 0, w.barrier_pc = -1;
		w.copies.clear(), w.copy_group = 0;
	}
	if (fresh)
		registers_begin(b);
	for (auto &w : b.warps)
		specials_begin(b, w);
}

static void blocks_in_turn(launch &l, std::vector<uint32_t> &order)
{
	block b = {};
	for (uint32_t index : order) {
		block_begin(b, l, index);
		while (!block_run(b, 1 << 16))
			;
	}
}

static void blocks_together(launch &l, std::vector<uint32_t> &order)
{
	std::vector<block> blocks(order.size());
	l.grid_workspace = (uint64_t)memory_alloc(64, true);
	for (uint32_t index : order)
		block_begin(blocks[index], l, index);
	try {
		while (!order.empty()) {
			size_t left = 0;
			for (uint32_t index : order)
				if (!block_run(blocks[index], 500))
					order[left++] = index;
			order.resize(left);
		}
	} catch (...) {
		memory_free((void *)l.grid_workspace);
		throw;
	}
	memory_free((void *)l.grid_workspace);
}

void grid_run(launch &l)
{
	static uint32_t serial;
	uint32_t count = l.grid[0] * l.grid[1] * l.grid[2];
	std::vector<uint32_t> order(count);
	std::iota(order.begin(), order.end(), 0u);
	if (opt.seed) {
		std::minstd_rand dice((unsigned)opt.seed + serial);
		std::shuffle(order.begin(), order.end(), dice);
	}
	l.serial = ++serial;
	l.warp_insns = 0;
	l.grid_workspace = ~0ull;
	if (opt.race)
		memory_launch_begins();
	l.k->launches++;
	if (l.cooperative)
		blocks_together(l, order);
	else
		blocks_in_turn(l, order);
	l.k->warp_insns += l.warp_insns;
}

/* One line a kernel, then one line for every of its instructions that wastes: an object a line. */
static void report_kernel(FILE *f, const kernel &k)
{
	uint64_t bytes[2] = {}, sectors = 0, ideal = 0, wavefronts = 0, phases = 0, matrix = 0;
	for (auto &i : k.code) {
		bool global = i.counts.ideal != 0;
		bytes[i.flags & IS_STORE ? 1 : 0] += global ? i.counts.bytes : 0;
		sectors += i.counts.sectors, ideal += i.counts.ideal;
		wavefronts += i.counts.wavefronts, phases += i.counts.phases;
		matrix += i.text.compare(0, 4, "mma.") ? 0 : i.counts.runs;
	}
	fprintf(f,
		"{\"kernel\":\"%s\",\"launches\":%llu,\"warp_insns\":%llu,\"lane_insns\":%llu,"
		"\"global_read_bytes\":%llu,"
		"\"global_write_bytes\":%llu,\"sectors\":%llu,\"ideal_sectors\":%llu,\"shared_"
		"wavefronts\":%llu,"
		"\"shared_phases\":%llu,\"mma\":%llu}\n",
		k.name.c_str(), (unsigned long long)k.launches, (unsigned long long)k.warp_insns,
		(unsigned long long)k.lane_insns, (unsigned long long)bytes[0],
		(unsigned long long)bytes[1], (unsigned long long)sectors,
		(unsigned long long)ideal, (unsigned long long)wavefronts,
		(unsigned long long)phases, (unsigned long long)matrix);
	for (auto &i : k.code)
		if (i.counts.sectors > i.counts.ideal || i.counts.wavefronts > i.counts.phases)
			fprintf(f,
				"{\"kernel\":\"%s\",\"line\":%d,\"insn\":\"%s\",\"runs\":%llu,"
				"\"sectors_per_ideal\":%.3f,"
				"\"bank_conflict\":%.3f}\n",
				k.name.c_str(), i.line, i.text.c_str(),
				(unsigned long long)i.counts.runs,
				i.counts.ideal ? (double)i.counts.sectors / (double)i.counts.ideal
					       : 0,
				i.counts.phases
					? (double)i.counts.wavefronts / (double)i.counts.phases
					: 0);
}

void report_write(const std::vector<module *> &modules)
{
	FILE *f = opt.report.empty() ? nullptr : fopen(opt.report.c_str(), "w");
	if (!f)
		return;
	for (auto *m : modules)
		for (auto &k : m->kernels)
			if (k.second.launches)
				report_kernel(f, k.second);
	fclose(f);
}

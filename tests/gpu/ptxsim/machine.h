/*
 * The pretended GPU while a kernel runs: warps, blocks, the launch, the options; and who offers
 * what to whom (memory.cc, warp.cc, launch.cc). One thread runs everything.
 */
#ifndef PTXSIM_MACHINE_H
#define PTXSIM_MACHINE_H

#include <random>
#include "ptx.h"

/* A mistake of the kernel, found while it runs. The code is the one a driver would answer. */
struct fault : std::runtime_error {
	int code;
	fault(int answer, const std::string &what) : runtime_error(what), code(answer)
	{
	}
};
enum fault_code {
	FAULT_ADDRESS = 700,
	FAULT_ASSERT = 710,
	FAULT_ALIGNMENT = 716,
	FAULT_LAUNCH = 719
};

enum copy_time { COPY_LATE, COPY_EARLY, COPY_RANDOM };

/* From the environment, see options_read(). */
struct options {
	bool race, init, count;
	copy_time copies;
	uint64_t seed;		 /* 0: blocks and warps in their order, each as far as it gets */
	uint64_t max_warp_insns; /* of a launch: what does not end is stopped */
	std::string report;
};
extern options opt;
void options_read();

struct async_copy {
	uint32_t to;
	uint64_t from;
	uint8_t bytes, read; /* the rest becomes zero */
	uint8_t lane;
	bool made; /* already, early */
	int group;
	const insn *i;
};

struct block;

struct warp {
	block *b;
	char *file; /* registers */
	uint32_t *pred;
	uint32_t pc[32]; /* where the lanes disagree */
	uint32_t common_pc;
	bool converged;
	uint32_t all, live, waiting,
		stuck; /* lanes: of the block, not exited, at a barrier, at a warp operation */
	int id, barrier_pc;
	uint32_t syncs; /* __syncwarp so far: orders the warp's lanes */
	std::vector<async_copy> copies;
	int copy_group;
};

/* Who last wrote and last read a byte, and when. Everything of another launch is older than
 * everything of this. */
struct shadow {
	uint32_t launch;
	uint32_t writer, reader; /* thread + 1 of the block; 0: nobody */
	uint32_t write_block, read_block;
	uint32_t write_barriers, read_barriers, write_grid, read_grid;
	uint32_t write_syncs, read_syncs;
	bool atomic, in_flight, more_lanes, more_warps, more_blocks; /* readers besides the last */
};

struct block {
	kernel *k;
	struct launch *l;
	uint32_t id[3], index;
	uint32_t threads;
	std::vector<warp> warps;
	std::vector<char> file, shared, local;
	std::vector<uint32_t> pred;
	std::vector<shadow> shadows;
	std::vector<bool> shared_written;
	uint32_t barriers;	/* passed so far */
	uint32_t grid_arrivals; /* at the grid's barrier */
};

struct launch {
	kernel *k;
	uint32_t grid[3], threads[3];
	uint32_t dynamic_bytes;
	bool cooperative;
	const char *params;
	uint64_t grid_workspace; /* of a cooperative launch */
	uint64_t warp_insns;
	uint32_t serial; /* of this launch among all */
};

[[noreturn]] void kernel_fault(const warp &w, const insn &i, int lane, int code,
			       const std::string &what);

/* Places in the register file */
template <class T> static inline T *lanes_of(const warp &w, const operand &o)
{
	return (T *)(w.file + o.at);
}
static inline uint64_t get(const warp &w, const operand &o, int lane)
{
	return o.bytes == 8 ? lanes_of<uint64_t>(w, o)[lane] : lanes_of<uint32_t>(w, o)[lane];
}
static inline void put(const warp &w, const operand &o, int lane, uint64_t v)
{
	if (o.kind == operand::NONE)
		return;
	if (o.bytes == 8)
		lanes_of<uint64_t>(w, o)[lane] = v;
	else
		lanes_of<uint32_t>(w, o)[lane] = (uint32_t)v;
}
static inline uint64_t address(const warp &w, const operand &o, int lane)
{
	uint64_t a = get(w, o, lane) + (uint64_t)o.offset;
	return o.bytes == 4 ? (uint32_t)a : a;
}
static inline uint32_t pred_of(const warp &w, const operand &o)
{
	if (o.kind == operand::REG) /* a number: mov.pred %p1, -1 */
		return get(w, o, 0) ? ~0u : 0;
	return o.negated ? ~w.pred[o.at] : w.pred[o.at];
}
static inline void pred_put(const warp &w, const operand &o, uint32_t lanes, uint32_t v)
{
	if (o.kind == operand::PREDICATE)
		w.pred[o.at] = (w.pred[o.at] & ~lanes) | (v & lanes);
}
template <class F> static inline void each_lane(uint32_t lanes, F f)
{
	for (; lanes; lanes &= lanes - 1)
		f(__builtin_ctz(lanes));
}

/* memory.cc: device memory is the host's heap, every access is checked. */
void *memory_alloc(uint64_t bytes, bool written);
bool memory_free(void *p);
bool memory_inside(uint64_t at, uint64_t bytes);
void memory_host_wrote(uint64_t at, uint64_t bytes);
uint64_t memory_total();
void memory_launch_begins();
void shadows_reset(block &b);
enum access { READ, WRITE, ATOMIC_ACCESS, COPY_BEGINS, COPY_ENDS };
char *memory_at(warp &w, const insn &i, int lane, space sp, uint64_t at, unsigned bytes, access a);
void copies_make(warp &w, int groups_left);

/* warp.cc, launch.cc */
void block_begin(block &b, launch &l, uint32_t index);
bool block_run(block &b, uint64_t quantum); /* true: finished */
void grid_run(launch &l);		    /* throws fault */
void report_write(const std::vector<module *> &modules);

/* What binds a form's instruction to its function; each file offers its own. */
typedef std::vector<std::string> words_t;
bool has_word(const words_t &words, const char *word); /* bind.cc */
void bind_arithmetic(insn &i, const words_t &words);
void bind_convert(insn &i, const words_t &words);
void bind_compare(insn &i, const words_t &words);
void bind_bits(insn &i, const words_t &words);
void bind_move(insn &i, const words_t &words);
void bind_memory(insn &i, const words_t &words);
void bind_copy(insn &i, const words_t &words);
void bind_atomic(insn &i, const words_t &words);
void bind_warp(insn &i, const words_t &words);
void bind_matrix(insn &i, const words_t &words);
void bind_flow(insn &i, const words_t &words);

#endif

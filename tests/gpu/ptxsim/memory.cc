/*
 * Memory of the pretended GPU: what is allocated, who touched which byte, every check of an access.
 * Device memory is the host's heap, filled with 0xff when new: a value nobody wrote is no number in
 * every float format.
 *
 * Races: two threads touch a byte, one writes, and nothing orders them. Threads of a block are
 * ordered by a barrier, lanes of a warp also by __syncwarp, blocks of a launch by the grid's
 * barrier alone; atomics race with plain accesses only. Looked for when asked, in shared memory and
 * in global memory. A byte that cp.async is on its way to may not be touched by anybody.
 */
#include <cstdlib>
#include <cstring>
#include <memory>
#include <unordered_map>
#include "machine.h"

struct allocation {
	uint64_t bytes;
	std::vector<bool> written; /* empty: all, or not asked */
};

static std::map<uint64_t, allocation> allocations;
static uint64_t hit_from, hit_to, allocated; /* the allocation of the last access */
static allocation *hit;

void *memory_alloc(uint64_t bytes, bool written)
{
	void *p = nullptr;
	if (posix_memalign(&p, 256, bytes ? bytes : 1))
		return nullptr;
	memset(p, written ? 0 : 0xff, bytes);
	allocation &a = allocations[(uint64_t)p];
	a.bytes = bytes;
	if (opt.init && !written)
		a.written.assign(bytes, false);
	allocated += bytes;
	hit_from = hit_to = 0;
	return p;
}

bool memory_free(void *p)
{
	auto a = allocations.find((uint64_t)p);
	if (a == allocations.end())
		return false;
	allocated -= a->second.bytes;
	allocations.erase(a);
	hit_from = hit_to = 0;
	free(p);
	return true;
}

uint64_t memory_total()
{
	return allocated;
}

bool memory_inside(uint64_t at, uint64_t bytes)
{
	if (at >= hit_from && at <= hit_to && bytes <= hit_to - at && hit_to)
		return true;
	auto a = allocations.upper_bound(at);
	if (a == allocations.begin())
		return false;
	--a;
	if (at - a->first > a->second.bytes || bytes > a->second.bytes - (at - a->first))
		return false;
	hit_from = a->first;
	hit_to = a->first + a->second.bytes;
	hit = &a->second;
	return true;
}

static void mark_written(uint64_t at, uint64_t bytes)
{
	if (!opt.init || !memory_inside(at, bytes) || hit->written.empty())
		return;
	for (uint64_t n = 0; n < bytes; n++)
		hit->written[at - hit_from + n] = true;
}

void memory_host_wrote(uint64_t at, uint64_t bytes)
{
	mark_written(at, bytes);
}

constexpr uint64_t SHADOW_PAGE = 1024;
static std::unordered_map<uint64_t, std::unique_ptr<shadow[]>> global_shadows;
static uint64_t shadow_page = ~0ull;
static shadow *shadow_page_at;

static shadow &shadow_of(uint64_t at)
{
	if (at / SHADOW_PAGE != shadow_page) {
		shadow_page = at / SHADOW_PAGE;
		auto &page = global_shadows[shadow_page];
		if (!page)
			page.reset(new shadow[SHADOW_PAGE]());
		shadow_page_at = page.get();
	}
	return shadow_page_at[at % SHADOW_PAGE];
}

void memory_launch_begins()
{
	global_shadows.clear();
	shadow_page = ~0ull;
}

/* Is the earlier access by `thread` of `block` ordered before one by this lane now? */
static bool ordered(const warp &w, uint32_t thread, uint32_t me, uint32_t of_block,
		    uint32_t barriers, uint32_t grid, uint32_t syncs)
{
	if (of_block != w.b->index)
		return grid < w.b->grid_arrivals;
	if (thread == me || barriers < w.b->barriers)
		return true;
	return (thread - 1) / 32 == (uint32_t)w.id && syncs < w.syncs;
}

/* The reader that a write by `me` has to be ordered after: the last one stands for all of its
 * interval. */
static uint32_t reader_against(const shadow &s, uint32_t me)
{
	if (s.more_warps)
		return UINT32_MAX;
	return s.more_lanes && s.reader == me ? ((me - 1) ^ 1) + 1 : s.reader;
}

static std::string against(const shadow &s, bool writer, space sp, uint64_t at, access a)
{
	static const char *const names[] = {"read", "write", "atomic", "cp.async", "cp.async"};
	std::string place =
		sp == SHARED ? "shared memory, byte " + std::to_string(at) : "global memory";
	return "race in " + place + ": " + names[a] + " against the " +
	       (writer ? "write" : "read") + " of thread " +
	       std::to_string((writer ? s.writer : s.reader) - 1) + " of block " +
	       std::to_string(writer ? s.write_block : s.read_block);
}

static void touch(warp &w, const insn &i, int lane, space sp, uint64_t at, unsigned bytes, access a)
{
	uint32_t me = (uint32_t)(w.id * 32 + lane) + 1, block_index = w.b->index,
		 grid = w.b->grid_arrivals;
	bool writes = a != READ;
	for (unsigned n = 0; n < bytes; n++) {
		shadow &s = sp == SHARED ? w.b->shadows[at + n] : shadow_of(at + n);
		if (s.launch != w.b->l->serial) {
			s = shadow();
			s.launch = w.b->l->serial;
		}
		if (s.in_flight && a != COPY_ENDS)
			kernel_fault(w, i, lane, FAULT_LAUNCH,
				     "access to bytes whose cp.async has not been waited for");
		bool both_atomic = a == ATOMIC_ACCESS && s.atomic;
		if (s.writer && !both_atomic &&
		    !ordered(w, s.writer, me, s.write_block, s.write_barriers, s.write_grid,
			     s.write_syncs))
			kernel_fault(w, i, lane, FAULT_LAUNCH, against(s, true, sp, at + n, a));
		if (writes && s.reader &&
		    !ordered(w, reader_against(s, me), me, s.more_blocks ? ~0u : s.read_block,
			     s.read_barriers, s.read_grid, s.read_syncs))
			kernel_fault(w, i, lane, FAULT_LAUNCH, against(s, false, sp, at + n, a));
		if (writes) {
			s.writer = me, s.write_block = block_index, s.write_grid = grid;
			s.write_barriers = w.b->barriers, s.write_syncs = w.syncs;
			s.reader = 0, s.more_lanes = s.more_warps = s.more_blocks = false;
			s.atomic = a == ATOMIC_ACCESS;
			s.in_flight = a == COPY_BEGINS;
		} else {
			bool same_grid = s.reader && s.read_grid == grid;
			bool same_time = same_grid && s.read_block == block_index &&
					 s.read_barriers == w.b->barriers;
			bool same_warp = s.reader && (s.reader - 1) / 32 == (uint32_t)w.id;
			s.more_blocks = same_grid && (s.more_blocks || s.read_block != block_index);
			s.more_warps = same_time && (s.more_warps || !same_warp);
			s.more_lanes = same_time && s.read_syncs == w.syncs &&
				       (s.more_lanes || s.reader != me);
			s.reader = me, s.read_block = block_index, s.read_grid = grid;
			s.read_barriers = w.b->barriers, s.read_syncs = w.syncs;
		}
	}
}

void shadows_reset(block &b)
{
	if (opt.race)
		b.shadows.assign(b.shared.size(), shadow());
	if (opt.init)
		b.shared_written.assign(b.shared.size(), false);
}

static const char *access_name(access a)
{
	return a == READ	    ? "read"
	       : a == WRITE	    ? "write"
	       : a == ATOMIC_ACCESS ? "atomic"
				    : "cp.async";
}

/* The place of an access, after every check of it. */
char *memory_at(warp &w, const insn &i, int lane, space sp, uint64_t at, unsigned bytes, access a)
{
	if (sp == GENERIC && at >= SHARED_WINDOW) {
		sp = at >= LOCAL_WINDOW ? LOCAL : SHARED;
		at -= sp == LOCAL ? LOCAL_WINDOW : SHARED_WINDOW;
	}
	if (at & (bytes - 1))
		kernel_fault(w, i, lane, FAULT_ALIGNMENT,
			     "misaligned " + std::string(access_name(a)) + " of " +
				     std::to_string(bytes) + " bytes");
	if (sp == SHARED) {
		if (at > w.b->shared.size() || bytes > w.b->shared.size() - at)
			kernel_fault(w, i, lane, FAULT_ADDRESS,
				     std::string(access_name(a)) + " of " + std::to_string(bytes) +
					     " bytes at " + std::to_string(at) +
					     " is outside of the block's " +
					     std::to_string(w.b->shared.size()) +
					     " bytes of shared memory");
		if (opt.init) {
			for (unsigned n = 0; n < bytes; n++) {
				if (a != READ && a != ATOMIC_ACCESS)
					w.b->shared_written[at + n] = true;
				else if (!w.b->shared_written[at + n])
					kernel_fault(w, i, lane, FAULT_LAUNCH,
						     "uninitialised shared memory is read");
			}
		}
		if (opt.race)
			touch(w, i, lane, SHARED, at, bytes, a);
		return w.b->shared.data() + at;
	}
	if (sp == LOCAL) {
		uint64_t own = (uint64_t)w.b->k->local_bytes;
		if (at > own || bytes > own - at)
			kernel_fault(w, i, lane, FAULT_ADDRESS,
				     "access outside of the thread's local memory");
		return w.b->local.data() + (uint64_t)(w.id * 32 + lane) * own + at;
	}
	if (!memory_inside(at, bytes))
		kernel_fault(w, i, lane, FAULT_ADDRESS,
			     std::string(access_name(a)) + " of " + std::to_string(bytes) +
				     " bytes is outside of all device memory");
	bool barrier_words = at - w.b->l->grid_workspace < 64;
	if (a == ATOMIC_ACCESS && barrier_words)
		w.b->grid_arrivals++;
	if (opt.init && !hit->written.empty()) {
		if (a != READ && a != ATOMIC_ACCESS)
			mark_written(at, bytes);
		for (unsigned n = 0; n < bytes; n++)
			if (!hit->written[at - hit_from + n])
				kernel_fault(w, i, lane, FAULT_LAUNCH,
					     "uninitialised global memory is read");
	}
	if (opt.race && !barrier_words)
		touch(w, i, lane, GLOBAL, at, bytes, a);
	return (char *)at;
}

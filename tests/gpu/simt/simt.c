/*
 * Owns fibers and whose turn it is. A launch runs its blocks one after the other (two at a time
 * under the thread sanitizer, so that races between blocks are seen), each thread of a block a
 * fiber that runs until it must wait for others. Must not know what the waiting is about.
 */
#include "simt.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "simt_state.h"

/* There only when a sanitizer is linked in. */
#define WEAK __attribute__((weak))
WEAK void __sanitizer_start_switch_fiber(void **, const void *, size_t);
WEAK void __sanitizer_finish_switch_fiber(void *, const void **, size_t *);
WEAK void *__tsan_get_current_fiber(void);
WEAK void *__tsan_create_fiber(unsigned);
WEAK void __tsan_switch_to_fiber(void *, unsigned);
WEAK void __tsan_acquire(void *);
WEAK void __tsan_release(void *);

#define NO_ORDER 1 /* to __tsan_switch_to_fiber: a switch orders nothing */

#define MAX_LANES     2048 /* two blocks of 1024 */
#define STACK_BYTES   ((size_t)192 << 10)
#define RESIDENT_TSAN 2

struct simt_options simt_options;
struct simt_thread *simt_self;

static struct simt_kernel *kernels;

/* The launch under way. */
static struct {
	const struct simt_kernel *kernel;
	const struct simt_arg *args;
	struct lane main; /* who launched */
	size_t main_stack_bytes;
	struct lane *lane;
	int n_lanes, n_live;
	char *stacks;
	struct lane *ready[MAX_LANES]; /* a ring */
	uint32_t ready_from, n_ready;
	uint64_t random;
	char launch_tag;
} run;

void simt_register(struct simt_kernel *k)
{
	k->next = kernels;
	kernels = k;
}

struct lane *simt_lane(void)
{
	return (struct lane *)simt_self;
}

void simt_fail(const char *fmt, ...)
{
	const struct simt_thread *t = simt_self;
	va_list ap;

	fprintf(stderr, "SIMT: %s", run.kernel ? run.kernel->name : "?");
	if (t && t != &run.main.self)
		fprintf(stderr, ", block (%u,%u,%u), thread (%u,%u,%u)", t->block.x, t->block.y,
			t->block.z, t->thread.x, t->thread.y, t->thread.z);
	fputs(": ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	abort();
}

uint64_t simt_random(void)
{
	run.random = run.random * 6364136223846793005u + 1442695040888963407u;
	return run.random >> 33;
}

void simt_release(void *tag)
{
	if (__tsan_release)
		__tsan_release(tag);
}

void simt_acquire(void *tag)
{
	if (__tsan_acquire)
		__tsan_acquire(tag);
}

/* By hand, as the sanitizers would see memset(). */
void simt_fill_nan(void *p, size_t bytes)
{
	volatile unsigned char *at = p;

	while (bytes-- > 0)
		*at++ = 0xff;
}

void *simt_alloc(size_t bytes)
{
	void *p;

	if (posix_memalign(&p, 256, bytes > 0 ? bytes : 1) != 0)
		abort();
	memset(p, 0xff, bytes);
	return p;
}

void simt_free(void *p)
{
	free(p);
}

/* ---- whose turn it is ---- */

void simt_make_ready(struct lane *l)
{
	l->state = LANE_READY;
	run.ready[(run.ready_from + run.n_ready++) % MAX_LANES] = l;
}

static void switch_to(struct lane *from, struct lane *to)
{
	const void *stack;
	size_t bytes;

	simt_self = &to->self;
	if (__tsan_switch_to_fiber)
		__tsan_switch_to_fiber(to->tsan_fiber, NO_ORDER);
	if (!__sanitizer_start_switch_fiber) {
		fiber_switch(&from->context, to->context);
		return;
	}
	__sanitizer_start_switch_fiber(from->state == LANE_EXITED ? NULL : &from->asan_stack,
				       to->stack,
				       to == &run.main ? run.main_stack_bytes : STACK_BYTES);
	fiber_switch(&from->context, to->context);
	if (__sanitizer_finish_switch_fiber)
		__sanitizer_finish_switch_fiber(from->asan_stack, &stack, &bytes);
}

static const char *const state_names[] = {"is ready", "waits in a warp operation",
					  "waits at __syncthreads", "has exited"};

static void report_deadlock(void)
{
	enum { SHOWN = 8 };

	simt_self = NULL;
	for (int i = 0, shown = 0; i < run.n_lanes && shown < SHOWN; i++) {
		const struct lane *l = &run.lane[i];

		if (l->state == LANE_EXITED)
			continue;
		shown++;
		fprintf(stderr, "SIMT: block %u thread %u %s, line %d, mask %08x\n",
			l->self.block.x, l->self.warp * SIMT_WARP + l->self.lane,
			state_names[l->state], l->request.line, l->request.mask);
	}
	simt_fail("deadlock");
}

void simt_wait(void)
{
	struct lane *l = simt_lane(), *next = &run.main;

	if (run.n_ready > 0) {
		uint32_t at = run.ready_from % MAX_LANES;

		if (simt_options.seed != 0) {
			uint32_t other = (run.ready_from + simt_random() % run.n_ready) % MAX_LANES;

			next = run.ready[other];
			run.ready[other] = run.ready[at];
		} else {
			next = run.ready[at];
		}
		run.ready_from++;
		run.n_ready--;
	} else if (run.n_live > 0) {
		report_deadlock();
	}
	if (next != l)
		switch_to(l, next);
}

static void run_lane(void)
{
	struct lane *l = simt_lane();
	struct block *b = l->block;

	if (__sanitizer_finish_switch_fiber) {
		const void *stack;
		size_t bytes;

		__sanitizer_finish_switch_fiber(NULL, &stack, &bytes);
		if (!run.main.stack) { /* the first lane of all comes from there */
			run.main.stack = (char *)(uintptr_t)stack;
			run.main_stack_bytes = bytes;
		}
	}
	simt_acquire(&run.launch_tag);
	run.kernel->call(run.args);
	simt_release(&run.launch_tag);
	if (l->n_copies > 0)
		simt_fail("exits with %d asynchronous copies that nobody waited for", l->n_copies);
	l->state = LANE_EXITED;
	run.n_live--;
	b->n_live--;
	b->gone[l->self.warp] |= 1u << l->self.lane;
	if (b->waiting[l->self.warp])
		simt_finish_warp_op(b, l->self.warp);
	if (b->n_at_barrier > 0 && b->n_at_barrier == b->n_live)
		simt_fail("exits, and %d threads wait at a __syncthreads", b->n_at_barrier);
	simt_wait();
	abort();
}

/* ---- launches ---- */

static void make_lanes(int n)
{
	if (!run.stacks) {
		run.stacks = mmap(NULL, (size_t)MAX_LANES * STACK_BYTES, PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		run.lane = calloc(MAX_LANES, sizeof(*run.lane));
		if (run.stacks == MAP_FAILED || !run.lane)
			abort();
	}
	run.n_lanes = run.n_live = n;
	for (int i = 0; i < n; i++) {
		struct lane *l = &run.lane[i];

		l->stack = run.stacks + (size_t)i * STACK_BYTES;
		l->context = fiber_make(l->stack, STACK_BYTES, run_lane);
		if (__tsan_create_fiber && !l->tsan_fiber)
			l->tsan_fiber = __tsan_create_fiber(0);
	}
}

static struct simt_dim unravel(uint32_t i, struct simt_dim size)
{
	return (struct simt_dim){i % size.x, i / size.x % size.y, i / size.x / size.y};
}

static void begin_block(struct block *b, struct lane *lanes, uint32_t id, struct simt_dim grid,
			struct simt_dim threads, size_t shared_bytes)
{
	uint32_t n = threads.x * threads.y * threads.z;

	*b = (struct block){.lane = lanes, .n_lanes = (int)n, .n_live = (int)n};
	b->dynamic_bytes = shared_bytes;
	if (posix_memalign(&b->dynamic, 16, shared_bytes > 0 ? shared_bytes : 1) != 0)
		abort();
	simt_fill_nan(b->dynamic, shared_bytes);
	if (__tsan_create_fiber) { /* a lane that allocates would race with the others */
		b->arena = malloc(SIMT_MAX_STATIC);
		if (!b->arena)
			abort();
	}
	for (uint32_t i = 0; i < n; i++) {
		struct lane *l = &lanes[i];

		l->self = (struct simt_thread){.thread = unravel(i, threads),
					       .block = unravel(id, grid),
					       .threads = threads,
					       .blocks = grid,
					       .lane = i % SIMT_WARP,
					       .warp = i / SIMT_WARP};
		l->block = b;
		l->n_copies = 0;
		l->group = 0;
		l->asan_stack = NULL;
		simt_make_ready(l);
	}
}

static void run_blocks(const uint32_t *ids, int n, struct simt_dim grid, struct simt_dim threads,
		       size_t shared_bytes)
{
	struct block block[RESIDENT_TSAN];
	int n_threads = (int)(threads.x * threads.y * threads.z);

	make_lanes(n * n_threads);
	run.ready_from = run.n_ready = 0;
	for (int i = 0; i < n; i++)
		begin_block(&block[i], run.lane + (ptrdiff_t)i * n_threads, ids[i], grid, threads,
			    shared_bytes);
	simt_self = &run.main.self;
	run.main.state = LANE_READY;
	if (__tsan_get_current_fiber)
		run.main.tsan_fiber = __tsan_get_current_fiber();
	simt_release(&run.launch_tag);
	simt_wait();
	simt_acquire(&run.launch_tag);
	simt_self = NULL;
	for (int i = 0; i < n; i++)
		simt_end_block(&block[i]);
}

static void check_launch(struct simt_dim grid, struct simt_dim block, size_t shared_bytes,
			 const struct simt_arg *args, int n_args)
{
	const struct simt_kernel *k = run.kernel;
	uint32_t threads = block.x * block.y * block.z;

	if (threads == 0 || threads > k->max_threads || threads % SIMT_WARP != 0 || block.z > 64)
		simt_fail("a block of %u threads (%u at most, whole warps)", threads,
			  k->max_threads);
	if (grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535)
		simt_fail("a grid of (%u,%u,%u)", grid.x, grid.y, grid.z);
	if (shared_bytes > SIMT_MAX_SHARED)
		simt_fail("%zu bytes of shared memory", shared_bytes);
	if (n_args != k->n_args)
		simt_fail("%d arguments, it has %d parameters", n_args, k->n_args);
	for (int i = 0; i < n_args; i++)
		if (args[i].bytes != k->arg_bytes[i])
			simt_fail("argument %d is of %zu bytes, its parameter of %zu", i,
				  args[i].bytes, k->arg_bytes[i]);
}

/* What mutants are loaded by: it makes its kernels known, and those known last are found first. */
static void load_kernels(void)
{
	static bool loaded;
	const char *path = getenv("SIMT_KERNELS");

	if (path && !loaded && !dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
		fprintf(stderr, "SIMT: %s\n", dlerror());
		abort();
	}
	loaded = true;
}

int simt_launch(const char *kernel, struct simt_dim grid, struct simt_dim block,
		size_t shared_bytes, const struct simt_arg *args, int n_args)
{
	uint32_t total = grid.x * grid.y * grid.z, *ids;
	uint32_t resident = __tsan_create_fiber ? RESIDENT_TSAN : 1;

	load_kernels();
	for (run.kernel = kernels; run.kernel && strcmp(run.kernel->name, kernel) != 0;)
		run.kernel = run.kernel->next;
	if (!run.kernel)
		return -1;
	check_launch(grid, block, shared_bytes, args, n_args);
	run.args = args;
	run.random = simt_options.seed;
	ids = malloc(total * sizeof(*ids));
	if (!ids)
		abort();
	for (uint32_t i = 0; i < total; i++)
		ids[i] = i;
	for (uint32_t i = total - 1; simt_options.seed != 0 && i > 0; i--) {
		uint32_t other = (uint32_t)(simt_random() % (i + 1)), id = ids[i];

		ids[i] = ids[other];
		ids[other] = id;
	}
	for (uint32_t i = 0; i < total; i += resident)
		run_blocks(ids + i, (int)(total - i < resident ? total - i : resident), grid, block,
			   shared_bytes);
	free(ids);
	return 0;
}

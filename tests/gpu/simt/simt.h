/*
 * Runs CUDA kernels on a CPU: the .cu, compiled as C++ (simt_device.h), with a fiber a CUDA thread.
 * What it notices aborts the program with the kernel, block, thread and line: a warp operation with
 * a wrong mask, with a lane that has gone or that is at another line; a barrier that not all
 * threads reach, or reach at different lines; a deadlock; too much shared memory; an asynchronous
 * copy that nobody waits for; a misaligned ldmatrix or cp.async; arguments of the wrong number or
 * size.
 *
 * Shared memory stands in heap blocks of exactly its size, filled with NaN before each block, so
 * that the address sanitizer sees what leaves it. Under the thread sanitizer each CUDA thread is a
 * fiber of its own, and only barriers and __syncwarp order memory between them.
 *
 * SIMT_KERNELS in the environment names a shared object whose kernels take the place of those of
 * the same names: that is how kernels that are broken on purpose are tried (tests/gpu/mutants).
 *
 * What it can not notice: missing fences, what is only true of the machine's own code, speed.
 * One thread at a time runs kernels. The runtime must not be compiled with a sanitizer itself.
 */
#ifndef SIMT_H
#define SIMT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct simt_dim {
	uint32_t x, y, z;
};

/* ---- for tests ---- */

/* When an asynchronous copy is made: at the last moment that is allowed, at the first, or at any.
 */
enum simt_copies { SIMT_COPIES_LATE, SIMT_COPIES_EARLY, SIMT_COPIES_RANDOM };

struct simt_options {
	uint64_t seed; /* of the order of threads and blocks; 0 = ascending */
	enum simt_copies copies;
};
extern struct simt_options simt_options;

struct simt_arg {
	const void *at;
	size_t bytes;
};

/* 0, or -1: no such kernel. */
int simt_launch(const char *kernel, struct simt_dim grid, struct simt_dim block,
		size_t shared_bytes, const struct simt_arg *args, int n_args);

/* Device memory: exactly that many bytes, all of them NaN. */
void *simt_alloc(size_t bytes);
void simt_free(void *p);

/* ---- for simt_device.h ---- */

struct simt_kernel {
	const char *name;
	void (*call)(const struct simt_arg *args);
	int n_args;
	const size_t *arg_bytes;
	uint32_t max_threads;
	struct simt_kernel *next;
};
void simt_register(struct simt_kernel *k);

/* The CUDA thread that runs. */
struct simt_thread {
	struct simt_dim thread, block, threads, blocks; /* indices, and sizes of block and grid */
	uint32_t lane, warp;
};
extern struct simt_thread *simt_self;

enum simt_op {
	SIMT_SYNCWARP,
	SIMT_SHUFFLE,
	SIMT_BALLOT,
	SIMT_MMA_F16,
	SIMT_LOAD_MATRICES,
	SIMT_LOAD_MATRICES_TURNED
};

/* The lane waits until all of mask are there; the last one does it for all. bytes: of in and out of
 * a shuffle, from_lane: whose `in` it gets. */
void simt_warp_op(enum simt_op op, uint32_t mask, const void *in, void *out, uint32_t bytes,
		  uint32_t from_lane, int line);
void simt_barrier(int line);
void *simt_shared(const void *key, size_t bytes);
void *simt_dynamic_shared(void);
void simt_copy(void *to, const void *from, uint32_t bytes, uint32_t bytes_read);
void simt_copy_commit(void);
void simt_copy_wait(int behind);

#ifdef __cplusplus
}
#endif
#endif

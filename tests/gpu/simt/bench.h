/*
 * What tests of kernels stand on: a queue to what runs them (bench_simt.c: the SIMT runtime;
 * ../ptxsim/bench_ptx.cc: the PTX on the stand-in driver), memory of the device, numbers to fill it
 * with, and comparisons that say where they failed. Copies to and from the device are explicit,
 * though both are the same memory here.
 */
#ifndef GPU_BENCH_H
#define GPU_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cuda/launch.h"
#include "cuda/repack.h"

/* What runs the kernels offers these. Memory: exactly so many bytes, all of them NaN. */
extern struct gpu_queue bench_queue;
extern const int bench_n_orders;
void bench_begin_order(int order);
const char *bench_order_name(void); /* for messages */
void *bench_alloc(size_t bytes);
void bench_free(void *p);

/* Runs test() under several orders of threads and blocks, and moments of asynchronous copies. */
void bench_orders(void (*test)(void));

/* A block of the device: of exactly so many bytes, full of NaN, or of what the host has. Freed by
 * bench_release(), with all others. */
void *device(size_t bytes);
void *device_copy(const void *from, size_t bytes);
void read_device(void *to, const void *from, size_t bytes);
void bench_release(void);

/* [-1, 1], the same at each run. */
float next_number(void);
int32_t next_int(int32_t below);
float *numbers(size_t n, float scale);	       /* the host's, released as well */
uint16_t *half_numbers(size_t n, float scale); /* likewise */
void *host(size_t bytes);		       /* zeros */

/* |got - want| <= tolerance; on failure says what, and at which index. */
void expect_near(const char *what, size_t i, double got, double want, double tolerance);

/* A matrix of one part per dtype, n_out[i] rows each, of random numbers; and as it is on the
 * device. The tensors are in the host's memory, for matrix_read_row(). */
struct bench_matrix {
	struct matrix m;
	struct tensor tensor[3];
	struct gpu_matrix gpu;
};
void make_matrix(struct bench_matrix *b, int32_t n_in, int32_t n_parts, const enum dtype *dtype,
		 const int32_t *n_out);

#define OK(call) assert_int_equal(call, RC_OK)

#endif

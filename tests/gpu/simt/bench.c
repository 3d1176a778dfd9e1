#include "bench.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"

#define MAX_BLOCKS 4096

static struct {
	void *block[MAX_BLOCKS];
	bool of_device[MAX_BLOCKS];
	int n;
	uint64_t random;
} bench;

void bench_orders(void (*test)(void))
{
	for (int i = 0; i < bench_n_orders; i++) {
		bench_begin_order(i);
		bench.random = 1;
		test();
		bench_release();
	}
}

static void *keep(void *p, bool of_device)
{
	CHECK(bench.n < MAX_BLOCKS);
	bench.block[bench.n] = p;
	bench.of_device[bench.n++] = of_device;
	return p;
}

void *device(size_t bytes)
{
	return keep(bench_alloc(bytes), true);
}

void *device_copy(const void *from, size_t bytes)
{
	return memcpy(device(bytes), from, bytes);
}

void read_device(void *to, const void *from, size_t bytes)
{
	memcpy(to, from, bytes);
}

void *host(size_t bytes)
{
	void *p = calloc(1, bytes > 0 ? bytes : 1);

	CHECK(p);
	return keep(p, false);
}

void bench_release(void)
{
	while (bench.n > 0) {
		bench.n--;
		(bench.of_device[bench.n] ? bench_free : free)(bench.block[bench.n]);
	}
}

static uint32_t next(void)
{
	bench.random = bench.random * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(bench.random >> 33);
}

float next_number(void)
{
	return (float)next() / (float)(1u << 30) - 1;
}

int32_t next_int(int32_t below)
{
	return (int32_t)(next() % (uint32_t)below);
}

float *numbers(size_t n, float scale)
{
	float *p = host(n * sizeof(*p));

	for (size_t i = 0; i < n; i++)
		p[i] = next_number() * scale;
	return p;
}

uint16_t *half_numbers(size_t n, float scale)
{
	uint16_t *p = host(n * sizeof(*p));

	for (size_t i = 0; i < n; i++)
		p[i] = f16_from_float(next_number() * scale);
	return p;
}

void expect_near(const char *what, size_t i, double got, double want, double tolerance)
{
	if (!(fabs(got - want) <= tolerance))
		fail_msg("%s, number %zu: %.9g, should be %.9g within %.2g (%s)", what, i, got,
			 want, tolerance, bench_order_name());
}

void make_matrix(struct bench_matrix *b, int32_t n_in, int32_t n_parts, const enum dtype *dtype,
		 const int32_t *n_out)
{
	size_t bytes;
	void *memory;

	memset(b, 0, sizeof(*b));
	b->m = (struct matrix){.n_in = n_in, .n_parts = n_parts};
	for (int32_t i = 0; i < n_parts; i++) {
		size_t n = (size_t)n_out[i] * (size_t)n_in;
		float *w = numbers(n, 0.5F);
		struct tensor *t = &b->tensor[i];

		t->dtype = dtype[i];
		t->bytes = dtype_bytes(dtype[i], (int64_t)n);
		t->data = host(t->bytes);
		dtype_from_float(dtype[i], w, (int64_t)n, (void *)(uintptr_t)t->data);
		b->m.part[i] = (struct matrix_part){
			.t = t, .rows = n_out[i], .run = n_out[i], .stride = n_out[i]};
		b->m.n_out += n_out[i];
	}
	bytes = gpu_matrix_bytes(&b->m);
	memory = device(bytes);
	gpu_matrix_init(&b->gpu, &b->m, memory);
	for (int32_t i = 0; i < n_parts; i++)
		gpu_repack_rows(&b->gpu.part[i], &b->m, i, 0, n_out[i]);
}

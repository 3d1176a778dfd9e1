/* Products and the inputs they read, of every kind of weights, against sums in double. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench.h"

#define GUARD 12345.0F

/* Inputs of m rows in both forms, on the device; x: their halves as floats, of_bytes: their bytes,
 * both [m][padded] on the host. */
struct rows {
	struct gpu_inputs in;
	float *x, *of_bytes;
};

static void make_rows(struct rows *r, int32_t n, int32_t m)
{
	size_t padded = (size_t)gpu_padded(n), all = (size_t)m * padded;
	uint16_t *halves = half_numbers(all, 2);
	int8_t *bytes = host(all);
	float *scales = host(all / GPU_GROUP * 2 * sizeof(*scales));

	for (size_t i = 0; i < all; i++)
		if ((int32_t)(i % padded) >= n)
			halves[i] = 0;
	r->in = (struct gpu_inputs){.padded = (int32_t)padded,
				    .halves = device_copy(halves, all * sizeof(*halves)),
				    .bytes = device(all),
				    .scales = device(all / GPU_GROUP * 2 * sizeof(float))};
	OK(gpu_quantise(&bench_queue, &r->in, m, NULL));
	read_device(bytes, r->in.bytes, all);
	read_device(scales, r->in.scales, all / GPU_GROUP * 2 * sizeof(float));
	r->x = host(all * sizeof(float));
	r->of_bytes = host(all * sizeof(float));
	for (size_t g = 0; g < all / GPU_GROUP; g++) {
		float largest = 0;
		int32_t sum = 0;

		for (size_t i = g * GPU_GROUP; i < (g + 1) * GPU_GROUP; i++) {
			r->x[i] = f16_to_float(halves[i]);
			r->of_bytes[i] = scales[2 * g] * (float)bytes[i];
			largest = fmaxf(largest, fabsf(r->x[i]));
			sum += bytes[i];
		}
		expect_near("scale", g, scales[2 * g], largest / 127, 1e-6 * largest);
		expect_near("scaled sum", g, scales[2 * g + 1], (double)scales[2 * g] * sum,
			    1e-5 * largest);
		for (size_t i = g * GPU_GROUP; i < (g + 1) * GPU_GROUP; i++)
			expect_near("byte", i, r->of_bytes[i], r->x[i],
				    0.5001 * (double)scales[2 * g]);
	}
}

static void check_product(const struct bench_matrix *w, const struct rows *r, int32_t m,
			  enum gpu_product how, float *got)
{
	size_t all = (size_t)m * (size_t)w->m.n_out;
	float *y = device((all + 1) * sizeof(float)),
	      *row = host((size_t)w->m.n_in * sizeof(float));
	struct err e;

	memcpy(y + all, &(float){GUARD}, sizeof(float));
	OK(gpu_multiply(&bench_queue, &w->gpu, &r->in, m, how, y, &e));
	read_device(got, y, all * sizeof(float));
	assert_true(y[all] == GUARD);
	for (int32_t o = 0; o < w->m.n_out; o++) {
		bool bytes = gpu_product_forms(&w->gpu, how, m) == GPU_BYTES;

		matrix_read_row(&w->m, o, row);
		for (int32_t i = 0; i < m; i++) {
			const float *x =
				(bytes ? r->of_bytes : r->x) + (size_t)i * (size_t)r->in.padded;
			double sum = 0, size = 0;

			for (int32_t k = 0; k < w->m.n_in; k++) {
				sum += (double)row[k] * x[k];
				size += fabs((double)row[k] * x[k]);
			}
			/* Of GEMMs, weights are rounded to halves. */
			expect_near("product", (size_t)i * (size_t)w->m.n_out + (size_t)o,
				    got[(size_t)i * (size_t)w->m.n_out + (size_t)o], sum,
				    (m > 8 || how == GPU_TENSOR ? 3e-4 : 2e-6) * size + 1e-6);
		}
	}
}

static const enum dtype kinds[] = {DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q5_1, DTYPE_Q4_1};

static void each_kind(int32_t n_in, int32_t n_out, int32_t m, enum gpu_product how)
{
	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		struct bench_matrix w;
		struct rows r;

		make_matrix(&w, n_in, 1, &kinds[k], &n_out);
		make_rows(&r, n_in, m);
		check_product(&w, &r, m, how, host((size_t)m * (size_t)n_out * sizeof(float)));
		bench_release();
	}
}

static void gemv_shapes(void)
{
	static const int32_t shapes[][3] = {/* n_in, n_out, m */
					    {32, 1, 1},	  {64, 5, 2},	{576, 9, 1},
					    {640, 7, 3},  {576, 13, 4}, {96, 6, 5},
					    {1536, 3, 8}, {2080, 4, 1}, {544, 5, 7}};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
		each_kind(shapes[i][0], shapes[i][1], shapes[i][2], GPU_FROM_M);
}

static void gemm_shapes(void)
{
	static const int32_t shapes[][3] = {{32, 1, 9},	   {64, 65, 16},  {576, 70, 17},
					    {640, 64, 33}, {96, 130, 64}, {160, 9, 65}};

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
		each_kind(shapes[i][0], shapes[i][1], shapes[i][2], GPU_FROM_M);
	each_kind(64, 20, 1, GPU_TENSOR);
}

static void test_gemv(void **state)
{
	(void)state;
	bench_orders(gemv_shapes);
}

static void test_gemm(void **state)
{
	(void)state;
	bench_orders(gemm_shapes);
}

/* Inputs that are no multiple of 32, which only plain weights have. */
static void odd_inputs(void)
{
	static const enum dtype plain[] = {DTYPE_F16, DTYPE_BF16, DTYPE_F32};
	static const int32_t m[] = {1, 11};

	for (size_t i = 0; i < 6; i++) {
		struct bench_matrix w;
		struct rows r;
		int32_t n_out = 6;

		make_matrix(&w, 50, 1, &plain[i / 2], &n_out);
		make_rows(&r, 50, m[i % 2]);
		if (plain[i / 2] == DTYPE_F32) { /* as its rounding to halves is */
			float *x = (float *)(uintptr_t)w.tensor[0].data;

			for (size_t j = 0; j < 300; j++)
				x[j] = f16_to_float(f16_from_float(x[j]));
		}
		check_product(&w, &r, m[i % 2], GPU_FROM_M,
			      host((size_t)m[i % 2] * 6 * sizeof(float)));
		bench_release();
	}
}

static void test_odd_inputs(void **state)
{
	(void)state;
	bench_orders(odd_inputs);
}

/* Parts of different dtypes stand below each other; neighbours of one kind are one product. */
static void test_parts(void **state)
{
	static const enum dtype mixed[] = {DTYPE_Q8_0, DTYPE_Q5_0, DTYPE_Q4_1};
	static const int32_t n_out[] = {12, 3, 70};
	static const int32_t m[] = {2, 20};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct bench_matrix w;
		struct rows r;

		make_matrix(&w, 64, 3, mixed, n_out);
		assert_int_equal(w.gpu.n_parts, 2);
		make_rows(&r, 64, m[i]);
		check_product(&w, &r, m[i], GPU_FROM_M,
			      host((size_t)m[i] * (size_t)w.m.n_out * sizeof(float)));
		bench_release();
	}
}

/* A row's product is the same to the last bit whoever is beside it: among GEMVs, and among all m
 * on the tensor cores. */
static void test_rows_alone(void **state)
{
	enum { N = 96, OUT = 70, M = 64 };

	(void)state;
	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		float *together = host((size_t)M * OUT * sizeof(float)),
		      *alone = host(OUT * sizeof(float));
		int32_t n_out = OUT;
		struct bench_matrix w;
		struct rows r;

		make_matrix(&w, N, 1, &kinds[k], &n_out);
		make_rows(&r, N, M);
		for (int how = GPU_FROM_M; how <= GPU_TENSOR; how++) {
			int32_t m = how == GPU_TENSOR ? M : 8, last = m - 1;
			struct rows one = r;

			check_product(&w, &r, m, (enum gpu_product)how, together);
			one.in.halves += (ptrdiff_t)last * N;
			one.in.bytes += (ptrdiff_t)last * N;
			one.in.scales += (ptrdiff_t)last * N / GPU_GROUP * 2;
			one.x += (ptrdiff_t)last * N;
			one.of_bytes += (ptrdiff_t)last * N;
			check_product(&w, &one, 1, (enum gpu_product)how, alone);
			assert_memory_equal(together + (size_t)last * OUT, alone,
					    OUT * sizeof(float));
		}
		bench_release();
	}
}

/* What is not exactly the file's numbers is near them. */
static void test_repacked_formats(void **state)
{
	static const struct {
		enum dtype dtype;
		float within; /* of the largest of its 256 */
	} formats[] = {{DTYPE_Q4_0, 0},	    {DTYPE_Q5_0, 0},	  {DTYPE_Q8_0, 0},
		       {DTYPE_Q4_1, 0},	    {DTYPE_Q5_1, 0},	  {DTYPE_F16, 0},
		       {DTYPE_BF16, 0},	    {DTYPE_F32, 5e-4F},	  {DTYPE_Q4_K, 1e-3F},
		       {DTYPE_Q5_K, 1e-3F}, {DTYPE_Q6_K, 4.1e-3F}};

	(void)state;
	for (size_t f = 0; f < sizeof(formats) / sizeof(*formats); f++) {
		int32_t n_out = 3, tokens[] = {2, 0, -1, 1};
		float *x = device(1024 * sizeof(float)), want[256];
		struct bench_matrix w;

		make_matrix(&w, 256, 1, &formats[f].dtype, &n_out);
		OK(gpu_embed(&bench_queue,
			     &(struct gpu_embed){.embedding = &w.gpu,
						 .tokens = device_copy(tokens, sizeof(tokens)),
						 .scale = 1},
			     4, x, NULL));
		for (int32_t r = 0; r < 4; r++) {
			memset(want, 0, sizeof(want));
			if (tokens[r] >= 0)
				matrix_read_row(&w.m, tokens[r], want);
			for (size_t i = 0; i < 256; i++)
				expect_near(dtype_info(formats[f].dtype)->name, i,
					    x[(size_t)r * 256 + i], want[i],
					    formats[f].within + 1e-6);
		}
		bench_release();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_gemv),	   cmocka_unit_test(test_gemm),
		cmocka_unit_test(test_odd_inputs), cmocka_unit_test(test_parts),
		cmocka_unit_test(test_rows_alone), cmocka_unit_test(test_repacked_formats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

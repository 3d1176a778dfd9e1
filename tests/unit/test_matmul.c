/*
 * Products with packed weights, in every instruction set that this machine has: within the error of
 * their sums of a double-precision product, for every kind and over shapes that end anywhere; and
 * the same bits however many rows there are and however tiles are shared out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/die.h"
#include "base/rng.h"
#include "cpu/kernels.h"

#define MAX_ROWS 33
#define EPSILON	 0x1p-24 /* half a unit of a float's last place */

struct problem {
	struct tensor tensor[PACK_MAX_PARTS];
	struct matrix matrix;
	struct packed_matrix packed;
	void *memory;
	float *x; /* [MAX_ROWS][n_in] */
	struct activations activations;
};

static float uniform(struct rng *r)
{
	return (float)(2 * rng_unit(r) - 1);
}

static void add_part(struct problem *p, struct rng *r, enum dtype t, int32_t rows)
{
	int64_t n = (int64_t)rows * p->matrix.n_in;
	float *w = xcalloc((size_t)n, sizeof(*w));
	void *data = xmalloc(dtype_bytes(t, n));
	int32_t i = p->matrix.n_parts++;

	for (int64_t k = 0; k < n; k++)
		w[k] = uniform(r);
	dtype_from_float(t, w, n, data);
	free(w);
	p->tensor[i] = (struct tensor){.name = "w",
				       .dtype = t,
				       .n_dims = 2,
				       .dim = {p->matrix.n_in, rows, 1, 1},
				       .data = data};
	p->matrix.part[i] =
		(struct matrix_part){.t = &p->tensor[i], .rows = rows, .run = rows, .stride = rows};
	p->matrix.n_out += rows;
}

static void pack(struct problem *p, struct rng *r)
{
	size_t bytes = packed_bytes(&p->matrix);

	assert_int_equal(posix_memalign(&p->memory, PACK_ALIGN, bytes), 0);
	packed_init(&p->packed, &p->matrix, p->memory);
	packed_fill(&p->packed, &p->matrix, 0, p->packed.n_tiles);
	p->x = xcalloc((size_t)MAX_ROWS * (size_t)p->matrix.n_in, sizeof(*p->x));
	for (int32_t i = 0; i < MAX_ROWS * p->matrix.n_in; i++)
		p->x[i] = uniform(r);
	activations_init(&p->activations, p->matrix.n_in, MAX_ROWS, p->packed.forms);
}

static void release(struct problem *p)
{
	for (int32_t i = 0; i < p->matrix.n_parts; i++)
		free((void *)p->tensor[i].data);
	free(p->memory);
	free(p->x);
	activations_release(&p->activations);
}

/* What the product sees of input k of a row. */
static double seen(const struct problem *p, enum pack_kind kind, int32_t row, int32_t k)
{
	const struct activations *a = &p->activations;
	size_t at = activations_at(a, row, k / PACK_INPUTS);

	if (pack_info(kind)->forms == ACTIVATIONS_FLOAT)
		return p->x[(int64_t)row * p->matrix.n_in + k];
	return (double)a->scale[at] * a->q[at * PACK_INPUTS + (size_t)k % PACK_INPUTS];
}

/* Output o of a row in double precision, and what its float may be off: each of the n steps of its
 * sum by half a unit of what has been summed at most, with scale and min apart three times the
 * weight's own size. */
static double reference(const struct problem *p, int32_t row, int32_t o, const float *w,
			double *error)
{
	enum pack_kind kind = PACK_F32;
	double sum = 0, size = 0;
	int32_t first = 0;

	for (int32_t i = 0; i < p->packed.n_parts; i++) {
		if (o >= first)
			kind = p->packed.part[i].kind;
		first += p->packed.part[i].n_out;
	}
	for (int32_t g = 0; g < p->matrix.n_in; g += PACK_INPUTS) {
		int32_t end = g + PACK_INPUTS < p->matrix.n_in ? g + PACK_INPUTS : p->matrix.n_in;
		double largest = 0, inputs = 0;

		for (int32_t k = g; k < end; k++) {
			sum += seen(p, kind, row, k) * w[k];
			inputs += fabs(seen(p, kind, row, k));
			largest = fmax(largest, fabs((double)w[k]));
		}
		size += 3 * largest * inputs;
	}
	*error = EPSILON * (p->matrix.n_in + 4) * size;
	if (pack_info(kind)->forms == ACTIVATIONS_INT8)
		*error = EPSILON * (2.0 * p->matrix.n_in / PACK_INPUTS + 4) * size;
	return sum;
}

static void check_against_double(const struct problem *p, const struct kernels *k, int32_t n_rows)
{
	int32_t n_out = p->matrix.n_out;
	float *y = xcalloc((size_t)n_rows * (size_t)n_out, sizeof(*y));
	float *w = xcalloc((size_t)p->matrix.n_in, sizeof(*w));

	k->prepare_rows(&p->activations, 0, n_rows, p->x, p->matrix.n_in);
	matmul(k, &p->packed, 0, p->packed.n_tiles, &p->activations, 0, n_rows, y, n_out);
	for (int32_t o = 0; o < n_out; o++) {
		packed_read_row(&p->packed, o, w);
		for (int32_t r = 0; r < n_rows; r++) {
			double error, want = reference(p, r, o, w, &error);
			double off = fabs(y[(int64_t)r * n_out + o] - want);

			if (!(off <= error))
				fail_msg("%s, %d x %d, row %d, output %d: %g, want %g, within %g",
					 k->name, p->matrix.n_in, n_out, r, o,
					 (double)y[(int64_t)r * n_out + o], want, error);
		}
	}
	free(w);
	free(y);
}

/* One dtype for each kind; the model's own shapes, and one for each place where a row, a group, a
 * tile or a block of rows can end. */
static const enum dtype dtypes[] = {DTYPE_F32,	DTYPE_F16,  DTYPE_BF16,
				    DTYPE_Q8_0, DTYPE_Q5_1, DTYPE_Q4_1};

static void test_shapes(void **state)
{
	static const struct {
		int32_t n_in, n_out, n_rows;
	} shapes[] = {
		{576, 96, 5}, {640, 48, 3}, {4544, 17, 2}, {1536, 16, 8}, {32, 1, 1}, {64, 31, 33},
	};
	const struct kernels *k;

	(void)state;
	for (size_t d = 0; d < ARRAY_LEN(dtypes); d++)
		for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
			struct problem p = {.matrix.n_in = shapes[s].n_in};
			struct rng r;

			rng_init(&r, 1, "matmul", d * 100 + s);
			add_part(&p, &r, dtypes[d], shapes[s].n_out);
			pack(&p, &r);
			for (int32_t i = 0; (k = kernels_at(i)); i++)
				check_against_double(&p, k, shapes[s].n_rows);
			release(&p);
		}
}

/* Every number of outputs of a last tile, every number of rows of a last block. */
static void test_tails(void **state)
{
	const struct kernels *k;

	(void)state;
	for (size_t d = 0; d < ARRAY_LEN(dtypes); d++)
		for (int32_t n = 1; n < 32; n++) {
			struct problem p = {.matrix.n_in = 64};
			struct rng r;

			rng_init(&r, 2, "matmul", d * 100 + (size_t)n);
			add_part(&p, &r, dtypes[d], n);
			pack(&p, &r);
			for (int32_t i = 0; (k = kernels_at(i)); i++)
				check_against_double(&p, k, 1 + n % MAX_ROWS);
			release(&p);
		}
}

/* Inputs that end inside a group: plain numbers only, the others have whole blocks. */
static void test_odd_inputs(void **state)
{
	const struct kernels *k;

	(void)state;
	for (size_t d = 0; d < 3; d++)
		for (int32_t n_in = 1; n_in < 70; n_in += 3) {
			struct problem p = {.matrix.n_in = n_in};
			struct rng r;

			rng_init(&r, 3, "matmul", d * 100 + (size_t)n_in);
			add_part(&p, &r, dtypes[d], 19);
			pack(&p, &r);
			for (int32_t i = 0; (k = kernels_at(i)); i++)
				check_against_double(&p, k, 9);
			release(&p);
		}
}

/* q, k and v of three kinds, none of them whole tiles: the rows of each stand right behind those of
 * the one before. */
static void test_parts(void **state)
{
	struct problem p = {.matrix.n_in = 96};
	const struct kernels *k;
	struct rng r;

	(void)state;
	rng_init(&r, 4, "matmul", 0);
	add_part(&p, &r, DTYPE_Q4_0, 40);
	add_part(&p, &r, DTYPE_F16, 7);
	add_part(&p, &r, DTYPE_Q8_0, 20);
	pack(&p, &r);
	assert_int_equal(p.packed.n_tiles, 3 + 1 + 2);
	for (int32_t i = 0; (k = kernels_at(i)); i++)
		check_against_double(&p, k, 11);
	release(&p);
}

/* The whole product at once, against each row on its own with tiles taken by ones, threes and so
 * on: equal to the bit. */
static void test_same_bits(void **state)
{
	static const int32_t row_cuts[] = {1, 2, 3, 5, 8, 13};
	const struct kernels *k;

	(void)state;
	for (size_t d = 0; d < ARRAY_LEN(dtypes); d++) {
		struct problem p = {.matrix.n_in = 576};
		size_t bytes = (size_t)MAX_ROWS * 150 * sizeof(float);
		float *whole = xmalloc(bytes), *cut = xmalloc(bytes);
		struct rng r;

		rng_init(&r, 5, "matmul", d);
		add_part(&p, &r, dtypes[d], 150);
		pack(&p, &r);
		for (int32_t i = 0; (k = kernels_at(i)); i++) {
			k->prepare_rows(&p.activations, 0, MAX_ROWS, p.x, 576);
			matmul(k, &p.packed, 0, p.packed.n_tiles, &p.activations, 0, MAX_ROWS,
			       whole, 150);
			for (size_t c = 0; c < ARRAY_LEN(row_cuts); c++) {
				int32_t step = row_cuts[c];

				memset(cut, 0xff, bytes);
				for (int32_t row = 0; row < MAX_ROWS; row += step)
					for (int32_t t = 0, n; t < p.packed.n_tiles; t += n) {
						n = 1 + (t + row) % 5;
						n = t + n > p.packed.n_tiles ? p.packed.n_tiles - t
									     : n;
						matmul(k, &p.packed, t, n, &p.activations, row,
						       row + step > MAX_ROWS ? MAX_ROWS - row
									     : step,
						       cut, 150);
					}
				assert_memory_equal(whole, cut, bytes);
			}
		}
		free(whole);
		free(cut);
		release(&p);
	}
}

/* The extreme bytes: -128 of a Q8_0 and 127 of an activation, whose sums of two do not fit into 16
 * bits with the byte that stands for them. */
static void test_extreme_bytes(void **state)
{
	static const int8_t extremes[] = {-128, -127, 127};
	struct problem p = {.matrix.n_in = 32};
	const struct kernels *k;
	struct rng r;

	(void)state;
	rng_init(&r, 6, "matmul", 0);
	add_part(&p, &r, DTYPE_Q8_0, 16);
	for (size_t row = 0; row < 16; row++)
		memset((uint8_t *)p.tensor[0].data + row * 34 + 2,
		       extremes[row % ARRAY_LEN(extremes)], 32);
	pack(&p, &r);
	for (int32_t i = 0; i < MAX_ROWS * 32; i++)
		p.x[i] = i / 32 % 2 ? -1.0f : 1.0f;
	for (int32_t i = 0; (k = kernels_at(i)); i++)
		check_against_double(&p, k, 4);
	release(&p);
}

static void test_activations(void **state)
{
	static const int32_t sizes[] = {1, 15, 16, 17, 31, 32, 33, 63, 576};
	const struct kernels *k;

	(void)state;
	for (int32_t i = 0; (k = kernels_at(i)); i++)
		for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
			int32_t n = sizes[s];
			float *x = xcalloc(3 * (size_t)n, sizeof(*x));
			struct activations a;
			struct rng r;

			rng_init(&r, 7, "activations", s);
			for (int32_t j = 0; j < 2 * n; j++)
				x[j] = uniform(&r) * 100; /* and a row of zeros */
			activations_init(&a, n, 3, ACTIVATIONS_FLOAT | ACTIVATIONS_INT8);
			k->prepare_rows(&a, 0, 3, x, n);
			for (int32_t row = 0; row < 3; row++)
				for (int32_t j = 0; j < a.n_groups * PACK_INPUTS; j++) {
					size_t at = activations_at(&a, row, j / PACK_INPUTS);
					int8_t q = a.q[at * PACK_INPUTS + (size_t)j % PACK_INPUTS];
					float want = j < n ? x[row * n + j] : 0;

					assert_true(a.f[row * a.n_groups * PACK_INPUTS + j] ==
						    want);
					assert_true(fabsf(want - a.scale[at] * (float)q) <=
						    a.scale[at] * 0.50001f);
				}
			activations_release(&a);
			free(x);
		}
}

static void test_choice(void **state)
{
	const struct kernels *k = NULL;
	struct err e;

	(void)state;
	assert_int_equal(kernels_choose(&k, NULL, &e), RC_OK);
	assert_ptr_equal(k, kernels_at(0));
	assert_int_equal(kernels_choose(&k, "scalar", &e), RC_OK);
	assert_string_equal(k->name, "scalar");
	assert_int_equal(kernels_choose(&k, "mmx", &e), RC_INPUT);
	assert_non_null(strstr(e.msg, "\"mmx\""));
	assert_non_null(strstr(e.msg, "scalar"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shapes),	    cmocka_unit_test(test_tails),
		cmocka_unit_test(test_odd_inputs),  cmocka_unit_test(test_parts),
		cmocka_unit_test(test_same_bits),   cmocka_unit_test(test_extreme_bytes),
		cmocka_unit_test(test_activations), cmocka_unit_test(test_choice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * Instructions, bytes and conflicts of the kernels, counted while their PTX is interpreted, against
 * counters.txt: a kernel may not become worse unnoticed. `test_gpu_counters print` writes it anew.
 * Says nothing of time.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "counting.h"

#define LINE_BYTES 256
#define CONTEXT	   1024
#define N_MODELS   2
#define N_FIGURES  5

/* Better if less, each of them. */
struct figures {
	double of[N_FIGURES];
};
static const char *const figure_names[N_FIGURES] = {"insns", "moved", "least", "sectors",
						    "conflict"};

/* The figures are printed with two places: that much may differ. */
#define ROUNDING 0.00501

static double ratio(double a, double b)
{
	return b > 0 ? a / b : 0;
}

static struct figures figures_of(const struct counted *c)
{
	const struct ptxsim_counts *n = &c->n;
	const double sector = 32;

	return (struct figures){{ratio((double)n->lane_insns,
				       c->weight_bytes > 0 ? c->weight_bytes : c->ideal_bytes),
				 ratio((double)n->sectors * sector, c->ideal_bytes),
				 ratio((double)(n->read_bytes + n->write_bytes), c->ideal_bytes),
				 ratio((double)n->sectors, (double)n->ideal_sectors),
				 n->worst_conflict}};
}

/* ---- what is counted ---- */

typedef void (*row_fn)(const char *kernel, const char *shape, const struct figures *f);

static void each_of(const char *shape, const struct step_counts *counts, row_fn row)
{
	for (int32_t i = 0; i < counts->n; i++) {
		struct figures f = figures_of(&counts->kernel[i]);

		row(gpu_kernel_info(counts->kernel[i].kernel)->name, shape, &f);
	}
}

/* Every product kernel at its full number of rows. */
static void each_product(row_fn row)
{
	static const enum dtype kinds[] = {DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q5_1,
					   DTYPE_Q4_1};
	static const int32_t rows[] = {1, 2, 4, 8, 16, 64};
	const int32_t widths[] = {smollm2_135m.d_model, llama_3_1_8b.d_model};

	for (size_t k = 0; k < sizeof(kinds) / sizeof(*kinds); k++) {
		for (size_t r = 0; r < sizeof(rows) / sizeof(*rows); r++) {
			for (size_t w = 0; w < sizeof(widths) / sizeof(*widths); w++) {
				struct step_counts counts = {.n = 0};
				char shape[LINE_BYTES];

				snprintf(shape, sizeof(shape), "n_in=%d", widths[w]);
				count_product("", kinds[k], widths[w], COUNTED_OUTPUTS, rows[r], 1,
					      &counts);
				each_of(shape, &counts, row);
			}
		}
	}
}

/* The other kernels of a step, with inputs of both forms where they make them: quantised weights.
 */
static void each_other(row_fn row)
{
	const struct model_shape *const models[N_MODELS] = {&smollm2_135m, &llama_3_1_8b};

	for (int i = 0; i < N_MODELS; i++) {
		struct step_counts step, counts = {.n = 0};

		count_step(models[i], DTYPE_Q8_0, 1, CONTEXT, &step);
		for (int32_t k = 0; k < step.n; k++)
			if (step.kernel[k].weight_bytes == 0)
				counts.kernel[counts.n++] = step.kernel[k];
		count_prefill(models[i], CONTEXT, &counts);
		each_of(models[i]->name, &counts, row);
	}
}

/* ---- what is allowed ---- */

static int32_t n_checked;

static void check_row(const char *kernel, const char *shape, const struct figures *f)
{
	FILE *file = fopen(COUNTERS, "r");
	char line[LINE_BYTES], its_kernel[LINE_BYTES], its_shape[LINE_BYTES];
	bool found = false;
	struct figures most;

	assert_non_null(file);
	while (!found && fgets(line, sizeof(line), file)) {
		char *at = line;
		int read = 0;

		found = sscanf(at, "%255s %255s %n", its_kernel, its_shape, &read) == 2 &&
			strcmp(its_kernel, kernel) == 0 && strcmp(its_shape, shape) == 0;
		at += read;
		for (int i = 0; found && i < N_FIGURES; i++)
			most.of[i] = strtod(at, &at);
	}
	fclose(file);
	if (!found) {
		fail_msg("counters.txt has no row for %s %s", kernel, shape);
		return;
	}
	for (int i = 0; i < N_FIGURES; i++)
		if (f->of[i] > most.of[i] + ROUNDING)
			fail_msg("%s %s: %s is %.2f, %.2f is allowed", kernel, shape,
				 figure_names[i], f->of[i], most.of[i]);
	n_checked++;
}

static void test_products(void **state)
{
	(void)state;
	n_checked = 0;
	each_product(check_row);
	assert_int_equal(n_checked, 60);
}

static void test_others(void **state)
{
	(void)state;
	n_checked = 0;
	each_other(check_row);
	assert_true(n_checked > 10);
}

static void print_row(const char *kernel, const char *shape, const struct figures *f)
{
	printf("%-18s %-13s", kernel, shape);
	for (int i = 0; i < N_FIGURES; i++)
		printf(" %8.2f", f->of[i]);
	printf("\n");
}

static void print_counters(void)
{
	printf("# What the kernels do, counted while the PTX that nvcc 13.0 wrote for compute_80 "
	       "is "
	       "interpreted,\n"
	       "# at real shapes: 64 outputs of a product, one row, one sequence of %d tokens (the "
	       "last\n"
	       "# chunk of its prompt). Nothing of it was measured on a card. Each figure: less is "
	       "better.\n"
	       "#   insns     PTX instructions of threads for each byte of weights (without "
	       "weights: "
	       "of data)\n"
	       "#   moved     bytes that requests bring, for each that must be read or written: "
	       "above 1\n"
	       "#             is what the caches have to serve\n"
	       "#   least     the same with caches that never lose anything: sectors used in part\n"
	       "#   sectors   of 32 bytes that a request touches, for each that it would have to: "
	       "1 = "
	       "coalesced\n"
	       "#   conflict  of shared memory's banks, the worst request of the hot loops: 1 = "
	       "none, 0 =\n"
	       "#             no shared memory\n",
	       CONTEXT);
	printf("%-18s %-13s", "# kernel", "shape");
	for (int i = 0; i < N_FIGURES; i++)
		printf(" %8s", figure_names[i]);
	printf("\n");
	each_product(print_row);
	each_other(print_row);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_products),
					   cmocka_unit_test(test_others)};

	counting_begin();
	if (argc == 2 && strcmp(argv[1], "print") == 0) {
		print_counters();
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

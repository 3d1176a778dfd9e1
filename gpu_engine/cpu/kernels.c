/*
 * Owns the choice of an instruction set, the memory of activations, and the way from a matrix of
 * several parts to the product of each. Any thread.
 */
#include "kernels.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "kernels_isa.h"

#if defined(__x86_64__)
/* The compiler's own look at cpuid also asks whether the kernel saves the registers. */
static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512vnni");
}

/* F16C is older than AVX2, and not every compiler can ask for it. */
static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif

static bool always(void)
{
	return true;
}

static const struct isa {
	const struct kernels *kernels;
	bool (*supported)(void);
} isas[] = {
#if defined(__x86_64__)
	{&kernels_avx512, has_avx512},
	{&kernels_avx2, has_avx2},
#endif
	{&kernels_scalar, always},
};

const struct kernels *kernels_at(int32_t i)
{
	for (size_t n = 0; n < ARRAY_LEN(isas); n++)
		if (isas[n].supported() && i-- == 0)
			return isas[n].kernels;
	return NULL;
}

enum rc kernels_choose(const struct kernels **out, const char *name, struct err *e)
{
	char names[64] = "";
	const struct kernels *k;

	for (int32_t i = 0; (k = kernels_at(i)); i++) {
		if (!name || strcmp(name, k->name) == 0) {
			*out = k;
			return RC_OK;
		}
		snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
			 i > 0 ? ", " : "", k->name);
	}
	return err_set(e, RC_INPUT, "instruction set \"%s\": this machine has %s", name, names);
}

/* The arrays of activations lie one behind the other in one piece of memory, each aligned. */
static void *place(char *memory, size_t *at, size_t bytes)
{
	void *here = memory ? memory + *at : NULL;

	*at += (bytes + PACK_ALIGN - 1) / PACK_ALIGN * PACK_ALIGN;
	return here;
}

/* Sets the arrays of a, whose sizes are set; returns how many bytes they take. memory may be NULL.
 */
static size_t lay_out(struct activations *a, char *memory)
{
	size_t blocks = (size_t)(a->max_rows + ACTIVATION_BLOCK - 1) / ACTIVATION_BLOCK;
	size_t groups = blocks * ACTIVATION_BLOCK * (size_t)a->n_groups;
	size_t at = 0;

	if (a->forms & ACTIVATIONS_FLOAT)
		a->f = place(memory, &at, groups * PACK_INPUTS * sizeof(*a->f));
	if (a->forms & ACTIVATIONS_INT8) {
		a->q = place(memory, &at, groups * PACK_INPUTS);
		a->scale = place(memory, &at, groups * sizeof(*a->scale));
		a->sum = place(memory, &at, groups * sizeof(*a->sum));
		a->scaled = place(memory, &at, groups * sizeof(*a->scaled));
	}
	return at;
}

static struct activations of_size(int32_t n_in, int32_t max_rows, unsigned forms)
{
	return (struct activations){
		.n_in = n_in,
		.n_groups = (n_in + PACK_INPUTS - 1) / PACK_INPUTS,
		.max_rows = max_rows,
		.forms = forms,
	};
}

size_t activations_bytes(int32_t n_in, int32_t max_rows, unsigned forms)
{
	struct activations a = of_size(n_in, max_rows, forms);

	return lay_out(&a, NULL);
}

void activations_init(struct activations *a, int32_t n_in, int32_t max_rows, unsigned forms)
{
	size_t bytes = activations_bytes(n_in, max_rows, forms);
	void *memory;

	CHECK(n_in > 0 && max_rows > 0 && forms != 0);
	if (posix_memalign(&memory, PACK_ALIGN, bytes))
		die("%zu bytes for activations: out of memory", bytes);
	*a = of_size(n_in, max_rows, forms);
	a->memory = memory;
	lay_out(a, memory);
}

void activations_release(struct activations *a)
{
	free(a->memory);
	memset(a, 0, sizeof(*a));
}

int64_t attention_scratch_floats(int32_t rows, int32_t head_dim)
{
	int64_t dim = (head_dim + INT64_C(15)) / 16 * 16;

	return 32 * dim + rows * (32 + dim + 1);
}

void matmul(const struct kernels *k, const struct packed_matrix *w, int32_t tile, int32_t n_tiles,
	    const struct activations *x, int32_t row, int32_t n_rows, float *y, int64_t y_stride)
{
	DCHECK(x->n_in == w->n_in && (x->forms & w->forms) == w->forms);
	DCHECK(row + n_rows <= x->max_rows);
	for (int32_t i = 0; i < w->n_parts && n_tiles > 0; i++) {
		const struct packed *p = &w->part[i];
		int32_t n = p->n_tiles - tile < n_tiles ? p->n_tiles - tile : n_tiles;

		if (n > 0) {
			k->matmul[p->kind](p, tile, n, x, row, n_rows, y, y_stride);
			tile += n;
			n_tiles -= n;
		}
		tile -= p->n_tiles;
		y += p->n_out;
	}
	DCHECK(n_tiles == 0);
}

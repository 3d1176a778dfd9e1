/*
 * Any bytes as a safetensors file: nothing outside of them is read, what passes lies within them,
 * and no two tensors share a byte.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "model/model_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const struct model_file *f, const uint8_t *data, size_t size)
{
	size_t used = 8;

	for (int32_t i = 0; i < f->n_tensors; i++) {
		const struct tensor *t = &f->tensor[i];
		int64_t n = t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
		float *x = xcalloc((size_t)n + 1, sizeof(*x));

		CHECK((const uint8_t *)t->data >= data + 8 &&
		      (const uint8_t *)t->data + t->bytes <= data + size);
		CHECK(dtype_bytes(t->dtype, n) == t->bytes);
		dtype_to_float(t->dtype, t->data, n, x);
		used += t->bytes;
		free(x);
	}
	CHECK(used <= size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1);
	struct model_file f;
	struct err e;

	CHECK(exact);
	if (size > 0)
		memcpy(exact, data, size);
	model_file_init(&f, "fuzz.safetensors");
	f.format = MODEL_SAFETENSORS;
	if (safetensors_parse(&f, model_map_bytes(&f, exact, size, "fuzz.safetensors"), &e) ==
		    RC_OK &&
	    model_file_sort(&f, &e) == RC_OK)
		read_all(&f, exact, size);
	model_file_release(&f);
	free(exact);
	return 0;
}

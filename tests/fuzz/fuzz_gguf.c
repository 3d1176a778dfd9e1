/*
 * Any bytes as a GGUF file, and as the model in it: nothing outside of them is read, and what
 * passes can be read to the last number.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "model/model.h"
#include "model/model_reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_strings(const struct meta *m)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; m->a.type == META_STRING && i < m->a.n; i++)
		for (size_t k = 0; k < m->a.string[i].len; k++)
			sum += (unsigned char)m->a.string[i].text[k];
	for (uint64_t i = 0; m->a.type < META_STRING && i < m->a.n; i++)
		sum += meta_item_real(m, i) > 0;
	CHECK(sum < UINT64_MAX);
}

static void read_all(const struct model_file *f)
{
	for (int32_t i = 0; i < f->n_meta; i++) {
		char *key = xstrndup(f->meta[i].key.text, f->meta[i].key.len);

		CHECK(model_file_meta(f, key) == &f->meta[i]);
		if (f->meta[i].type == META_ARRAY)
			read_strings(&f->meta[i]);
		free(key);
	}
	for (int32_t i = 0; i < f->n_tensors; i++) {
		const struct tensor *t = &f->tensor[i];
		int64_t n = t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3];
		float *x = xcalloc((size_t)n, sizeof(*x));

		CHECK(model_file_tensor(f, t->name) == t && dtype_bytes(t->dtype, n) == t->bytes);
		dtype_to_float(t->dtype, t->data, n, x);
		free(x);
	}
}

static void read_model(const struct model *m)
{
	const struct matrix *last = &m->layer[m->config.n_layers - 1].down;
	float *x = xcalloc((size_t)last->n_in + (size_t)m->embed.n_in, sizeof(*x));

	matrix_read_row(last, last->n_out - 1, x);
	matrix_read_row(&m->embed, m->config.n_vocab - 1, x);
	matrix_read_row(&m->head, m->config.n_vocab - 1, x);
	free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size ? size : 1); /* nothing behind the file may be read */
	struct model_file f;
	struct model *m;
	struct err e;

	CHECK(exact);
	if (size > 0)
		memcpy(exact, data, size);
	model_file_init(&f, "fuzz.gguf");
	f.format = MODEL_GGUF;
	if (gguf_parse(&f, model_map_bytes(&f, exact, size, "fuzz.gguf"), &e) == RC_OK &&
	    model_file_sort(&f, &e) == RC_OK) {
		read_all(&f);
		if (model_load(&m, &f, &e) == RC_OK) {
			read_model(m);
			model_free(m);
		}
	}
	model_file_release(&f);
	free(exact);
	return 0;
}

/*
 * Any bytes as a config.json, beside a file of tensors of that architecture's usual names and of
 * the shapes that the smallest of them would have: a configuration that does not fit is refused,
 * one that does can be read to the last number.
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

#define D     4
#define VOCAB 5

static float numbers[8 * D * D];

static void add(struct model_file *f, const char *name, int64_t n_in, int64_t rows)
{
	*model_file_more_tensors(f, 1) = (struct tensor){
		.name = name,
		.dtype = DTYPE_F32,
		.n_dims = rows > 1 ? 2 : 1,
		.dim = {n_in, rows, 1, 1},
		.data = numbers,
		.bytes = (size_t)(n_in * rows) * sizeof(float),
	};
}

/* Of a llama with one layer and a falcon with one; either one's are left over for the other. */
static void add_tensors(struct model_file *f, bool falcon)
{
	if (falcon) {
		add(f, "transformer.word_embeddings.weight", D, VOCAB);
		add(f, "transformer.ln_f.weight", D, 1);
		add(f, "transformer.ln_f.bias", D, 1);
		add(f, "transformer.h.0.input_layernorm.weight", D, 1);
		add(f, "transformer.h.0.input_layernorm.bias", D, 1);
		add(f, "transformer.h.0.self_attention.query_key_value.weight", D, D + 4);
		add(f, "transformer.h.0.self_attention.dense.weight", D, D);
		add(f, "transformer.h.0.mlp.dense_h_to_4h.weight", D, INT64_C(4) * D);
		add(f, "transformer.h.0.mlp.dense_4h_to_h.weight", INT64_C(4) * D, D);
		return;
	}
	add(f, "model.embed_tokens.weight", D, VOCAB);
	add(f, "model.norm.weight", D, 1);
	add(f, "model.layers.0.input_layernorm.weight", D, 1);
	add(f, "model.layers.0.post_attention_layernorm.weight", D, 1);
	add(f, "model.layers.0.self_attn.q_proj.weight", D, D);
	add(f, "model.layers.0.self_attn.k_proj.weight", D, 2);
	add(f, "model.layers.0.self_attn.v_proj.weight", D, 2);
	add(f, "model.layers.0.self_attn.o_proj.weight", D, D);
	add(f, "model.layers.0.mlp.gate_proj.weight", D, D);
	add(f, "model.layers.0.mlp.up_proj.weight", D, D);
	add(f, "model.layers.0.mlp.down_proj.weight", D, D);
}

static void read_model(const struct model *m)
{
	const struct model_layer *l = &m->layer[0];
	float x[64];

	CHECK(m->config.n_layers == 1 && m->config.d_model == D && m->config.n_vocab == VOCAB);
	for (int32_t row = 0; row < l->qkv.n_out; row++)
		matrix_read_row(&l->qkv, row, x);
	for (int32_t row = 0; row < l->down.n_out; row++)
		matrix_read_row(&l->down, row, x);
	vector_read(&l->attn_norm.weight, x);
	if (m->rope_factors.n_parts > 0)
		vector_read(&m->rope_factors, x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct model_file f;
	struct model *m;
	struct err e;

	for (int falcon = 0; falcon < 2; falcon++) {
		model_file_init(&f, "fuzz/model.safetensors");
		f.format = MODEL_SAFETENSORS;
		add_tensors(&f, falcon == 1);
		if (model_file_sort(&f, &e) == RC_OK &&
		    json_parse(&f.config, (const char *)data, size, &e) == RC_OK &&
		    cJSON_IsObject(f.config) && model_load(&m, &f, &e) == RC_OK) {
			read_model(m);
			model_free(m);
		}
		model_file_release(&f);
	}
	return 0;
}

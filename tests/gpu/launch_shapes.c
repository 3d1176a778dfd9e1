/* Owns a queue that launches nothing. What the launchers are given are no addresses: they look
 * behind none. */
#include "launch_shapes.h"

#include <string.h>

#include "base/check.h"

enum { D_MODEL = 4096, D_FFN = 14336, HEADS = 32, KV_HEADS = 8, HEAD_DIM = 128, VOCAB = 128256 };

struct recording {
	struct gpu_queue queue;
	struct launch_shape *of;
};

static enum rc record(struct gpu_queue *q, const struct gpu_launch *l, struct err *e)
{
	struct recording *r = (struct recording *)(void *)q;

	(void)e;
	r->of[l->kernel] = (struct launch_shape){(int32_t)l->block[0], (int32_t)l->shared_bytes};
	return RC_OK;
}

static void done(enum rc rc)
{
	CHECK(rc == RC_OK);
}

static void products(struct gpu_queue *q, const struct gpu_inputs *x, float *y)
{
	static const int32_t rows[] = {1, 2, 4, 8, 16, 64};

	for (int kind = 0; kind < GPU_KIND_COUNT; kind++) {
		struct gpu_matrix w = {.n_in = D_MODEL,
				       .n_out = D_MODEL,
				       .padded = D_MODEL,
				       .n_parts = 1,
				       .part = {{.kind = (enum gpu_kind)kind,
						 .n_out = D_MODEL,
						 .padded = D_MODEL}}};

		for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
			done(gpu_multiply(q, &w, x, rows[i], GPU_FROM_M, y, NULL));
	}
}

static void rows(struct gpu_queue *q, const struct gpu_inputs *x, float *y)
{
	const struct gpu_matrix embedding = {.n_in = D_MODEL,
					     .n_out = VOCAB,
					     .padded = D_MODEL,
					     .n_parts = 1,
					     .part = {{.n_out = VOCAB, .padded = D_MODEL}}};
	const struct gpu_embed embed = {.embedding = &embedding};
	const struct gpu_norm norm = {.n = D_MODEL};
	const struct gpu_activation activation = {.gated = true, .n = D_FFN};
	struct gpu_inputs wide = *x;

	wide.padded = D_FFN;
	done(gpu_embed(q, &embed, 1, y, NULL));
	done(gpu_norm(q, &norm, 1, x, NULL));
	done(gpu_quantise(q, x, 1, NULL));
	done(gpu_activate(q, &activation, 1, &wide, NULL));
	done(gpu_add_bias(q, y, y, D_MODEL, 1, NULL));
}

/* Some kernels are there for some widths of heads alone; two splits are to be combined. */
static void attention(struct gpu_queue *q, int32_t head_dim, uint16_t *out, float *partial)
{
	const struct gpu_kv kv = {.page_tokens = 16, .n_kv_heads = KV_HEADS, .head_dim = head_dim};
	const struct gpu_place place = {.n_heads = HEADS};
	const struct gpu_attention a = {.n_heads = HEADS, .out_stride = HEADS * head_dim};

	done(gpu_place(q, &place, &kv, 1, out, HEADS * head_dim, NULL));
	done(gpu_attend_decode(q, &a, &kv, NULL, 1, 2, partial, NULL));
	done(gpu_attend_prefill(q, &a, &kv, NULL, NULL, 1, NULL));
}

static void tokens(struct gpu_queue *q, float *out)
{
	const struct gpu_logits logits = {.n_vocab = VOCAB, .m = 1};
	const struct gpu_adjust adjust = {.out = out};

	done(gpu_adjust(q, &logits, &adjust, NULL));
	done(gpu_pick(q, &logits, NULL, NULL));
	done(gpu_logprobs(q, &logits, NULL, NULL, NULL));
}

static void roof(struct gpu_queue *q, const float *from)
{
	uint32_t out;

	done(gpu_read(q, from, 1 << 20, 128, &out, NULL));
}

void launch_shapes(struct launch_shape *of)
{
	struct recording r = {{record}, of};
	static uint16_t halves;
	static int8_t bytes;
	static float floats;
	const struct gpu_inputs x = {
		.padded = D_MODEL, .halves = &halves, .bytes = &bytes, .scales = &floats};

	memset(of, 0, GPU_KERNEL_COUNT * sizeof(*of));
	products(&r.queue, &x, &floats);
	rows(&r.queue, &x, &floats);
	attention(&r.queue, 64, &halves, &floats);
	attention(&r.queue, 256, &halves, &floats);
	attention(&r.queue, HEAD_DIM, &halves, &floats);
	tokens(&r.queue, &floats);
	roof(&r.queue, &floats);
}

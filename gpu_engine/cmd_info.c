/*
 * Owns the description of a model in words. Must not know formats or architectures beyond
 * model.h.
 */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "commands.h"
#include "session.h"

#define TEXT_MAX_BYTES (1 << 24)

static const char *norm_name(enum norm_kind k)
{
	return k == NORM_RMS ? "RMS" : "layer";
}

static const char *position_name(enum position_kind k)
{
	static const char *const names[] = {
		[POSITION_ROPE_PAIRS] = "rotary, pairs",
		[POSITION_ROPE_HALVES] = "rotary, halves",
		[POSITION_LEARNED] = "learned",
		[POSITION_ALIBI] = "ALiBi",
	};

	return names[k];
}

static const char *act_name(enum activation a)
{
	static const char *const names[] = {
		[ACT_SILU] = "SiLU",
		[ACT_GELU] = "GELU",
		[ACT_GELU_TANH] = "GELU (tanh)",
		[ACT_RELU] = "ReLU",
	};

	return names[a];
}

static void put_config(struct buf *b, const struct model *m, const struct model_file *f)
{
	const struct model_config *c = &m->config;
	double parameters = 0, size = 0;
	char count[32], bytes[32];
	int64_t kv = 2LL * c->n_layers * c->n_kv_heads * c->head_dim * 2;

	for (int32_t i = 0; i < f->n_tensors; i++) {
		const struct tensor *t = &f->tensor[i];

		size += (double)t->bytes;
		parameters += (double)t->dim[0] * (double)t->dim[1] * (double)t->dim[2] *
			      (double)t->dim[3];
	}
	buf_printf(b, "%s: %s, %s parameters, %s in the file\n", c->name, c->arch,
		   format_count(count, sizeof(count), parameters),
		   format_bytes(bytes, sizeof(bytes), size));
	buf_printf(
		b,
		"  layers %d, width %d, heads %d (%d for keys and values) of %d, feed-forward %d\n",
		c->n_layers, c->d_model, c->n_heads, c->n_kv_heads, c->head_dim, c->d_ff);
	buf_printf(b,
		   "  vocabulary %d%s, context %d tokens, KV cache %lld bytes a token (16 bits)\n",
		   c->n_vocab, c->tied ? " (output tied to input)" : "", c->max_len, (long long)kv);
	buf_printf(b, "  norm %s, eps %g; positions %s", norm_name(c->norm), (double)c->norm_eps,
		   position_name(c->position));
	if (c->position == POSITION_ROPE_PAIRS || c->position == POSITION_ROPE_HALVES)
		buf_printf(b, ", base %g over %d dimensions", (double)c->rope_base, c->n_rot);
	buf_printf(b, "; %s%s%s\n", act_name(c->act), c->gated ? ", gated" : "",
		   c->parallel ? "; attention and feed-forward in parallel" : "");
	if (c->window)
		buf_printf(b, "  attention looks %d tokens back, every %d-th layer at everything\n",
			   c->window, c->window_period);
}

/* How many tensors, elements and bytes there are of each format. */
static void put_formats(struct buf *b, const struct model_file *f)
{
	for (int t = 0; t < DTYPE_COUNT; t++) {
		int64_t n = 0, bytes = 0;
		char text[32];

		for (int32_t i = 0; i < f->n_tensors; i++) {
			if ((int)f->tensor[i].dtype != t)
				continue;
			n++;
			bytes += (int64_t)f->tensor[i].bytes;
		}
		if (n)
			buf_printf(b, "  %-5s %4lld tensors, %s\n", dtype_info((enum dtype)t)->name,
				   (long long)n, format_bytes(text, sizeof(text), (double)bytes));
	}
}

static void put_tensors(struct buf *b, const struct model_file *f)
{
	for (int32_t i = 0; i < f->n_tensors; i++) {
		const struct tensor *t = &f->tensor[i];

		buf_printf(b, "  %-48s %-5s", t->name, dtype_info(t->dtype)->name);
		for (int32_t d = 0; d < t->n_dims; d++)
			buf_printf(b, "%s%lld", d ? " x " : " ", (long long)t->dim[d]);
		buf_putc(b, '\n');
	}
}

static enum rc put_text(struct buf *b, struct session *s, const struct session_options *o,
			struct err *e)
{
	char warning[256] = "";
	enum rc rc = vocab_load(&s->vocab, s->file, o->pre, e);

	if (rc == RC_OK)
		rc = tokenizer_new(&s->tokenizer, s->vocab, o->chat_template, warning, e);
	if (rc)
		return rc;
	buf_printf(b, "  tokenizer %s, pre-tokeniser %s, %d pieces, %d merges, end",
		   s->vocab->kind == VOCAB_BYTE_BPE ? "byte-level BPE" : "SentencePiece BPE",
		   *s->vocab->pre ? s->vocab->pre : "none", s->vocab->n, s->vocab->n_merges);
	for (int32_t i = 0; i < s->vocab->n_end; i++)
		buf_printf(b, " %d", s->vocab->end[i]);
	buf_putc(b, '\n');
	if (*warning)
		log_warn("%s", warning);
	return RC_OK;
}

int command_info(int argc, char *const *argv)
{
	struct session_options o = session_defaults;
	bool help = false, tensors = false;
	const struct opt_spec specs[] = {
		{OPT_STRING, "model", 'm', .out = &o.model, .arg = "FILE|FOLDER",
		 .help = "the model"},
		{OPT_STRING, "pre", .out = &o.pre, .arg = "NAME",
		 .help = "the pre-tokeniser, where the file does not name one that is known"},
		{OPT_STRING, "chat-template", .out = &o.chat_template, .arg = "NAME|FILE",
		 .help = "the shape of a conversation"},
		{OPT_FLAG, "tensors", .out = &tensors, .help = "each tensor, too"},
		{OPT_FLAG, "help", 'h', .out = &help, .help = "this text"},
		{0},
	};
	struct session s = {0};
	struct buf b;
	struct err e;
	enum rc rc = opt_parse(specs, argc, argv, NULL, &e);
	int code;

	buf_init(&b, TEXT_MAX_BYTES);
	if (rc == RC_OK && help) {
		opt_help(&b, "usage: gpu_engine info -m MODEL   what is in the file", specs,
			 "Example:\n  gpu_engine info -m smollm2.gguf --tensors\n");
		return print_out(&b);
	}
	if (rc == RC_OK)
		rc = session_open_file(&s, &o, &e);
	if (rc == RC_OK) {
		put_config(&b, s.model, s.file);
		rc = put_text(&b, &s, &o, &e);
	}
	if (rc == RC_OK) {
		put_formats(&b, s.file);
		if (tensors)
			put_tensors(&b, s.file);
		code = print_out(&b);
	} else {
		buf_release(&b);
		code = complain(&e);
	}
	session_close(&s);
	return code;
}

/*
 * Owns the order in which a model becomes something that answers: file, architecture, vocabulary,
 * device, policy. Runs at start. Must not know what it is asked.
 */
#include "session.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "serve/sched.h"

#define BLOCK_TOKENS	    16
#define DEFAULT_CTX_TOKENS  8192 /* if the model's own context is longer */
#define DEFAULT_MAX_SEQS    64
#define DEFAULT_STEP_TOKENS 512 /* bounds the gap that a long prompt tears into other answers */

const struct session_options session_defaults = {
	.device = "auto",
	.max_seqs = DEFAULT_MAX_SEQS,
	.max_tokens = DEFAULT_STEP_TOKENS,
	.seed = 42,
};

void session_specs(struct opt_spec *out, struct session_options *o)
{
	const struct opt_spec all[SESSION_SPECS] = {
		{OPT_STRING, "model", 'm', .out = &o->model, .arg = "FILE|FOLDER",
		 .help = "GGUF (the first of its shards), or a folder with safetensors, "
			 "config.json "
			 "and tokenizer.json"},
		{OPT_STRING, "device", .out = &o->device, .arg = "NAME",
		 .help = "auto, or one that `gpu_engine --help` lists (auto)"},
		{OPT_INT, "threads", .out = &o->threads, .arg = "N", .min = 1, .max = 1024,
		 .help = "of the processor (as many as it has cores)"},
		{OPT_STRING, "isa", .out = &o->isa, .arg = "NAME",
		 .help = "avx512, avx2 or scalar (the best that is there)"},
		{OPT_STRING, "graphs", .out = &o->graphs, .arg = "on|off",
		 .help = "of the card: a step that only decodes is one CUDA graph (on)"},
		{OPT_INT, "ctx-size", .out = &o->ctx_size, .arg = "TOKENS", .min = 2,
		 .max = 1 << 24, .help = "prompt and answer together (the model's, at most 8192)"},
		{OPT_INT, "max-num-batched-tokens", .out = &o->max_tokens, .arg = "N", .min = 1,
		 .max = 1 << 20, .help = "tokens of a step, decodes and prefill together (512)"},
		{OPT_STRING, "kv-cache", .out = &o->kv_cache, .arg = "SIZE",
		 .help = "memory for it, as in 2GiB (full contexts for all, at most half of what "
			 "is "
			 "free)"},
		{OPT_STRING, "pre", .out = &o->pre, .arg = "NAME",
		 .help = "the pre-tokeniser, where the file does not name one that is known"},
	};

	memcpy(out, all, sizeof(all));
}

enum rc session_open_file(struct session *s, const struct session_options *o, struct err *e)
{
	enum rc rc;

	memset(s, 0, sizeof(*s));
	if (!o->model)
		return err_set(e, RC_INPUT,
			       "-m: want a model, a .gguf file or a folder with safetensors; `bash "
			       "scenarios/fetch-model.sh` brings a small one");
	rc = model_file_open(&s->file, o->model, e);
	return rc ? rc : model_load(&s->model, s->file, e);
}

static enum rc open_text(struct session *s, const struct session_options *o, struct err *e)
{
	char warning[256] = "";
	enum rc rc = vocab_load(&s->vocab, s->file, o->pre, e);

	if (rc == RC_OK)
		rc = tokenizer_new(&s->tokenizer, s->vocab, o->chat_template, warning, e);
	if (rc == RC_OK && *warning)
		log_warn("%s", warning);
	return rc;
}

static enum rc make_wish(struct session *s, const struct session_options *o, struct err *e)
{
	const struct model_config *c = &s->model->config;
	const struct textcodec *codec = tokenizer_codec(s->tokenizer);
	int64_t ctx = o->ctx_size;
	enum rc rc = RC_OK;

	if (ctx == 0)
		ctx = c->max_len < DEFAULT_CTX_TOKENS ? c->max_len : DEFAULT_CTX_TOKENS;
	if (ctx > c->max_len)
		return err_set(e, RC_INPUT,
			       "--ctx-size %lld: this model was made for %d tokens at most",
			       (long long)ctx, c->max_len);
	if (o->graphs && strcmp(o->graphs, "on") != 0 && strcmp(o->graphs, "off") != 0)
		return err_set(e, RC_INPUT, "--graphs %s: want on or off", o->graphs);
	s->wish = (struct device_wish){
		.loop = s->loop,
		.model = s->model,
		.file = s->file,
		.threads = (int32_t)o->threads,
		.isa = o->isa,
		.graphs = o->graphs,
		.max_len = (int32_t)ctx,
		.max_seqs = (int32_t)o->max_seqs,
		.max_tokens = (int32_t)o->max_tokens,
		.block_size = BLOCK_TOKENS,
		.end_ids = codec->end_ids,
		.n_end_ids = codec->n_end_ids,
		.seed = (uint64_t)o->seed,
	};
	if (o->kv_cache)
		rc = parse_bytes(o->kv_cache, &s->wish.kv_bytes, e);
	return rc ? err_prefix(e, "--kv-cache: "), rc : RC_OK;
}

static void set_knob(struct engine_config *c, const char *name, double value)
{
	c->knobs[sched_knob(c->policy, name)] = value;
}

enum rc session_plan(struct session *s, const char *device, int32_t eos_token, bool prefix_caching,
		     struct err *e)
{
	struct engine_config *c = &s->engine;
	enum rc rc = device_plan(&s->plan, device, &s->wish, e);

	if (rc)
		return rc;
	*c = (struct engine_config){
		.policy = &sched_vllm_v1,
		.executor = s->plan.device->executor,
		.executor_config = s->plan.config,
		.eos_token = eos_token,
	};
	sched_defaults(c->policy, c->knobs);
	set_knob(c, "max_num_seqs", s->wish.max_seqs);
	set_knob(c, "max_num_batched_tokens", s->wish.max_tokens);
	set_knob(c, "max_model_len", s->wish.max_len);
	set_knob(c, "num_gpu_blocks", s->plan.num_blocks);
	set_knob(c, "block_size", s->wish.block_size);
	set_knob(c, "enable_prefix_caching", prefix_caching);
	return RC_OK;
}

enum rc session_open(struct session *s, const struct session_options *o, bool prefix_caching,
		     struct err *e)
{
	int64_t start_ns = monotonic_now_ns();
	enum rc rc = session_open_file(s, o, e);

	if (rc == RC_OK)
		rc = open_text(s, o, e);
	s->loop = evloop_new();
	if (rc == RC_OK)
		rc = make_wish(s, o, e);
	if (rc == RC_OK)
		rc = session_plan(s, o->device, tokenizer_codec(s->tokenizer)->eos_token,
				  prefix_caching, e);
	s->load_ns = monotonic_now_ns() - start_ns;
	return rc;
}

void session_close(struct session *s)
{
	device_plan_release(&s->plan);
	tokenizer_free(s->tokenizer);
	vocab_free(s->vocab);
	model_free(s->model);
	model_file_close(s->file);
	evloop_free(s->loop);
	memset(s, 0, sizeof(*s));
}

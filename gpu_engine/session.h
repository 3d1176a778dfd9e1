/*
 * What all commands share: a model on a device, with its text codec and a policy, ready for an
 * engine_new(). Opened once, by one thread.
 */
#ifndef GPU_ENGINE_SESSION_H
#define GPU_ENGINE_SESSION_H

#include <stdint.h>

#include "base/err.h"
#include "base/evloop.h"
#include "base/opt.h"
#include "device.h"
#include "serve/engine_loop.h"
#include "text/tokenizer.h"

/* The flags that every command with a model has. */
struct session_options {
	const char *model, *device, *isa, *chat_template, *pre, *kv_cache;
	int64_t ctx_size, max_seqs, max_tokens, threads, seed;
};

#define SESSION_SPECS 11 /* rows that session_specs() writes */

extern const struct session_options session_defaults;
void session_specs(struct opt_spec *out, struct session_options *o);

struct session {
	struct evloop *loop;
	struct model_file *file;
	struct model *model;
	struct vocab *vocab;
	struct tokenizer *tokenizer;
	struct device_wish wish;
	struct device_plan plan;
	struct engine_config engine; /* filled, for engine_new() or serve_main() */
	int64_t load_ns; /* what it took until now, the executor's own part not included */
};

/* The file alone, for `info`: no tokenizer, no device. */
enum rc session_open_file(struct session *s, const struct session_options *o, struct err *e);

/* All of it. prefix_caching: the policy's knob. */
enum rc session_open(struct session *s, const struct session_options *o, bool prefix_caching,
		     struct err *e);
void session_close(struct session *s);

#endif

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

/* What the flags say; those that every command with a model has are session_specs(). */
struct session_options {
	const char *model, *device, *isa, *graphs, *chat_template, *pre, *kv_cache;
	int64_t ctx_size, max_seqs, max_tokens, threads, seed;
};

#define SESSION_SPECS 9 /* rows that session_specs() writes */

extern const struct session_options session_defaults;
void session_specs(struct opt_spec *out, struct session_options *o);

/* Rows for the commands in which they change something. */
#define SESSION_MAX_SEQS(o)                                                                        \
	{                                                                                          \
		OPT_INT, "max-num-seqs", .out = &(o)->max_seqs, .arg = "N", .min = 1,              \
					 .max = 65536, .help = "answers that share a step (64)"    \
	}
#define SESSION_CHAT_TEMPLATE(o)                                                                   \
	{                                                                                          \
		OPT_STRING, "chat-template", .out = &(o)->chat_template, .arg = "NAME|FILE",       \
					     .help = "the shape of a conversation (what the "      \
						     "file's template looks like)"                 \
	}
#define SESSION_SEED(o)                                                                            \
	{                                                                                          \
		OPT_INT, "seed", .out = &(o)->seed, .arg = "N", .min = 0,                          \
				 .max = 9007199254740992.0,                                        \
				 .help = "of what is drawn at random (42)"                         \
	}

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

/* Its last part, for whoever has made loop, model, file and wish otherwise: device and policy.
 * eos_token: -1 = none. */
enum rc session_plan(struct session *s, const char *device, int32_t eos_token, bool prefix_caching,
		     struct err *e);
void session_close(struct session *s);

#endif

/*
 * The HTTP API of an engine: OpenAI's endpoints, the engines' own, and what goes with them, on the
 * wire as one of the rows of wire.h has it. The struct is open to the api_* files and to nobody
 * else.
 */
#ifndef SERVE_API_H
#define SERVE_API_H

#include <stdbool.h>
#include <stdint.h>

#include "api_request.h"
#include "engine_loop.h"
#include "http_server.h"
#include "outlet.h"
#include "textcodec.h"
#include "wire.h"

struct api_config {
	const char *engine_name;
	const char *version;
	const char *const *models; /* NULL-terminated, at least one */
	const char *api_key;	   /* or NULL */
	const struct textcodec *codec;
	int32_t default_max_tokens;
	int32_t forced_tokens;
	uint64_t seed;
	void (*prepare)(struct genreq *r, const struct api_prompt *p, void *arg); /* or NULL */
	void *prepare_arg;
	bool keep_said;		       /* for prepare (api_terms) */
	const struct wire_habit *wire; /* NULL: the default */
	/* What to do with a request for an answer, before its body is looked at. Or NULL. */
	void (*admit)(struct http_exchange *x, struct admission *out, void *arg);
	void *admit_arg;
	struct evloop *loop;				/* with admit */
	void (*more_metrics)(struct buf *b, void *arg); /* or NULL */
	void *more_metrics_arg;
};

struct api {
	struct api_config c;
	struct engine *engine;
	struct api_terms terms;
	uint64_t next_id;	 /* of a request in the engine */
	uint64_t id_salt;	 /* makes the ids of two runs differ */
	struct waiting *waiting; /* requests that are not to be looked at yet */
	int64_t started_s;	 /* wall time */
	char *fingerprint;
	bool draining;

	/* Scratch of the token path, so that it allocates nothing: a token's bytes, its text, its
	 * event. */
	struct buf bytes, shown, event;
};

struct api *api_new(const struct api_config *c,
		    struct engine *engine); /* c's pointers must outlive it */
void api_free(struct api *a);

/* A route to an answer: what r->kind reads and r->dialect writes. */
void api_generate(struct api *a, struct http_exchange *x, const struct route *r);

/* http_config.handle; arg is the struct api. */
void api_handle(struct http_exchange *x, void *arg);

#endif

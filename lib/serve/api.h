/*
 * The HTTP API of an engine: OpenAI's endpoints on the wire as vLLM 0.32 serves them, and what goes
 * with them. The struct is open to the api_* files and to nobody else.
 */
#ifndef SERVE_API_H
#define SERVE_API_H

#include <stdbool.h>
#include <stdint.h>

#include "api_request.h"
#include "engine_loop.h"
#include "http_server.h"
#include "textcodec.h"

struct api_config {
	const char *engine_name;
	const char *version;
	const char *const *models; /* NULL-terminated, at least one */
	const char *api_key;	   /* or NULL */
	const struct textcodec *codec;
	int32_t default_max_tokens;
	int32_t forced_tokens;
	uint64_t seed;
	void (*prepare)(struct genreq *r, void *arg); /* or NULL */
	void *prepare_arg;
};

struct api {
	struct api_config c;
	struct engine *engine;
	struct api_terms terms;
	uint64_t next_id;  /* of a request in the engine */
	uint64_t id_salt;  /* makes the ids of two runs differ */
	int64_t started_s; /* wall time */
	char *fingerprint;
	bool draining;

	/* Scratch of the token path, so that it allocates nothing: a token's bytes, its text, its
	 * event. */
	struct buf bytes, shown, event;
};

struct api *api_new(const struct api_config *c,
		    struct engine *engine); /* c's pointers must outlive it */
void api_free(struct api *a);

/* http_config.handle; arg is the struct api. */
void api_handle(struct http_exchange *x, void *arg);

#endif

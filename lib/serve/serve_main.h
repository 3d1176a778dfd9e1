/*
 * The shared body of the engines' main(): builds the server around an engine, prints where it
 * listens, serves until SIGTERM or SIGINT, drains for a bounded time, and leaves. A second signal
 * leaves at once.
 */
#ifndef SERVE_SERVE_MAIN_H
#define SERVE_SERVE_MAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "api_request.h"
#include "engine_loop.h"
#include "http_server.h"
#include "outlet.h"
#include "textcodec.h"
#include "wire.h"

struct serve_config {
	/* The caller's, since what executes steps may wait on it, too; outlives serve_main(). */
	struct evloop *loop;

	const char *host;
	int port;
	const char *uds;
	const char *engine_name; /* shown in the log line and the server header */
	/* Served names, NULL-terminated: the model, which is the default, then its adapters. */
	const char *const *models;
	const char *version; /* /version */
	const char *api_key; /* or NULL: anyone may ask */
	int64_t drain_ns;    /* default 10 s */
	const struct textcodec *codec;
	struct engine_config engine;
	int32_t default_max_tokens; /* when the request names none; 0 = up to the context's end */
	int32_t forced_tokens;	    /* > 0: the length of every answer, whatever is asked */
	uint64_t seed;

	/* Called for each request before it is queued: a simulated model plans its answer here, by
	 * the prompt's ids or what was said. Or NULL. */
	void (*prepare)(struct genreq *r, const struct api_prompt *p, void *arg);
	void *prepare_arg;
	bool keep_said; /* prepare wants api_prompt.said */

	const struct wire_habit *wire; /* whose habits it has; NULL: wire_own */

	/* Says what to do with a request for an answer before its body is looked at: delay it,
	 * refuse it, or have the answer leave through an outlet (outlet.h). Or NULL. */
	void (*admit)(struct http_exchange *x, struct admission *out, void *arg);
	void *admit_arg;

	/* Adds families to /metrics, which have nothing to do with requests: what the machine does.
	 * Does not block. Or NULL. */
	void (*more_metrics)(struct buf *b, void *arg);
	void *more_metrics_arg;
};

/* Returns the exit code. Prints "listening on http://HOST:PORT" (or "listening on unix:PATH") to
 * stdout when ready. */
int serve_main(const struct serve_config *c);

#endif

/*
 * What the tests of the API share: a server over loopback, engine and all, on a toy model, and a
 * client that asks it. Included by one test program at a time; inline, because not every program
 * needs all of it.
 */
#ifndef TESTS_API_WORLD_H
#define TESTS_API_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "loopback.h"
#include "serve/api.h"
#include "toy_engine.h"

struct world {
	struct evloop *loop;
	struct toy toy;
	int32_t *script;
	struct engine *engine;
	struct api *api;
	struct http_server *http;
	struct client c;
};

static const char *const models[] = {"smollm2-135m", NULL};

struct setup {
	const char *script;
	const struct sched_type *policy; /* or NULL: vllm-v1 with a context of 2048 */
	struct api_config api;
	int32_t max_queue;
	bool manual;
	const struct wire_habit *wire; /* or NULL */
};

static inline void world_open(struct world *w, const struct setup *s)
{
	struct engine_config engine = {.policy = s->policy ? s->policy : &sched_vllm_v1};
	struct http_config http = {
		.host = "127.0.0.1", .limits = http_limits_default(), .server_name = "toy"};
	struct api_config api = s->api;
	struct err e;

	memset(w, 0, sizeof(*w));
	w->loop = evloop_new();
	w->script = toy_script(s->script, &w->toy.n_script);
	for (int32_t i = 0; i < w->toy.n_script; i++)
		if (w->script[i] == '$')
			w->script[i] = TOY_EOS;
	w->toy.script = w->script;
	w->toy.loop = w->loop;
	w->toy.manual = s->manual;
	sched_defaults(engine.policy, engine.knobs);
	if (engine.policy == &sched_vllm_v1)
		engine.knobs[sched_knob(&sched_vllm_v1, "max_model_len")] = 2048;
	engine.executor = &toy_executor;
	engine.executor_config = &w->toy;
	engine.eos_token = TOY_EOS;
	engine.max_queue = s->max_queue;
	assert_int_equal(engine_new(&w->engine, w->loop, &engine, &e), RC_OK);
	api.engine_name = "toy";
	api.version = "1.2";
	api.models = models;
	api.codec = &toy_codec;
	api.wire = s->wire;
	http.habit = s->wire ? s->wire->http : NULL;
	w->api = api_new(&api, w->engine);
	http.handle = api_handle;
	http.arg = w->api;
	assert_int_equal(http_server_new(&w->http, w->loop, &http, &e), RC_OK);
	client_open(&w->c, w->loop, http_server_port(w->http));
}

static inline void world_close(struct world *w)
{
	client_close(&w->c);
	http_server_free(w->http);
	engine_free(w->engine);
	api_free(w->api);
	evloop_free(w->loop);
	free(w->script);
}

static inline void send_request(struct world *w, const char *method, const char *path,
				const char *headers, const char *body)
{
	char *text = xasprintf("%s %s HTTP/1.1\r\nHost: x\r\n%sContent-Length: %zu\r\n\r\n%s",
			       method, path, headers, strlen(body), body);

	client_forget(&w->c);
	client_say(&w->c, text);
	free(text);
}

/* Reads until the answer is whole. */
static const char *whole_answer(struct world *w)
{
	const char *got, *length, *end;

	client_wait(&w->c, "\r\n\r\n");
	got = buf_cstr(&w->c.got);
	if (strcasestr(got, "transfer-encoding: chunked")) {
		client_wait(&w->c, "\r\n0\r\n\r\n");
		return buf_cstr(&w->c.got);
	}
	length = strcasestr(got, "content-length: ");
	assert_non_null(length);
	end = strstr(got, "\r\n\r\n") + 4;
	while (buf_size(&w->c.got) < (size_t)(end - got) + strtoul(length + 16, NULL, 10)) {
		evloop_once(w->loop);
		end = end - got + buf_cstr(&w->c.got);
		got = buf_cstr(&w->c.got);
	}
	return got;
}

static const char *ask(struct world *w, const char *path, const char *body)
{
	if (w->c.closed) { /* as some servers do after a stream or an error */
		client_close(&w->c);
		client_open(&w->c, w->loop, http_server_port(w->http));
	}
	send_request(w, *body ? "POST" : "GET", path, "", body);
	return whole_answer(w);
}

static inline int status_of(const char *answer)
{
	assert_memory_equal(answer, "HTTP/1.1 ", 9);
	return atoi(answer + 9);
}

#endif

/*
 * Owns the table of routes and who may ask. Loop thread. Must not know what an endpoint answers.
 */
#include "api.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api_admin.h"
#include "api_answer.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"

static void generate(struct api *a, struct http_exchange *x, enum api_kind kind)
{
	struct api_request q;
	struct api_error e;
	const char *body;
	size_t len;

	body = http_body(x, &len);
	if (api_request_read(&q, kind, body, len, &a->terms, &e))
		answer_start(a, x, &q);
	else
		api_error_reply(x, &e);
}

static void chat_completions(struct api *a, struct http_exchange *x)
{
	generate(a, x, API_CHAT);
}

static void completions(struct api *a, struct http_exchange *x)
{
	generate(a, x, API_COMPLETIONS);
}

static const struct route {
	const char *path, *method;
	void (*handle)(struct api *a, struct http_exchange *x);
} routes[] = {
	{"/v1/chat/completions", "POST", chat_completions},
	{"/v1/completions", "POST", completions},
	{"/v1/models", "GET", admin_models},
	{"/tokenize", "POST", admin_tokenize},
	{"/health", "GET", admin_health},
	{"/ready", "GET", admin_ready},
	{"/ping", "GET", admin_health},
	{"/load", "GET", admin_load},
	{"/version", "GET", admin_version},
	{"/metrics", "GET", admin_metrics},
};

/* The key guards /v1 alone, so that probes and scrapers need none. */
static bool may_ask(const struct api *a, const struct http_exchange *x)
{
	const char *given;

	if (!a->c.api_key || strncmp(http_path(x), "/v1/", 4) != 0)
		return true;
	given = http_header(x, "authorization");
	return given && strncmp(given, "Bearer ", 7) == 0 && strcmp(given + 7, a->c.api_key) == 0;
}

static void reply_detail(struct http_exchange *x, int status, const char *allow)
{
	char extra[64], body[64];

	snprintf(extra, sizeof(extra), "allow: %s\r\n", allow ? allow : "");
	snprintf(body, sizeof(body), "{\"detail\":\"%s\"}", http_status_text(status));
	http_reply(x, status, "application/json", allow ? extra : NULL, body, strlen(body));
}

void api_handle(struct http_exchange *x, void *arg)
{
	const struct route *r = routes;
	struct api *a = arg;
	struct api_error e;

	if (!may_ask(a, x)) {
		api_refuse(&e, 401, "AuthenticationError", NULL,
			   "this server wants its API key as a bearer token");
		api_error_reply(x, &e);
		return;
	}
	while (r < routes + ARRAY_LEN(routes) && strcmp(r->path, http_path(x)) != 0)
		r++;
	if (r == routes + ARRAY_LEN(routes))
		reply_detail(x, 404, NULL);
	else if (strcmp(r->method, http_method(x)) != 0)
		reply_detail(x, 405, r->method);
	else
		r->handle(a, x);
}

struct api *api_new(const struct api_config *c, struct engine *engine)
{
	struct api *a = xcalloc(1, sizeof(*a));

	CHECK(c->models && c->models[0]);
	a->c = *c;
	a->engine = engine;
	a->terms = (struct api_terms){
		.models = c->models,
		.codec = c->codec,
		.max_len = engine_max_len(engine),
	};
	a->started_s = time(NULL);
	a->id_salt = (uint64_t)monotonic_now_ns() ^ (uint64_t)a->started_s << 32;
	a->fingerprint = xasprintf("%s-%s", c->engine_name, c->version);
	buf_init(&a->bytes, 1 << 20);
	buf_init(&a->shown, SIZE_MAX);
	buf_init(&a->event, SIZE_MAX);
	return a;
}

void api_free(struct api *a)
{
	if (!a)
		return;
	buf_release(&a->bytes);
	buf_release(&a->shown);
	buf_release(&a->event);
	free(a->fingerprint);
	free(a);
}

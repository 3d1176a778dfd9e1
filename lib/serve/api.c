/*
 * Owns who may ask, and what comes before an answer: the route, and a delay or a refusal that was
 * asked for. Loop thread. Must not know what an endpoint answers.
 */
#include "api.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api_answer.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"

/* A request whose time has not come. */
struct waiting {
	struct api *api;
	struct http_exchange *x;
	const struct route *route;
	struct admission terms;
	struct timer timer;
	struct waiting *next;
};

static void refuse_as(struct api_error *e, const struct admission *terms)
{
	static const struct {
		int status;
		enum refusal kind;
		const char *message;
	} rows[] = {
		{400, REFUSE_VALUE, "the request is refused"},
		{401, REFUSE_KEY, "the key is refused"},
		{404, REFUSE_MODEL, "the model does not exist"},
		{429, REFUSE_BUSY, "the server is overloaded"},
		{500, REFUSE_ENGINE, "the engine has failed"},
		{503, REFUSE_UNREADY, "the server is not ready"},
	};
	size_t i = 0;

	while (rows[i].status != terms->status)
		CHECK(++i < ARRAY_LEN(rows));
	api_refuse(e, rows[i].kind, NULL, "%s", terms->message ? terms->message : rows[i].message);
	e->forced = true;
	e->retry_after_s = terms->retry_after_s;
}

/* Reads the request and has it answered. */
static void generate_now(struct api *a, struct http_exchange *x, const struct route *r,
			 const struct admission *terms)
{
	struct api_request q;
	struct api_error e;
	const char *body;
	size_t len;

	body = http_body(x, &len);
	if (terms->status) {
		refuse_as(&e, terms);
	} else if (api_request_read(&q, r->kind, body, len, &a->terms, &e)) {
		q.stream = q.stream && !terms->whole;
		answer_start(a, x, &q, r->dialect, terms->outlet);
		return;
	}
	if (terms->outlet)
		terms->outlet->type->drop(terms->outlet);
	api_error_reply(a, x, &e);
}

static void waiting_free(struct waiting *w)
{
	struct waiting **at = &w->api->waiting;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	evloop_timer_cancel(w->api->c.loop, &w->timer);
	free(w);
}

static void on_waited(struct timer *t, int64_t now_ns)
{
	struct waiting *w = (struct waiting *)((char *)t - offsetof(struct waiting, timer));
	struct waiting copy = *w;

	(void)now_ns;
	http_set_owner(w->x, NULL, NULL);
	waiting_free(w);
	generate_now(copy.api, copy.x, copy.route, &copy.terms);
}

static void on_waiter_gone(void *owner)
{
	struct waiting *w = owner;

	if (w->terms.outlet)
		w->terms.outlet->type->drop(w->terms.outlet);
	waiting_free(w);
}

void api_generate(struct api *a, struct http_exchange *x, const struct route *r)
{
	struct admission terms = {0};
	struct waiting *w;

	if (a->c.admit)
		a->c.admit(x, &terms, a->c.admit_arg);
	if (terms.delay_ns == 0) {
		generate_now(a, x, r, &terms);
		return;
	}
	w = xcalloc(1, sizeof(*w));
	*w = (struct waiting){
		.api = a, .x = x, .route = r, .terms = terms, .timer = {.fn = on_waited}};
	w->next = a->waiting;
	a->waiting = w;
	http_set_owner(x, w, on_waiter_gone);
	evloop_timer(a->c.loop, &w->timer, monotonic_now_ns() + terms.delay_ns);
}

/* The key guards /v1 alone, so that probes and scrapers need none. */
static bool may_ask(const struct api *a, const struct http_exchange *x)
{
	const char *given;

	if (!a->c.api_key || strncmp(http_path(x), "/v1/", 4) != 0)
		return true;
	given = http_header(x, "authorization");
	return given && strncmp(given, "Bearer ", 7) == 0 && strcmp(given + 7, a->c.api_key) == 0;
}

void api_handle(struct http_exchange *x, void *arg)
{
	struct api *a = arg;
	const struct route *r = a->c.wire->routes, *other = NULL;
	struct api_error e;

	if (!may_ask(a, x)) {
		api_refuse(&e, REFUSE_KEY, NULL, "this server wants its API key as a bearer token");
		api_error_reply(a, x, &e);
		return;
	}
	for (; r->path; r++) {
		if (strcmp(r->path, http_path(x)) != 0)
			continue;
		if (strcmp(r->method, http_method(x)) == 0)
			break;
		other = r;
	}
	if (r->path) {
		r->handle(a, x, r);
		return;
	}
	api_refuse(&e, other ? REFUSE_METHOD : REFUSE_ROUTE, NULL, "%s",
		   other ? "the path is there, the method is not" : "there is no such path");
	e.allow = other ? other->method : NULL;
	api_error_reply(a, x, &e);
}

struct api *api_new(const struct api_config *c, struct engine *engine)
{
	struct api *a = xcalloc(1, sizeof(*a));

	CHECK(c->models && c->models[0]);
	a->c = *c;
	if (!a->c.wire)
		a->c.wire = wire_habits[0];
	a->engine = engine;
	a->terms = (struct api_terms){
		.models = c->models,
		.codec = c->codec,
		.max_len = engine_max_len(engine),
		.reading = a->c.wire->reading,
		.keep_said = c->keep_said,
		.logits = engine_has_logits(engine),
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
	CHECK(!a->waiting); /* the HTTP server has told them before */
	buf_release(&a->bytes);
	buf_release(&a->shown);
	buf_release(&a->event);
	free(a->fingerprint);
	free(a);
}

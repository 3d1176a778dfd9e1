/*
 * Owns the looking at a target: which pages are asked, how often, and what is made of the answers.
 * Main thread, before the load. Must not know points, results or words for a person.
 */
#include "preflight.h"

#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "request_headers.h"

#define PATIENCE_NS    (5 * NS_PER_S) /* for the models page */
#define MAX_PAGE_BYTES (4u << 20)
#define PROMPT	       "Count from one to thirty in words."

/* ---- the models page ---- */

struct look {
	struct evloop *loop;
	struct timer patience;
	struct preflight_found *out;
	struct buf page;
	bool ended, late;
};

static void on_connected(void *owner, int64_t t_ns)
{
	struct look *k = owner;

	(void)t_ns;
	k->out->reachable = true;
}

static void on_head(void *owner, const struct xfer_head *h, int64_t t_ns)
{
	struct look *k = owner;

	(void)t_ns;
	k->out->status = h->status;
}

static void on_body(void *owner, const char *bytes, size_t n, int64_t t_ns)
{
	struct look *k = owner;

	(void)t_ns;
	buf_append(&k->page, bytes, n); /* a page beyond the cap will not parse, and that is fine */
}

static void on_end(void *owner, enum xfer_end how, const char *why, int64_t t_ns)
{
	struct look *k = owner;

	(void)t_ns;
	if (how == XFER_CONNECT || how == XFER_TLS)
		k->out->reachable = false;
	k->out->tls_failed = how == XFER_TLS;
	if (how != XFER_COMPLETE)
		snprintf(k->out->why, sizeof(k->out->why), "%s", why ? why : "no answer");
	k->ended = true;
	evloop_stop(k->loop);
}

static void on_patience(struct timer *t, int64_t now_ns)
{
	struct look *k = (struct look *)((char *)t - offsetof(struct look, patience));

	(void)now_ns;
	snprintf(k->out->why, sizeof(k->out->why), "no answer within 5 s");
	k->late = true;
	evloop_stop(k->loop);
}

/* {"data": [{"id": NAME}, ...]} */
static void read_models(struct preflight_found *f, const struct buf *page, const char *wanted)
{
	const cJSON *data = NULL, *one;
	cJSON *root = NULL;
	bool found = false;

	if (json_parse(&root, buf_head(page), buf_size(page), NULL) != RC_OK)
		return;
	json_get_array(root, "", "data", &data, NULL);
	cJSON_ArrayForEach(one, data)
	{
		const char *id = NULL;
		size_t n = strlen(f->listed);

		if (json_get_str(one, "", "id", &id, NULL) != RC_OK || !id)
			continue;
		if (!f->model)
			f->model = xstrdup(id);
		found |= wanted && strcmp(id, wanted) == 0;
		snprintf(f->listed + n, sizeof(f->listed) - n, "%s%s", n ? ", " : "", id);
	}
	f->model_served = found || !wanted || !f->model;
	cJSON_Delete(root);
}

static void look_at_models(const struct request_env *env, const volatile sig_atomic_t *interrupted,
			   struct preflight_found *out)
{
	static const struct xfer_handler handler = {on_connected, on_connected, on_head, on_body,
						    on_end,	  NULL,		NULL};
	const struct target *t = env->target;
	const char *page = env->dialect->models_path ? env->dialect->models_path : "/health";
	struct look k = {.loop = env->loop, .out = out, .patience = {.fn = on_patience}};
	struct xfer_spec spec = {.method = "GET"};
	struct buf path, headers;
	struct xfer *x;

	buf_init(&k.page, MAX_PAGE_BYTES);
	buf_init(&path, 1u << 16);
	buf_init(&headers, 1u << 20);
	buf_printf(&path, "%s%s", t->prefix ? t->prefix : "", page);
	request_headers(&headers, t, env->dialect, false, false, NULL, NULL);
	spec.path = buf_cstr(&path);
	spec.headers = buf_cstr(&headers);
	evloop_timer(env->loop, &k.patience, evloop_now_ns(env->loop) + PATIENCE_NS);
	x = env->transport_type->start(env->transport, &spec, &handler, &k);
	while (!k.ended && !k.late && !*interrupted)
		evloop_run(env->loop);
	evloop_timer_cancel(env->loop, &k.patience);
	if (!k.ended)
		env->transport_type->cancel(x);
	if (out->status == 200 && env->dialect->models_path)
		read_models(out, &k.page, t->model);
	buf_release(&k.page);
	buf_release(&path);
	buf_release(&headers);
}

/* ---- the short request ---- */

struct probe {
	struct evloop *loop;
	struct record rec;
	struct buf answer;
	bool ended;
};

static void on_request_end(struct request *q, void *arg)
{
	struct probe *p = arg;

	p->rec = request_take_record(q);
	buf_clear(&p->answer);
	buf_puts(&p->answer, request_answer(q));
	p->ended = true;
	evloop_stop(p->loop);
}

static void ask_once(const struct request_env *env, const volatile sig_atomic_t *interrupted,
		     struct probe *p)
{
	static const struct planned_request plan = {.text = PROMPT,
						    .len = sizeof(PROMPT) - 1,
						    .input_tokens = -1,
						    .output_tokens = PREFLIGHT_TOKENS};
	struct record rec;
	struct request *q;

	record_init(&rec);
	p->ended = false;
	q = request_start(env, &plan, &rec, evloop_now_ns(env->loop));
	while (!p->ended && !*interrupted)
		evloop_run(env->loop);
	if (!p->ended)
		request_abort(q, OUTCOME_CANCELLED, "interrupted", evloop_now_ns(env->loop));
	while (!p->ended)
		evloop_run(env->loop);
}

/* Does the text have this name, and not as a part of a longer one? */
static bool names(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = strstr(text, name); at; at = strstr(at + 1, name)) {
		bool begins = at == text || !(isalnum((unsigned char)at[-1]) || at[-1] == '_');

		if (begins && !isalnum((unsigned char)at[len]) && at[len] != '_')
			return true;
	}
	return false;
}

static bool leave_out(struct preflight_found *f, const char *name)
{
	int n = 0;

	for (; f->left_out[n]; n++)
		if (strcmp(f->left_out[n], name) == 0)
			return false;
	if (n == PREFLIGHT_LEFT_OUT)
		return false;
	f->left_out[n] = name;
	return true;
}

/* What to do without next time, by what the refusal says. A 400 that says nothing comes of
 * X-Request-Id: llama-cpp-python takes only UUIDs there. */
static bool learn(const struct dialect *d, struct probe *p, struct preflight_found *f)
{
	bool is_news = false;
	const char *text = buf_cstr(&p->answer);
	int status = p->rec.http_status;

	if (p->rec.outcome != OUTCOME_HTTP_4XX || (status != 400 && status != 422))
		return false;
	for (const char *const *name = d->optional; name && *name; name++)
		if (names(text, *name))
			is_news |= leave_out(f, *name);
	if (status == 400 && buf_size(&p->answer) == 0)
		is_news |= leave_out(f, "X-Request-Id");
	return is_news;
}

static void keep(const struct request_env *env, const struct record *r, struct preflight_found *f)
{
	f->asked = true;
	f->outcome = r->outcome;
	f->http_status = r->http_status;
	memcpy(f->error, r->error, sizeof(f->error));
	memcpy(f->finish_reason, r->finish_reason, sizeof(f->finish_reason));
	f->wants_tokens = !env->dialect->no_tokens;
	f->wants_stream = env->target->request.stream && f->wants_tokens;
	f->streams = r->streamed;
	f->usage = r->token_source == TOKENS_USAGE;
	f->tokens = r->output_tokens;
	f->events = r->n_events;
	f->merged = f->usage && f->streams && f->tokens > f->events;
}

/* A refusal often repeats the whole request, so a name in it need not be its reason: only what
 * helped stays left out. */
static void ask_shortly(const struct request_env *env, const volatile sig_atomic_t *interrupted,
			struct preflight_found *f)
{
	struct request_env short_env = *env;
	struct probe p = {.loop = env->loop};
	bool again;

	buf_init(&p.answer, MAX_PAGE_BYTES);
	short_env.keep_events = true;
	short_env.left_out = f->left_out;
	short_env.on_end = on_request_end;
	short_env.on_tokens = NULL;
	short_env.arg = &p;
	do {
		ask_once(&short_env, interrupted, &p);
		keep(env, &p.rec, f);
		again = !*interrupted && learn(env->dialect, &p, f);
		record_release(&p.rec);
	} while (again);
	if (f->outcome == OUTCOME_HTTP_4XX)
		f->left_out[0] = NULL;
	buf_release(&p.answer);
}

enum rc preflight(const struct request_env *env, bool with_request,
		  const volatile sig_atomic_t *interrupted, struct preflight_found *out,
		  struct err *e)
{
	struct request_env own = *env;
	enum rc rc = env->transport_type->open(&own.transport, env->loop, env->target,
					       env->limits->connect_ns, e);

	if (rc)
		return rc;
	look_at_models(&own, interrupted, out);
	if (!own.model)
		own.model = out->model;
	if (!own.model && !own.dialect->names_model)
		own.model = "";
	if (with_request && out->reachable && own.model && !*interrupted)
		ask_shortly(&own, interrupted, out);
	env->transport_type->close(own.transport);
	return RC_OK;
}

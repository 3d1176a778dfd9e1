/*
 * Owns the engines that exist only as profiles, in process, and the requests to them. On a virtual
 * loop, on its thread. The one file of loadgen that knows lib/serve and fakeengine; it must not
 * know records, levels or what the caller does with a token.
 *
 * It stands where a server stands: it reads the same body by the same code as the HTTP front end
 * does, so a request has the same prompt tokens, limits and seed, and is refused for the same
 * reasons. Its tokens are told as they are and not dressed as bytes.
 */
#include "transport.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "fakeengine/answers.h"
#include "fakeengine/fleet.h"
#include "fakeengine/profile.h"
#include "fakeengine/simulate.h"
#include "fakeengine/wordcodec.h"
#include "serve/api_genreq.h"
#include "serve/prom.h"
#include "workload.h"

#define MAX_PAGE_BYTES	   (1u << 20)
#define CONTAINER(p, T, m) ((T *)((char *)(p)-offsetof(T, m)))

/* Where fakeengine's --seed starts from: a target runs the same over HTTP. */
#define ENGINE_SEED 42

/* The engines' codec, to which a prompt's words may be told beside its text. */
struct prompt_codec {
	struct textcodec codec;
	int32_t id[WORKLOAD_WORDS]; /* of each word */
	const uint8_t *word;	    /* what PROMPT_MARK stands for in the request being read */
	size_t n_words;
};

/* Requests that were read once, for the engines that would read them the same: those of a sweep,
 * one after the other. */
struct asked {
	const void *plan; /* NULL: an empty place */
	struct api_request q;
};

#define MAX_ASKED_BYTES ((size_t)1 << 30)

static struct {
	const struct ynode *node; /* of their target, and what else they were read by: */
	const struct wire_habit *wire;
	char *models;
	int32_t max_len;
	struct asked *v; /* open addressing */
	size_t n, cap;	 /* a power of two */
	size_t bytes;
	uint64_t epoch; /* of whom it is: engine_in_process.asked */
} asked;		/* of the thread that has the loop */

/* One engine, or a fleet. Whoever opens the same target on the same loop reaches the same one. */
struct engine_in_process {
	struct evloop *loop;
	const struct target *target;
	int n_users;
	struct profile profile;
	struct answers *answers;
	struct prompt_codec codec;
	struct api_config api;
	struct api_terms terms;
	struct fleet *fleet;
	uint64_t next_id;
	uint64_t asked; /* the epoch of `asked` whose requests it would read the same */
	struct engine_in_process *next;
};

static struct engine_in_process *engines; /* of the thread that has the loop */

struct transport {
	struct engine_in_process *engine;
	struct xfer *xfers; /* on their way */
};

/* Either a request in the engine, or a page that is already written. */
struct xfer {
	struct transport *t;
	const struct xfer_handler *handler;
	void *owner;
	struct deferred step; /* its beginning, then its sweep */
	struct genreq *r;     /* NULL: a page, or over */
	bool stream, watched;
	bool dropped; /* nobody listens any more; swept at the end of the turn */
	int status;
	const char *content_type, *retry_after;
	struct buf page;
	struct xfer *prev, *next;
};

/* ---- beginning and end ---- */

static void xfer_free(struct xfer *x)
{
	struct transport *t = x->t;

	if (x->prev)
		x->prev->next = x->next;
	else
		t->xfers = x->next;
	if (x->next)
		x->next->prev = x->prev;
	evloop_undefer(t->engine->loop, &x->step);
	buf_release(&x->page);
	free(x);
}

static void on_sweep(struct deferred *d)
{
	xfer_free(CONTAINER(d, struct xfer, step));
}

static void xfer_over(struct xfer *x, int64_t now_ns)
{
	if (x->dropped)
		return;
	x->handler->end(x->owner, XFER_COMPLETE, "", now_ns);
	xfer_free(x);
}

static void tell_head(struct xfer *x, int64_t now_ns)
{
	const struct xfer_head head = {x->status, x->content_type, x->retry_after};

	if (!x->dropped)
		x->handler->head(x->owner, &head, now_ns);
}

static void tell_page(struct xfer *x, int64_t now_ns)
{
	if (!x->dropped)
		x->handler->body(x->owner, buf_head(&x->page), buf_size(&x->page), now_ns);
	xfer_over(x, now_ns);
}

/* A page is there at once; of a stream the head leaves when the request is taken. */
static void on_begin(struct deferred *d)
{
	struct xfer *x = CONTAINER(d, struct xfer, step);
	int64_t now_ns = evloop_now_ns(x->t->engine->loop);

	x->handler->written(x->owner, now_ns);
	if (!x->r || x->stream)
		tell_head(x, now_ns);
	if (!x->r)
		tell_page(x, now_ns);
}

static struct xfer *xfer_new(struct transport *t, const struct xfer_handler *h, void *owner)
{
	struct xfer *x = xcalloc(1, sizeof(*x));

	x->t = t;
	x->handler = h;
	x->owner = owner;
	x->status = 200;
	x->content_type = "application/json";
	x->retry_after = "";
	buf_init(&x->page, MAX_PAGE_BYTES);
	x->step.fn = on_begin;
	x->next = t->xfers;
	if (t->xfers)
		t->xfers->prev = x;
	t->xfers = x;
	return x;
}

/* ---- what comes from the engine ---- */

static void on_tokens(struct genreq *r, const int64_t *t_ns, int32_t n)
{
	struct xfer *x = r->owner;

	if (x->stream)
		x->handler->tokens(x->owner, t_ns, n);
}

/* The engine gave it up: told in the form that fits what the client has already got. */
static void tell_failure(struct xfer *x, int64_t now_ns)
{
	const struct wire_habit *wire = x->t->engine->api.wire;
	struct api_error e;

	api_refuse(&e, REFUSE_ENGINE, NULL, "the engine failed while it computed this answer");
	if (x->stream) {
		api_error_event(wire, &e, &x->page);
	} else {
		x->status = api_error_put(wire, &e, &x->page);
		tell_head(x, now_ns);
	}
	tell_page(x, now_ns);
}

static void on_done(struct genreq *r, int64_t t_ns)
{
	struct xfer *x = r->owner;
	struct xfer_answer a = {r->n_prompt, genreq_output_tokens(r),
				genreq_finish_name(r->finish)};

	x->r = NULL;
	if (r->finish != FINISH_STOP && r->finish != FINISH_LENGTH) {
		tell_failure(x, t_ns);
		return;
	}
	if (!x->stream)
		tell_head(x, t_ns);
	if (!x->dropped)
		x->handler->answered(x->owner, &a, t_ns);
	xfer_over(x, t_ns);
}

static const struct sim_sink sink = {on_tokens, on_done};

/* ---- prompts in words ---- */

static void put_words(const struct prompt_codec *p, struct token_list *out)
{
	int32_t n = (int32_t)p->n_words;

	token_list_reserve(out, n);
	for (int32_t i = 0; i < n; i++)
		out->id[out->n + i] = p->id[p->word[i]];
	out->n += n;
}

/* Words stand between blanks, and a blank belongs to the word behind it: so the ids of a text are
 * those of what is before the words, of each word, and of what is behind them. */
static void encode_prompt(const struct textcodec *c, const char *text, size_t len,
			  struct token_list *out)
{
	const struct prompt_codec *p = (const struct prompt_codec *)c;
	const char *mark = p->word ? memchr(text, PROMPT_MARK[0], len) : NULL;
	size_t before = mark ? (size_t)(mark - text) : 0, behind = before + strlen(PROMPT_MARK);

	if (!mark) {
		wordcodec.encode(&wordcodec, text, len, out);
		return;
	}
	wordcodec.encode(&wordcodec, text, before, out);
	put_words(p, out);
	wordcodec.encode(&wordcodec, text + behind, len - behind, out);
}

static void prompt_codec_init(struct prompt_codec *p)
{
	struct token_list one = {0};

	*p = (struct prompt_codec){.codec = wordcodec};
	p->codec.encode = encode_prompt;
	for (int i = 0; i < WORKLOAD_WORDS; i++) {
		one.n = 0;
		wordcodec.encode(&wordcodec, workload_word[i], strlen(workload_word[i]), &one);
		CHECK(one.n == 1);
		p->id[i] = one.id[0];
	}
	token_list_release(&one);
}

/* Those who answer with what was said want it spelled. */
static bool takes_words(const struct transport *t)
{
	return !t->engine->terms.keep_said;
}

/* ---- what was asked before ---- */

static struct asked *asked_place(const void *plan)
{
	size_t at = ((uintptr_t)plan >> 4) * UINT64_C(0x9e3779b97f4a7c15) >> 20;

	for (;; at++) {
		struct asked *a = &asked.v[at & (asked.cap - 1)];

		if (!a->plan || a->plan == plan)
			return a;
	}
}

static void asked_forget(void)
{
	for (size_t i = 0; i < asked.cap; i++)
		if (asked.v[i].plan)
			api_request_release(&asked.v[i].q);
	free(asked.v);
	free(asked.models);
	asked.v = NULL;
	asked.models = NULL;
	asked.n = asked.cap = asked.bytes = 0;
	asked.epoch++;
}

static void asked_grow(void)
{
	struct asked *old = asked.v;
	size_t n = asked.cap;

	asked.cap = n ? 2 * n : 1024;
	asked.v = xcalloc(asked.cap, sizeof(*asked.v));
	for (size_t i = 0; i < n; i++)
		if (old[i].plan)
			*asked_place(old[i].plan) = old[i];
	free(old);
}

/* Takes q, or releases it if there is no more room. */
static void asked_keep(const void *plan, struct api_request *q)
{
	size_t bytes = sizeof(struct asked) + (size_t)q->prompt[0].tokens.cap * sizeof(int32_t);

	if (asked.bytes + bytes > MAX_ASKED_BYTES) {
		api_request_release(q);
		return;
	}
	if (2 * asked.n >= asked.cap)
		asked_grow();
	q->model = NULL; /* a name of the engine's */
	*asked_place(plan) = (struct asked){plan, *q};
	asked.bytes += bytes;
	asked.n++;
}

/* Requests that were read by other terms are not this engine's. */
static void asked_open(struct engine_in_process *g)
{
	struct buf models;

	buf_init(&models, MAX_PAGE_BYTES);
	for (int i = 0; g->profile.models[i]; i++)
		CHECK(buf_printf(&models, "%s\n", g->profile.models[i]));
	if (asked.node != g->target->node || asked.wire != g->profile.wire ||
	    asked.max_len != g->terms.max_len || !asked.models ||
	    strcmp(asked.models, buf_cstr(&models)) != 0) {
		asked_forget();
		asked.node = g->target->node;
		asked.wire = g->profile.wire;
		asked.max_len = g->terms.max_len;
		asked.models = xstrdup(buf_cstr(&models));
	}
	g->asked = asked.epoch;
	buf_release(&models);
}

static bool remembers(const struct transport *t, const void *plan)
{
	return asked.cap && t->engine->asked == asked.epoch && asked_place(plan)->plan;
}

/* ---- what is asked ---- */

static void refuse(struct xfer *x, const struct api_error *e)
{
	x->status = api_error_put(x->t->engine->api.wire, e, &x->page);
	x->retry_after = e->kind == REFUSE_BUSY ? "1" : "";
}

/* Fields that make more than one plain answer of a request. */
static bool is_plain(const struct api_request *q, struct api_error *e)
{
	if (q->n == 1 && q->n_prompts == 1 && q->stops.n == 0 && !q->echo)
		return true;
	return api_refuse(e, REFUSE_VALUE, NULL,
			  "in virtual time a request has one prompt, one answer, no stop strings "
			  "and no echo");
}

static bool submit(struct xfer *x, const struct api_request *q, struct api_error *e)
{
	struct engine_in_process *g = x->t->engine;
	struct genreq *r;
	struct err why;
	enum rc rc;

	if (!is_plain(q, e))
		return false;
	r = api_genreq_new(&g->api, q, 0, g->next_id++, NULL, g->terms.max_len);
	r->owner = x;
	r->watched = x->watched;
	rc = fleet_submit(g->fleet, r, &why);
	if (rc) {
		genreq_free(r);
		return api_refuse(e, rc == RC_LIMIT ? REFUSE_BUSY : REFUSE_VALUE, NULL, "%s",
				  why.msg);
	}
	x->r = r;
	x->stream = q->stream;
	if (q->stream)
		x->content_type = "text/event-stream; charset=utf-8";
	return true;
}

static void generate(struct xfer *x, enum api_kind kind, const struct xfer_spec *spec)
{
	struct engine_in_process *g = x->t->engine;
	struct api_request q;
	struct api_error e;

	x->watched = spec->watched;
	g->codec.word = spec->word;
	g->codec.n_words = spec->n_words;
	if (!api_request_read(&q, kind, spec->body, spec->body_len, &g->terms, &e)) {
		refuse(x, &e);
		return;
	}
	if (!submit(x, &q, &e))
		refuse(x, &e);
	if (spec->plan && spec->word && g->asked == asked.epoch)
		asked_keep(spec->plan, &q);
	else
		api_request_release(&q);
}

static void generate_again(struct xfer *x, const struct xfer_spec *spec)
{
	struct api_error e;

	x->watched = spec->watched;
	if (!submit(x, &asked_place(spec->plan)->q, &e))
		refuse(x, &e);
}

static void write_models(struct xfer *x)
{
	char *const *name = x->t->engine->profile.models;

	for (int i = 0; name[i]; i++) {
		buf_puts(&x->page, i ? "},{\"id\":" : "{\"data\":[{\"id\":");
		json_quote(&x->page, name[i]);
	}
	buf_puts(&x->page, "}]}");
}

/* Under the names of vLLM's page, for whoever reads such pages. */
static void write_metrics(struct xfer *x)
{
	struct fleet_stats s;
	struct buf *b = &x->page;

	fleet_stats(x->t->engine->fleet, &s);
	x->content_type = "text/plain";
	prom_sample(b, "vllm:num_requests_running", "", (double)s.running);
	prom_sample(b, "vllm:num_requests_waiting", "", (double)s.waiting);
	if (s.usable_blocks > 0)
		prom_sample(b, "vllm:kv_cache_usage_perc", "",
			    1 - (double)s.free_blocks / (double)s.usable_blocks);
	prom_sample(b, "vllm:num_preemptions_total", "", (double)s.preemptions);
	prom_sample(b, "vllm:prompt_tokens_total", "", (double)s.prompt_tokens);
	prom_sample(b, "vllm:generation_tokens_total", "", (double)s.generation_tokens);
	prom_sample(b, "vllm:prefix_cache_queries_total", "", (double)s.prefix_queries_tokens);
	prom_sample(b, "vllm:prefix_cache_hits_total", "", (double)s.prefix_hits_tokens);
}

static bool path_is(const struct xfer_spec *spec, const char *method, const char *path)
{
	return strcmp(spec->method, method) == 0 && strcmp(spec->path, path) == 0;
}

/* As the engine's HTTP front end would find it, or NULL. */
static const struct route *find_route(const struct wire_habit *wire, const struct xfer_spec *spec)
{
	for (const struct route *r = wire->routes; r->path; r++)
		if (r->handle == api_generate && path_is(spec, r->method, r->path))
			return r;
	return NULL;
}

static struct xfer *sim_start(struct transport *t, const struct xfer_spec *spec,
			      const struct xfer_handler *h, void *owner)
{
	bool again = spec->plan && remembers(t, spec->plan);
	const struct route *r = again ? NULL : find_route(t->engine->api.wire, spec);
	struct xfer *x = xfer_new(t, h, owner);
	struct api_error e;

	if (again) {
		generate_again(x, spec);
	} else if (r) {
		generate(x, r->kind, spec);
	} else if (path_is(spec, "GET", "/v1/models")) {
		write_models(x);
	} else if (path_is(spec, "GET", "/metrics")) {
		write_metrics(x);
	} else {
		api_refuse(&e, REFUSE_ROUTE, NULL, "there is no such path");
		refuse(x, &e);
	}
	evloop_defer(t->engine->loop, &x->step);
	return x;
}

static void sim_catch_up_to_now(struct xfer *x)
{
	if (x->r && !x->dropped)
		fleet_catch_up(x->t->engine->fleet, x->r);
}

static void sim_drop(struct xfer *x)
{
	if (x->r)
		fleet_cancel(x->t->engine->fleet, x->r);
	x->r = NULL;
	x->dropped = true;
	evloop_undefer(x->t->engine->loop, &x->step);
	x->step.fn = on_sweep;
	evloop_defer(x->t->engine->loop, &x->step);
}

/* ---- the engine ---- */

static enum rc load_profile(struct profile *out, const struct target *t, struct err *e)
{
	struct profile_set *sets = NULL;
	size_t n = 0;
	enum rc rc;

	for (; t->profile_sets && t->profile_sets[n]; n++) {
		sets = xreallocarray(sets, n + 1, sizeof(*sets));
		sets[n] = (struct profile_set){t->profile_sets[n], "set"};
	}
	rc = profile_load(out, t->profile, sets, n, e);
	free(sets);
	return rc;
}

static void engine_free_in_process(struct engine_in_process *g)
{
	struct engine_in_process **link = &engines;

	while (*link && *link != g)
		link = &(*link)->next;
	if (*link)
		*link = g->next;
	fleet_free(g->fleet);
	answers_free(g->answers);
	profile_release(&g->profile);
	free(g);
}

static enum rc engine_open(struct engine_in_process **out, struct evloop *loop,
			   const struct target *t, struct err *e)
{
	struct engine_in_process *g = xcalloc(1, sizeof(*g));
	struct fleet_shape shape;
	struct sim_setup setup;
	enum rc rc = load_profile(&g->profile, t, e);

	if (rc) {
		free(g);
		return rc;
	}
	if (g->profile.faults.n) {
		profile_release(&g->profile);
		free(g);
		return err_set(e, RC_INPUT,
			       "faults: they happen on the wire, and in virtual time there is "
			       "none; run it with --clock real");
	}
	setup = (struct sim_setup){
		.policy = g->profile.policy,
		.cost = &g->profile.cost,
		.noise = g->profile.noise,
		.seed = ENGINE_SEED,
		.ingest_ns = g->profile.ingest_ns,
		.egress_ns = g->profile.egress_ns,
		.drafter = &g->profile.drafter,
	};
	memcpy(setup.knobs, g->profile.knobs, sizeof(setup.knobs));
	rc = answers_open(&g->answers, &g->profile, ENGINE_SEED, e);
	shape = profile_fleet(&g->profile);
	if (rc == RC_OK)
		rc = fleet_new(&g->fleet, loop, &setup, &shape, &sink, e);
	if (rc) {
		engine_free_in_process(g);
		return rc;
	}
	g->loop = loop;
	g->target = t;
	prompt_codec_init(&g->codec);
	g->terms = (struct api_terms){
		.models = (const char *const *)g->profile.models,
		.codec = &g->codec.codec,
		.max_len = fleet_max_len(g->fleet),
		/* over HTTP the look before the load finds out what to leave out */
		.reading = g->profile.wire->reading | READ_DROP_UNKNOWN,
		.keep_said = g->profile.text.kind != TEXT_WORDS,
	};
	g->api = (struct api_config){
		.codec = &g->codec.codec,
		.default_max_tokens = (int32_t)g->profile.output.default_max_tokens,
		.forced_tokens = (int32_t)g->profile.output.forced_tokens,
		.seed = ENGINE_SEED,
		.prepare = answers_plan,
		.prepare_arg = g->answers,
		.wire = g->profile.wire,
	};
	asked_open(g);
	g->next = engines;
	engines = g;
	*out = g;
	return RC_OK;
}

static enum rc sim_open(struct transport **out, struct evloop *loop, const struct target *t,
			int64_t connect_ns, struct err *e)
{
	struct engine_in_process *g = engines;

	(void)connect_ns;
	while (g && (g->loop != loop || g->target != t))
		g = g->next;
	if (!g) {
		enum rc rc = engine_open(&g, loop, t, e);

		if (rc)
			return rc;
		CHECK(g);
	}
	g->n_users++;
	*out = xcalloc(1, sizeof(**out));
	(*out)->engine = g;
	return RC_OK;
}

static void sim_close(struct transport *t)
{
	for (struct xfer *x = t->xfers, *next; x; x = next) {
		next = x->next;
		if (x->r)
			fleet_cancel(t->engine->fleet, x->r);
		xfer_free(x);
	}
	if (--t->engine->n_users == 0)
		engine_free_in_process(t->engine);
	free(t);
}

static void sim_transport_stats(const struct transport *t, struct transport_stats *out)
{
	(void)t;
	*out = (struct transport_stats){0};
}

const struct transport_type transport_sim = {
	.name = "virtual",
	.stamps = STAMP_VIRTUAL,
	.open = sim_open,
	.takes_words = takes_words,
	.remembers = remembers,
	.start = sim_start,
	.catch_up = sim_catch_up_to_now,
	.cancel = sim_drop,
	.leave = sim_drop,
	.stats = sim_transport_stats,
	.close = sim_close,
};

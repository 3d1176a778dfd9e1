/*
 * Owns the sampling of an engine's metrics page and the table of names. Loop thread; the parser is
 * pure. Must not know requests or records.
 */
#include "scrape.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "base/log.h"
#include "transport.h"

#define MAX_PAGE_BYTES (16u << 20)
#define CONNECT_NS     (5 * NS_PER_S)

/* ---- names ---- */

enum metric {
	RUNNING,
	WAITING,
	KV_USAGE,
	PREEMPTIONS,
	PROMPT_TOKENS,
	GENERATION_TOKENS,
	PREFIX_QUERIES,
	PREFIX_HITS,
	METRICS
};

static const char *const metric_names[METRICS] = {
	[RUNNING] = "running",
	[WAITING] = "waiting",
	[KV_USAGE] = "kv_usage",
	[PREEMPTIONS] = "preemptions",
	[PROMPT_TOKENS] = "prompt_tokens",
	[GENERATION_TOKENS] = "generation_tokens",
	[PREFIX_QUERIES] = "prefix_queries",
	[PREFIX_HITS] = "prefix_hits",
};

/* What engines call them. Where a page has several of one metric's names, the first here counts. */
static const struct {
	const char *name;
	enum metric metric;
} known[] = {
	/* vLLM, new names before old */
	{"vllm:num_requests_running", RUNNING},
	{"vllm:num_requests_waiting", WAITING},
	{"vllm:kv_cache_usage_perc", KV_USAGE},
	{"vllm:gpu_cache_usage_perc", KV_USAGE},
	{"vllm:num_preemptions_total", PREEMPTIONS},
	{"vllm:prompt_tokens_total", PROMPT_TOKENS},
	{"vllm:generation_tokens_total", GENERATION_TOKENS},
	{"vllm:prefix_cache_queries_total", PREFIX_QUERIES},
	{"vllm:gpu_prefix_cache_queries_total", PREFIX_QUERIES},
	{"vllm:prefix_cache_hits_total", PREFIX_HITS},
	{"vllm:gpu_prefix_cache_hits_total", PREFIX_HITS},
	/* SGLang; its radix cache is asked for every prompt token */
	{"sglang:num_running_reqs", RUNNING},
	{"sglang:num_queue_reqs", WAITING},
	{"sglang:token_usage", KV_USAGE},
	{"sglang:prompt_tokens_total", PROMPT_TOKENS},
	{"sglang:generation_tokens_total", GENERATION_TOKENS},
	{"sglang:prompt_tokens_total", PREFIX_QUERIES},
	{"sglang:cached_tokens_total", PREFIX_HITS},
	/* TGI; tokens are sums of histograms */
	{"tgi_batch_current_size", RUNNING},
	{"tgi_queue_size", WAITING},
	{"tgi_request_input_length_sum", PROMPT_TOKENS},
	{"tgi_request_generated_tokens_sum", GENERATION_TOKENS},
	/* llama.cpp */
	{"llamacpp:requests_processing", RUNNING},
	{"llamacpp:requests_deferred", WAITING},
	{"llamacpp:kv_cache_usage_ratio", KV_USAGE},
	{"llamacpp:prompt_tokens_total", PROMPT_TOKENS},
	{"llamacpp:tokens_predicted_total", GENERATION_TOKENS},
	{"llamacpp:prompt_tokens_cached_total", PREFIX_HITS},
};

/* ---- the parser ---- */

/* Behind the labels that begin at p, or NULL if they do not end. Label values may hold braces and
 * escaped quotes. */
static const char *skip_labels(const char *p, const char *end)
{
	bool quoted = false;

	for (p++; p < end; p++) {
		if (quoted && *p == '\\')
			p++;
		else if (*p == '"')
			quoted = !quoted;
		else if (*p == '}' && !quoted)
			return p + 1;
	}
	return NULL;
}

static size_t name_length(const char *p, const char *end)
{
	const char *from = p;

	while (p < end && *p != '{' && *p != ' ' && *p != '\t')
		p++;
	return (size_t)(p - from);
}

/* The first word at p as a finite number. */
static bool read_value(const char *p, const char *end, double *out)
{
	char word[64], *behind;
	size_t n = 0;

	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	while (p < end && *p != ' ' && *p != '\t' && *p != '\r' && n < sizeof(word) - 1)
		word[n++] = *p++;
	word[n] = '\0';
	*out = strtod(word, &behind);
	return n > 0 && *behind == '\0' && isfinite(*out);
}

struct sums {
	double sum[ARRAY_LEN(known)];
	int n[ARRAY_LEN(known)];
};

/* NAME{LABELS} VALUE [TIME] */
static void read_sample(const char *line, const char *end, struct sums *s)
{
	size_t len = name_length(line, end);
	const char *p = line + len;
	double value;

	if (len == 0 || *line == '#')
		return;
	if (p < end && *p == '{')
		p = skip_labels(p, end);
	if (!p || !read_value(p, end, &value))
		return;
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (strlen(known[i].name) == len && memcmp(known[i].name, line, len) == 0) {
			s->sum[i] += value;
			s->n[i]++;
		}
	}
}

void scrape_parse(const char *text, size_t len,
		  void (*on_value)(void *arg, int64_t t_ns, const char *name, double value),
		  void *arg, int64_t t_ns)
{
	const char *end = text + len;
	struct sums s = {0};

	for (const char *line = text; line < end;) {
		const char *eol = memchr(line, '\n', (size_t)(end - line));

		if (!eol)
			eol = end;
		read_sample(line, eol, &s);
		line = eol + 1;
	}
	for (int m = 0; m < METRICS; m++) {
		size_t i = 0;

		while (i < ARRAY_LEN(known) && (known[i].metric != (enum metric)m || s.n[i] == 0))
			i++;
		if (i < ARRAY_LEN(known))
			on_value(arg, t_ns, metric_names[m],
				 m == KV_USAGE ? s.sum[i] / s.n[i] : s.sum[i]);
	}
}

/* ---- the sampling ---- */

struct scrape {
	struct evloop *loop;
	const struct target *target;
	const struct transport_type *type;
	struct transport *transport;
	struct timer timer;
	int64_t interval_ns;
	struct xfer *xfer; /* NULL between samples */
	int status;
	struct buf page;
	char *path, *headers;
	void (*on_value)(void *arg, int64_t t_ns, const char *name, double value);
	void *arg;
};

static void on_stamp(void *owner, int64_t t_ns)
{
	(void)owner;
	(void)t_ns;
}

static void on_head(void *owner, const struct xfer_head *h, int64_t t_ns)
{
	(void)t_ns;
	((struct scrape *)owner)->status = h->status;
}

static void on_body(void *owner, const char *bytes, size_t n, int64_t t_ns)
{
	struct scrape *s = owner;

	(void)t_ns;
	if (!buf_append(&s->page, bytes, n))
		s->status = 0; /* far too long for a metrics page: treated as none */
}

/* An engine that does not answer this time may do so the next; one that has no such page will not.
 */
static void on_end(void *owner, enum xfer_end how, const char *why, int64_t t_ns)
{
	struct scrape *s = owner;

	s->xfer = NULL;
	if (how != XFER_COMPLETE) {
		log_debug("%s: metrics: %s", s->target->name, why);
		return;
	}
	if (s->status != 200) {
		evloop_timer_cancel(s->loop, &s->timer);
		return;
	}
	scrape_parse(buf_head(&s->page), buf_size(&s->page), s->on_value, s->arg, t_ns);
}

static void on_timer(struct timer *t, int64_t now_ns)
{
	static const struct xfer_handler handler = {on_stamp, on_stamp, on_head, on_body,
						    on_end,   NULL,	NULL};
	struct scrape *s = (struct scrape *)((char *)t - offsetof(struct scrape, timer));
	struct xfer_spec spec = {.method = "GET",
				 .path = s->path,
				 .headers = s->headers,
				 .body = "",
				 .keep_alive = true};

	evloop_timer(s->loop, t, now_ns + s->interval_ns);
	if (s->xfer)
		return; /* a busy engine: this sample is left out */
	s->status = 0;
	buf_clear(&s->page);
	s->xfer = s->type->start(s->transport, &spec, &handler, s);
}

/* A target's own headers may be what lets us in. */
static char *make_headers(const struct target *t)
{
	struct buf b;

	buf_init(&b, 1u << 20);
	buf_puts(&b, "Accept: text/plain\r\n");
	if (t->api_key)
		buf_printf(&b, "Authorization: Bearer %s\r\n", t->api_key);
	for (int i = 0; i < t->n_headers; i++)
		if (t->headers[i].value[0])
			buf_printf(&b, "%s: %s\r\n", t->headers[i].name, t->headers[i].value);
	return buf_take(&b);
}

enum rc scrape_new(struct scrape **out, struct evloop *loop, const struct target *t,
		   int64_t interval_ns,
		   void (*on_value)(void *arg, int64_t t_ns, const char *name, double value),
		   void *arg, struct err *e)
{
	struct scrape *s = xcalloc(1, sizeof(*s));

	*out = NULL;
	s->loop = loop;
	s->target = t;
	s->type = transport_for(t);
	s->interval_ns = interval_ns;
	s->on_value = on_value;
	s->arg = arg;
	s->timer.fn = on_timer;
	if (s->type->open(&s->transport, loop, t, CONNECT_NS, e) != RC_OK) {
		free(s);
		return e ? e->rc : RC_IO;
	}
	buf_init(&s->page, MAX_PAGE_BYTES);
	s->path = xasprintf("%s/metrics", t->prefix ? t->prefix : "");
	s->headers = make_headers(t);
	evloop_timer(loop, &s->timer, evloop_now_ns(loop));
	*out = s;
	return RC_OK;
}

void scrape_free(struct scrape *s)
{
	if (!s)
		return;
	evloop_timer_cancel(s->loop, &s->timer);
	s->type->close(s->transport);
	buf_release(&s->page);
	free(s->path);
	free(s->headers);
	free(s);
}

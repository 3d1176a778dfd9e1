/*
 * Owns the exchange with a models page. Loop thread, before the load. Knows no record and no
 * figure.
 */
#include "preflight.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/jsonx.h"

#define PATIENCE_NS    (5 * NS_PER_S)
#define MAX_PAGE_BYTES (4u << 20)

struct look {
	struct evloop *loop;
	struct timer patience;
	struct preflight_answer *out;
	struct buf page;
	bool ended, late;
};

static void on_connected(void *owner, int64_t t_ns)
{
	struct look *k = owner;

	(void)t_ns;
	k->out->reachable = true;
}

static void on_written(void *owner, int64_t t_ns)
{
	on_connected(owner, t_ns); /* also on a kept connection */
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
static void read_models(struct preflight_answer *a, const struct buf *page, const char *wanted)
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
		size_t n = strlen(a->listed);

		if (json_get_str(one, "", "id", &id, NULL) != RC_OK || !id)
			continue;
		if (!a->model)
			a->model = xstrdup(id);
		found |= wanted && strcmp(id, wanted) == 0;
		snprintf(a->listed + n, sizeof(a->listed) - n, "%s%s", n ? ", " : "", id);
	}
	a->model_served = found || !wanted || !a->model;
	cJSON_Delete(root);
}

void preflight(struct evloop *loop, const struct target *t, const struct dialect *d,
	       const struct transport_type *type, struct transport *transport,
	       const volatile sig_atomic_t *interrupted, struct preflight_answer *out)
{
	static const struct xfer_handler handler = {on_connected, on_written, on_head, on_body,
						    on_end,	  NULL,	      NULL};
	struct look k = {.loop = loop, .out = out};
	struct buf path, headers;
	struct xfer_spec spec = {.method = "GET", .keep_alive = false};
	struct xfer *x;

	memset(out, 0, sizeof(*out));
	out->model_served = true;
	buf_init(&k.page, MAX_PAGE_BYTES);
	buf_init(&path, 4096);
	buf_init(&headers, 65536);
	buf_printf(&path, "%s%s", t->prefix, d->models_path ? d->models_path : "/health");
	buf_puts(&headers, "Accept: application/json\r\n");
	if (t->api_key)
		buf_printf(&headers, "Authorization: Bearer %s\r\n", t->api_key);
	for (int i = 0; i < t->n_headers; i++)
		buf_printf(&headers, "%s: %s\r\n", t->headers[i].name, t->headers[i].value);
	spec.path = buf_cstr(&path);
	spec.headers = buf_cstr(&headers);
	k.patience.fn = on_patience;
	evloop_timer(loop, &k.patience, evloop_now_ns(loop) + PATIENCE_NS);
	x = type->start(transport, &spec, &handler, &k);
	while (!k.ended && !k.late && !*interrupted)
		evloop_run(loop);
	evloop_timer_cancel(loop, &k.patience);
	if (!k.ended)
		type->cancel(x);
	if (out->status == 200 && d->models_path)
		read_models(out, &k.page, t->model);
	buf_release(&k.page);
	buf_release(&path);
	buf_release(&headers);
}

/*
 * Owns the bodies of the endpoints that generate nothing. Loop thread. Must not change the engine.
 */
#include "api_admin.h"

#include <limits.h>
#include <stdio.h>

#include "base/jsonx.h"
#include "engine_stats.h"
#include "form.h"
#include "wire.h"

static void reply_json(struct api *a, struct http_exchange *x, struct buf *b)
{
	http_reply(x, 200, a->c.wire->json_type, NULL, buf_head(b), buf_size(b));
	buf_release(b);
}

/* INT32_MAX stands for no limit, which JSON calls null. */
static void put_max_len(struct buf *b, int32_t max_len)
{
	if (max_len == INT32_MAX)
		buf_puts(b, "null");
	else
		buf_printf(b, "%d", max_len);
}

void admin_health(struct api *a, struct http_exchange *x, const struct route *r)
{
	const char *form = a->c.wire->health;
	struct buf b;

	(void)r;
	buf_init(&b, SIZE_MAX);
	form_put(&b, form, &(struct form_values){0});
	http_reply(x, 200, *form ? a->c.wire->json_type : NULL, NULL, buf_head(&b), buf_size(&b));
	buf_release(&b);
}

void admin_ready(struct api *a, struct http_exchange *x, const struct route *r)
{
	(void)r;
	http_reply(x, a->draining ? 503 : 200, NULL, NULL, "", 0);
}

void admin_load(struct api *a, struct http_exchange *x, const struct route *r)
{
	struct buf b;

	(void)r;
	buf_init(&b, SIZE_MAX);
	buf_printf(&b, "{\"server_load\":%d}", engine_in_flight(a->engine));
	reply_json(a, x, &b);
}

void admin_version(struct api *a, struct http_exchange *x, const struct route *r)
{
	struct buf b;

	(void)r;
	buf_init(&b, SIZE_MAX);
	buf_puts(&b, "{\"version\":");
	json_quote(&b, a->c.version);
	buf_putc(&b, '}');
	reply_json(a, x, &b);
}

void admin_models(struct api *a, struct http_exchange *x, const struct route *r)
{
	const struct wire_habit *wire = a->c.wire;
	struct buf b;
	char id[32];

	(void)r;
	buf_init(&b, SIZE_MAX);
	for (int i = 0; a->c.models[i]; i++) {
		const struct form_values v = {
			.id = id,
			.model = a->c.models[i],
			.engine = a->c.engine_name,
			.created_s = a->started_s,
			.max_tokens = a->terms.max_len,
		};

		snprintf(id, sizeof(id), "%016llx", (unsigned long long)a->id_salt + (unsigned)i);
		if (i == 0)
			form_put(&b, wire->models, &v);
		else
			buf_putc(&b, ',');
		form_put(&b, wire->models_item, &v);
	}
	buf_puts(&b, wire->models_end);
	reply_json(a, x, &b);
}

void admin_metrics(struct api *a, struct http_exchange *x, const struct route *r)
{
	const struct wire_habit *wire = a->c.wire;
	struct buf b;

	(void)r;
	buf_init(&b, SIZE_MAX);
	wire->metrics(engine_stats(a->engine), a->c.models[0], &b);
	if (a->c.more_metrics)
		a->c.more_metrics(&b, a->c.more_metrics_arg);
	http_reply(x, 200, wire->metrics_type, NULL, buf_head(&b), buf_size(&b));
	buf_release(&b);
}

void admin_tokenize(struct api *a, struct http_exchange *x, const struct route *r)
{
	struct api_request q;
	struct api_error e;
	const char *body;
	struct buf b;
	size_t len;

	(void)r;
	body = http_body(x, &len);
	if (!api_request_read(&q, API_TOKENIZE, body, len, &a->terms, &e)) {
		api_error_reply(a, x, &e);
		return;
	}
	if (q.n_prompts != 1) {
		api_refuse(&e, REFUSE_VALUE, "prompt", "prompt: want one, got %d", q.n_prompts);
		api_error_reply(a, x, &e);
		api_request_release(&q);
		return;
	}
	buf_init(&b, SIZE_MAX);
	buf_printf(&b, "{\"count\":%d,\"max_model_len\":", q.prompt[0].tokens.n);
	put_max_len(&b, a->terms.max_len);
	buf_puts(&b, ",\"tokens\":[");
	for (int32_t i = 0; i < q.prompt[0].tokens.n; i++)
		buf_printf(&b, "%s%d", i ? "," : "", q.prompt[0].tokens.id[i]);
	buf_puts(&b, "],\"token_strs\":null}");
	api_request_release(&q);
	reply_json(a, x, &b);
}

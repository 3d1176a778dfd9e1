/*
 * Owns the bodies of the endpoints that generate nothing. Loop thread. Must not change the engine.
 */
#include "api_admin.h"

#include <limits.h>

#include "base/jsonx.h"
#include "engine_stats.h"

static void reply_json(struct http_exchange *x, struct buf *b)
{
	http_reply(x, 200, "application/json", NULL, buf_head(b), buf_size(b));
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

void admin_health(struct api *a, struct http_exchange *x)
{
	(void)a;
	http_reply(x, 200, NULL, NULL, "", 0);
}

void admin_ready(struct api *a, struct http_exchange *x)
{
	http_reply(x, a->draining ? 503 : 200, NULL, NULL, "", 0);
}

void admin_load(struct api *a, struct http_exchange *x)
{
	struct buf b;

	buf_init(&b, SIZE_MAX);
	buf_printf(&b, "{\"server_load\":%d}", engine_in_flight(a->engine));
	reply_json(x, &b);
}

void admin_version(struct api *a, struct http_exchange *x)
{
	struct buf b;

	buf_init(&b, SIZE_MAX);
	buf_puts(&b, "{\"version\":");
	json_quote(&b, a->c.version);
	buf_putc(&b, '}');
	reply_json(x, &b);
}

void admin_models(struct api *a, struct http_exchange *x)
{
	long long created = (long long)a->started_s;
	struct buf b;

	buf_init(&b, SIZE_MAX);
	buf_puts(&b, "{\"object\":\"list\",\"data\":[");
	for (int i = 0; a->c.models[i]; i++) {
		buf_puts(&b, i ? ",{\"id\":" : "{\"id\":");
		json_quote(&b, a->c.models[i]);
		buf_printf(&b, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":", created);
		json_quote(&b, a->c.engine_name);
		buf_puts(&b, ",\"root\":");
		json_quote(&b, a->c.models[i]);
		buf_puts(&b, ",\"parent\":null,\"max_model_len\":");
		put_max_len(&b, a->terms.max_len);
		buf_printf(&b,
			   ",\"permission\":[{\"id\":\"modelperm-%016llx\",\"object\":\"model_"
			   "permission\","
			   "\"created\":%lld,\"allow_create_engine\":false,\"allow_sampling\":true,"
			   "\"allow_logprobs\":false,\"allow_search_indices\":false,\"allow_view\":"
			   "true,"
			   "\"allow_fine_tuning\":false,\"organization\":\"*\",\"group\":null,\"is_"
			   "blocking\":false}]}",
			   (unsigned long long)a->id_salt + (unsigned)i, created);
	}
	buf_puts(&b, "]}");
	reply_json(x, &b);
}

void admin_metrics(struct api *a, struct http_exchange *x)
{
	struct buf b;

	buf_init(&b, SIZE_MAX);
	engine_stats_show(engine_stats(a->engine), a->c.models[0], &b);
	http_reply(x, 200, "text/plain; version=1.0.0; charset=utf-8", NULL, buf_head(&b),
		   buf_size(&b));
	buf_release(&b);
}

void admin_tokenize(struct api *a, struct http_exchange *x)
{
	struct api_request q;
	struct api_error e;
	const char *body;
	struct buf b;
	size_t len;

	body = http_body(x, &len);
	if (!api_request_read(&q, API_TOKENIZE, body, len, &a->terms, &e)) {
		api_error_reply(x, &e);
		return;
	}
	if (q.n_prompts != 1) {
		api_refuse(&e, 400, API_BAD_VALUE, "prompt", "prompt: want one, got %d",
			   q.n_prompts);
		api_error_reply(x, &e);
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
	reply_json(x, &b);
}

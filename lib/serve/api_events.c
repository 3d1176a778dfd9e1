/*
 * Owns the order of fields. Loop thread; pure. Must not know exchanges, engines or tokens' text.
 * Written against the recorded bytes of vLLM 0.32.
 */
#include "api_events.h"

#include "base/check.h"
#include "base/jsonx.h"

/* Everything before the choices. */
static void put_common(struct buf *b, const struct answer_head *h, const char *object)
{
	buf_puts(b, "{\"id\":");
	json_quote(b, h->id);
	buf_printf(b, ",\"object\":\"%s\",\"created\":%lld,\"model\":", object,
		   (long long)h->created_s);
	json_quote(b, h->model);
	buf_puts(b, ",\"choices\":[");
}

static void put_event_start(struct buf *b, const struct answer_head *h)
{
	buf_puts(b, "data: ");
	put_common(b, h, h->kind == API_CHAT ? "chat.completion.chunk" : "text_completion");
}

static void put_fingerprint(struct buf *b, const struct answer_head *h)
{
	buf_puts(b, ",\"system_fingerprint\":");
	json_quote(b, h->fingerprint);
}

static void put_ids(struct buf *b, const int32_t *id, int32_t n)
{
	if (!id) {
		buf_puts(b, "null");
		return;
	}
	buf_putc(b, '[');
	for (int32_t i = 0; i < n; i++)
		buf_printf(b, "%s%d", i ? "," : "", id[i]);
	buf_putc(b, ']');
}

/* "reason","stop_reason":... or null. A chat event names the stop reason only when there is a
 * reason at all. */
static void put_finish(struct buf *b, enum api_kind kind, const struct choice_end *end)
{
	json_quote(b, end ? end->finish_reason : NULL);
	if (!end && kind == API_CHAT)
		return;
	buf_puts(b, ",\"stop_reason\":");
	json_quote(b, end ? end->stop : NULL);
}

void event_token(struct sse_template *t, const struct answer_head *h, int index,
		 int64_t prompt_tokens, const struct choice_end *end, const int32_t *prompt_ids,
		 int32_t n_prompt)
{
	struct buf *b = &t->text;

	put_event_start(b, h);
	buf_printf(b, "{\"index\":%d,%s", index,
		   h->kind == API_CHAT ? "\"delta\":{\"content\":\"" : "\"text\":\"");
	sse_hole(t, SSE_TEXT);
	buf_printf(b, "\"%s,\"logprobs\":null,\"finish_reason\":", h->kind == API_CHAT ? "}" : "");
	put_finish(b, h->kind, end);
	if (h->kind == API_COMPLETIONS) {
		buf_puts(b, ",\"prompt_token_ids\":");
		put_ids(b, prompt_ids, n_prompt);
	}
	buf_puts(b, ",\"token_ids\":null}]");
	if (h->continuous_usage) {
		buf_printf(b, ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":",
			   (long long)prompt_tokens);
		sse_hole(t, SSE_TOTAL);
		buf_puts(b, ",\"completion_tokens\":");
		sse_hole(t, SSE_COMPLETION);
		buf_puts(b, ",\"completion_tokens_details\":null}");
	}
	if (end && !h->include_usage)
		put_fingerprint(b, h);
	buf_puts(b, "}\n\n");
}

void event_role(struct buf *b, const struct answer_head *h, int index, int64_t prompt_tokens)
{
	put_event_start(b, h);
	buf_printf(b,
		   "{\"index\":%d,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":"
		   "null,"
		   "\"finish_reason\":null}]",
		   index);
	if (h->continuous_usage)
		buf_printf(b,
			   ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":%lld,\"completion_"
			   "tokens\":0,"
			   "\"completion_tokens_details\":null}",
			   (long long)prompt_tokens, (long long)prompt_tokens);
	buf_puts(b, ",\"prompt_token_ids\":null,\"prompt_text\":null}\n\n");
}

static void put_usage(struct buf *b, const struct usage *u)
{
	buf_printf(b,
		   ",\"usage\":{\"prompt_tokens\":%lld,\"total_tokens\":%lld,\"completion_tokens\":"
		   "%lld",
		   (long long)u->prompt_tokens, (long long)u->prompt_tokens + u->completion_tokens,
		   (long long)u->completion_tokens);
}

void event_usage(struct buf *b, const struct answer_head *h, const struct usage *u)
{
	put_event_start(b, h);
	buf_putc(b, ']');
	put_usage(b, u);
	buf_putc(b, '}');
	put_fingerprint(b, h);
	buf_puts(b, "}\n\n");
}

void body_start(struct buf *b, const struct answer_head *h)
{
	put_common(b, h, h->kind == API_CHAT ? "chat.completion" : "text_completion");
}

void body_choice(struct buf *b, const struct answer_head *h, int index, const char *text,
		 size_t len, const struct choice_end *end, const int32_t *prompt_ids,
		 int32_t n_prompt)
{
	const bool chat = h->kind == API_CHAT;

	buf_printf(b, "%s{\"index\":%d,%s", index ? "," : "", index,
		   chat ? "\"message\":{\"role\":\"assistant\",\"content\":\"" : "\"text\":\"");
	CHECK(json_escape(b, text, len));
	buf_printf(b, "\"%s,\"logprobs\":null,\"finish_reason\":",
		   chat ? ",\"refusal\":null,\"annotations\":null,\"audio\":null,\"function_call\":"
			  "null,"
			  "\"reasoning\":null}"
			: "");
	put_finish(b, h->kind, end);
	buf_puts(b, ",\"token_ids\":null");
	if (!chat) {
		buf_puts(b, ",\"prompt_logprobs\":null,\"prompt_token_ids\":");
		put_ids(b, prompt_ids, n_prompt);
	}
	buf_puts(b, ",\"routed_experts\":null}");
}

void body_end(struct buf *b, const struct answer_head *h, const struct usage *u)
{
	buf_puts(b, "],\"service_tier\":null");
	put_fingerprint(b, h);
	put_usage(b, u);
	buf_puts(b, ",\"prompt_tokens_details\":null,\"completion_tokens_details\":null}");
	if (h->kind == API_CHAT)
		buf_puts(
			b,
			",\"prompt_logprobs\":null,\"prompt_token_ids\":null,\"prompt_text\":null");
	buf_puts(b, ",\"kv_transfer_params\":null,\"ec_transfer_params\":null,\"metrics\":null}");
}

/*
 * Owns the JSON of logprobs. Loop thread; pure. Must not know where the numbers come from.
 */
#include "logprobs.h"

#include <math.h>

#include "base/jsonx.h"
#include "base/utf8.h"

#define MAX_TOKEN_BYTES 4096

/* JSON has no infinity; this is what OpenAI's API writes for a token that cannot come. */
#define LEAST_LOGPROB (-9999.0)

/* Not the first of an answer, so that a leading blank shows. */
static void decode(const struct textcodec *codec, int32_t token, struct buf *out)
{
	buf_init(out, MAX_TOKEN_BYTES);
	codec->decode(codec, token, 1, out);
}

static void put_number(struct buf *b, float logprob)
{
	buf_printf(b, "%.6g", isfinite(logprob) ? logprob : LEAST_LOGPROB);
}

static void put_token(struct buf *b, const struct textcodec *codec, int32_t token)
{
	struct buf text;

	decode(codec, token, &text);
	buf_putc(b, '"');
	json_escape(b, buf_head(&text), buf_size(&text));
	buf_putc(b, '"');
	buf_release(&text);
}

/* A token may be a part of a character: its bytes are told, too. */
static void put_entry(struct buf *b, const struct textcodec *codec, const struct token_logprob *p)
{
	struct buf text;

	decode(codec, p->token, &text);
	buf_puts(b, "{\"token\":");
	put_token(b, codec, p->token);
	buf_puts(b, ",\"logprob\":");
	put_number(b, p->logprob);
	buf_puts(b, ",\"bytes\":[");
	for (size_t i = 0; i < buf_size(&text); i++)
		buf_printf(b, "%s%d", i > 0 ? "," : "", (unsigned char)buf_head(&text)[i]);
	buf_putc(b, ']');
	buf_release(&text);
}

void logprobs_put_chat(struct buf *b, const struct logprob_rows *r)
{
	if (!r->entry) {
		buf_puts(b, "null");
		return;
	}
	buf_puts(b, "{\"content\":[");
	for (int32_t i = 0; i < r->n_tokens; i++) {
		const struct token_logprob *p = r->entry + (int64_t)i * (1 + r->n_alternatives);

		buf_puts(b, i > 0 ? "," : "");
		put_entry(b, r->codec, p);
		buf_puts(b, ",\"top_logprobs\":[");
		for (int32_t k = 1; k <= r->n_alternatives; k++) {
			buf_puts(b, k > 1 ? "," : "");
			put_entry(b, r->codec, p + k);
			buf_putc(b, '}');
		}
		buf_puts(b, "]}");
	}
	buf_puts(b, "]}");
}

static int64_t text_length(const struct textcodec *codec, int32_t token)
{
	struct buf text;
	int64_t n = 0;
	uint32_t c;
	size_t used;

	decode(codec, token, &text);
	for (size_t at = 0; at < buf_size(&text); at += used, n++) {
		used = utf8_decode(buf_head(&text) + at, buf_size(&text) - at, &c);
		if (used == 0) /* a byte of a character that others complete, or of none */
			used = 1;
	}
	buf_release(&text);
	return n;
}

int64_t logprobs_text_length(const struct logprob_rows *r)
{
	int64_t n = 0;

	for (int32_t i = 0; r->entry && i < r->n_tokens; i++)
		n += text_length(r->codec, r->entry[(int64_t)i * (1 + r->n_alternatives)].token);
	return n;
}

static void put_top(struct buf *b, const struct logprob_rows *r, const struct token_logprob *p)
{
	buf_putc(b, '{');
	for (int32_t k = 1; k <= r->n_alternatives; k++) {
		buf_puts(b, k > 1 ? "," : "");
		put_token(b, r->codec, p[k].token);
		buf_putc(b, ':');
		put_number(b, p[k].logprob);
	}
	buf_putc(b, '}');
}

void logprobs_put_text(struct buf *b, const struct logprob_rows *r, int64_t offset)
{
	int32_t stride = 1 + r->n_alternatives;

	if (!r->entry) {
		buf_puts(b, "null");
		return;
	}
	buf_puts(b, "{\"text_offset\":[");
	for (int32_t i = 0; i < r->n_tokens; i++) {
		buf_printf(b, "%s%lld", i > 0 ? "," : "", (long long)offset);
		offset += text_length(r->codec, r->entry[(int64_t)i * stride].token);
	}
	buf_puts(b, "],\"token_logprobs\":[");
	for (int32_t i = 0; i < r->n_tokens; i++) {
		buf_puts(b, i > 0 ? "," : "");
		put_number(b, r->entry[(int64_t)i * stride].logprob);
	}
	buf_puts(b, "],\"tokens\":[");
	for (int32_t i = 0; i < r->n_tokens; i++) {
		buf_puts(b, i > 0 ? "," : "");
		put_token(b, r->codec, r->entry[(int64_t)i * stride].token);
	}
	buf_puts(b, "],\"top_logprobs\":[");
	for (int32_t i = 0; i < r->n_tokens; i++) {
		buf_puts(b, i > 0 ? "," : "");
		put_top(b, r, r->entry + (int64_t)i * stride);
	}
	buf_puts(b, "]}");
}

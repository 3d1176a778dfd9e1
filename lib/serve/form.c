/*
 * Owns the places a form may have. Loop thread; pure but for the wall clock behind $now. Must not
 * know any engine's forms. loadgen reads events with code of its own (loadgen/sse_in.h): a mistake
 * shared by both ends would not show in any test.
 */
#include "form.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "base/utf8.h"

/* ---- values ---- */

/* What json_escape() has written, with escapes for all that is not ASCII. */
static void put_ascii(struct buf *b, const char *s, size_t len)
{
	struct buf escaped;
	uint32_t c;

	buf_init(&escaped, SIZE_MAX);
	json_escape(&escaped, s, len);
	s = buf_head(&escaped);
	len = buf_size(&escaped);
	for (size_t n; len > 0; s += n, len -= n) {
		n = utf8_decode(s, len, &c);
		CHECK(n > 0);
		if (c < 0x80)
			buf_putc(b, (char)c);
		else if (c < 0x10000)
			buf_printf(b, "\\u%04x", c);
		else
			buf_printf(b, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10),
				   0xdc00 + ((c - 0x10000) & 0x3ff));
	}
	buf_release(&escaped);
}

static void put_text(struct buf *b, const struct form_values *v, const char *s, size_t len)
{
	if (v->ascii)
		put_ascii(b, s, len);
	else
		json_escape(b, s, len);
}

static void put_string(struct buf *b, const struct form_values *v, const char *s)
{
	if (s)
		put_text(b, v, s, strlen(s));
}

static void put_quoted(struct buf *b, const struct form_values *v, const char *s)
{
	if (!s) {
		buf_puts(b, "null");
		return;
	}
	buf_putc(b, '"');
	put_string(b, v, s);
	buf_putc(b, '"');
}

static void put_ids(struct buf *b, const int32_t *id, int64_t n)
{
	buf_putc(b, '[');
	for (int64_t i = 0; i < n; i++) {
		if (i > 0)
			buf_putc(b, ',');
		buf_putint(b, id[i]);
	}
	buf_putc(b, ']');
}

/* ---- places ---- */

#define PLACE(name, statement)                                                                     \
	static void place_##name(struct buf *b, const struct form_values *v)                       \
	{                                                                                          \
		statement;                                                                         \
	}

PLACE(id, put_string(b, v, v->id))
PLACE(model, put_string(b, v, v->model))
PLACE(engine, put_string(b, v, v->engine))
PLACE(fingerprint, put_string(b, v, v->fingerprint))
PLACE(created, buf_putint(b, v->created_s))
PLACE(index, buf_putint(b, v->index))
PLACE(prompt, put_string(b, v, v->prompt))
PLACE(prompt_tokens, buf_putint(b, v->prompt_tokens))
PLACE(cached, buf_putint(b, v->cached_tokens))
static void place_context(struct buf *b, const struct form_values *v)
{
	if (v->max_tokens == INT32_MAX) /* stands for no limit */
		buf_puts(b, "null");
	else
		buf_putint(b, v->max_tokens);
}

PLACE(max_tokens, buf_putint(b, v->max_tokens))
PLACE(temperature, buf_printf(b, "%.17g", v->temperature))
PLACE(seed, buf_putint(b, v->seed))
PLACE(text, put_text(b, v, v->text, v->len))
PLACE(whole, put_text(b, v, v->whole, v->whole_len))
PLACE(token, buf_putint(b, v->token))
PLACE(tokens, put_ids(b, v->token_id, v->completion_tokens))
PLACE(completion_tokens, buf_putint(b, v->completion_tokens))
PLACE(total_tokens, buf_putint(b, v->prompt_tokens + v->completion_tokens))
PLACE(resident_tokens, buf_putint(b, v->prompt_tokens + v->completion_tokens - 1))
PLACE(latency_s, buf_printf(b, "%.6f", v->prefill_s + v->decode_s))
PLACE(logprobs, logprobs_put_chat(b, &v->logprobs))
PLACE(logprobs_text, logprobs_put_text(b, &v->logprobs, v->text_offset))
PLACE(finish, put_quoted(b, v, v->finish))
PLACE(stop, put_quoted(b, v, v->stop))
PLACE(stop_text, put_string(b, v, v->stop))
PLACE(message, put_string(b, v, v->message))
PLACE(type, put_string(b, v, v->type))
PLACE(param, put_quoted(b, v, v->param && * v->param ? v->param : NULL))
PLACE(status, buf_putint(b, v->status))
static void place_now(struct buf *b, const struct form_values *v)
{
	(void)v;
	buf_putint(b, time(NULL));
}

static void place_prompt_ids(struct buf *b, const struct form_values *v)
{
	if (v->flags & FORM_FLAG('e'))
		put_ids(b, v->prompt_id, v->prompt_tokens);
	else
		buf_puts(b, "null");
}

static void place_stops(struct buf *b, const struct form_values *v)
{
	buf_putc(b, '[');
	for (size_t i = 0; v->stops && i < v->stops->n; i++) {
		buf_puts(b, i > 0 ? "," : "");
		put_quoted(b, v, v->stops->text[i]);
	}
	buf_putc(b, ']');
}

/* llama.cpp's clock of the two phases. A single token takes it a microsecond. */
static void place_timings(struct buf *b, const struct form_values *v)
{
	double prompt_ms = v->prefill_s * 1e3, decode_ms = v->decode_s * 1e3;
	int64_t fresh = v->prompt_tokens - v->cached_tokens, n = v->completion_tokens;

	if (decode_ms <= 0)
		decode_ms = 0.001;
	buf_printf(b,
		   "{\"cache_n\":%lld,\"prompt_n\":%lld,\"prompt_ms\":%.3f,\"prompt_per_token_ms\":"
		   "%.6f,\"prompt_per_second\":%.6f,",
		   (long long)v->cached_tokens, (long long)fresh, prompt_ms,
		   fresh > 0 ? prompt_ms / (double)fresh : 0,
		   prompt_ms > 0 ? (double)fresh * 1e3 / prompt_ms : 0);
	buf_printf(b,
		   "\"predicted_n\":%lld,\"predicted_ms\":%.3f,\"predicted_per_token_ms\":%.6f,"
		   "\"predicted_per_second\":%.6f}",
		   (long long)n, decode_ms, n > 1 ? decode_ms / (double)(n - 1) : 0,
		   n > 1 ? (double)(n - 1) * 1e3 / decode_ms : 0);
}

/* SGLang says how an answer ended in an object. */
static void place_finish_object(struct buf *b, const struct form_values *v)
{
	if (!v->finish) {
		buf_puts(b, "null");
	} else if (strcmp(v->finish, "length") == 0) {
		buf_printf(b, "{\"type\":\"length\",\"length\":%lld}",
			   (long long)v->completion_tokens);
	} else {
		buf_printf(b, "{\"type\":\"%s\",\"matched\":", v->finish);
		put_quoted(b, v, v->stop);
		buf_putc(b, '}');
	}
}

/* When a place says something else than in the event before, of the same choice. */
enum change {
	LASTS,	  /* never */
	AT_END,	  /* in its last event alone */
	IF_ASKED, /* if probabilities were asked for */
	CHANGES,
};

static const struct place {
	const char *name;
	enum change change;
	void (*put)(struct buf *b, const struct form_values *v);
} places[] = {
	{"id", LASTS, place_id},
	{"model", LASTS, place_model},
	{"fingerprint", LASTS, place_fingerprint},
	{"created", LASTS, place_created},
	{"index", LASTS, place_index},
	{"prompt", LASTS, place_prompt},
	{"prompt_ids", LASTS, place_prompt_ids},
	{"prompt_tokens", LASTS, place_prompt_tokens},
	{"cached", CHANGES, place_cached}, /* known with the first token */
	{"max_tokens", LASTS, place_max_tokens},
	{"context", LASTS, place_context},
	{"engine", LASTS, place_engine},
	{"temperature", LASTS, place_temperature},
	{"seed", LASTS, place_seed},
	{"stops", LASTS, place_stops},
	{"now", CHANGES, place_now},
	{"text", CHANGES, place_text},
	{"whole", CHANGES, place_whole},
	{"token", CHANGES, place_token},
	{"tokens", CHANGES, place_tokens},
	{"completion_tokens", CHANGES, place_completion_tokens},
	{"total_tokens", CHANGES, place_total_tokens},
	{"resident_tokens", CHANGES, place_resident_tokens},
	{"latency_s", CHANGES, place_latency_s},
	{"timings", CHANGES, place_timings},
	{"logprobs", IF_ASKED, place_logprobs},
	{"logprobs_text", IF_ASKED, place_logprobs_text},
	{"finish", AT_END, place_finish},
	{"finish_object", AT_END, place_finish_object},
	{"stop", AT_END, place_stop},
	{"stop_text", AT_END, place_stop_text},
	{"message", CHANGES, place_message},
	{"type", CHANGES, place_type},
	{"param", CHANGES, place_param},
	{"status", CHANGES, place_status},
};

static const struct place *find_place(const char *name, size_t len)
{
	for (size_t i = 0; i < ARRAY_LEN(places); i++)
		if (len > 0 && places[i].name[0] == name[0] &&
		    strncmp(places[i].name, name, len) == 0 && places[i].name[len] == '\0')
			return &places[i];
	return NULL;
}

/* What an event in the middle has to fill in. */
static bool is_hole(const struct place *p, const struct form_values *v)
{
	return p->change == CHANGES || (p->change == IF_ASKED && v->flags & FORM_FLAG('l'));
}

/* ---- reading a form ---- */

enum piece_kind {
	PIECE_END,
	PIECE_TEXT,
	PIECE_PLACE,
	PIECE_IF,     /* $?x{ */
	PIECE_UNLESS, /* $!x{ */
	PIECE_CLOSE,  /* $} */
	PIECE_WRONG,
};

struct piece {
	enum piece_kind kind;
	const char *at;
	size_t len;
	const struct place *place;
	char flag;
};

static struct piece next_piece(const char *s)
{
	struct piece p = {.kind = PIECE_TEXT, .at = s, .len = strcspn(s, "$")};

	if (!*s)
		p.kind = PIECE_END;
	if (p.len > 0 || !*s)
		return p;
	if (s[1] == '}') {
		p.kind = PIECE_CLOSE;
		p.len = 2;
	} else if ((s[1] == '?' || s[1] == '!') && s[2] >= 'a' && s[2] <= 'z' && s[3] == '{') {
		p.kind = s[1] == '?' ? PIECE_IF : PIECE_UNLESS;
		p.flag = s[2];
		p.len = 4;
	} else {
		size_t n = 0;

		while ((s[1 + n] >= 'a' && s[1 + n] <= 'z') || s[1 + n] == '_')
			n++;
		p.place = find_place(s + 1, n);
		p.kind = p.place ? PIECE_PLACE : PIECE_WRONG;
		p.len = n + 1;
	}
	return p;
}

/* The fixed part of a form; ' stands for a double quote. */
static void put_fixed(struct buf *b, const char *s, size_t len)
{
	for (const char *quote; (quote = memchr(s, '\'', len)); s = quote + 1) {
		buf_append(b, s, (size_t)(quote - s));
		buf_putc(b, '"');
		len -= (size_t)(quote - s) + 1;
	}
	buf_append(b, s, len);
}

struct holes {
	struct form_hole hole[FORM_MAX_HOLES];
	uint8_t n;
};

/* Walks over the form; what has to wait for its moment becomes a hole, if they are wanted. */
static void walk(const char *text, const struct form_values *v, struct buf *b, struct holes *h)
{
	struct piece p;
	bool shown = true;

	for (const char *s = text; (p = next_piece(s)).kind != PIECE_END; s += p.len) {
		switch (p.kind) {
		case PIECE_TEXT:
			if (shown)
				put_fixed(b, p.at, p.len);
			break;
		case PIECE_PLACE:
			if (!shown)
				break;
			if (h && is_hole(p.place, v)) {
				CHECK(h->n < FORM_MAX_HOLES);
				h->hole[h->n++] =
					(struct form_hole){.at = (uint32_t)buf_size(b),
							   .place = (uint8_t)(p.place - places)};
			} else {
				p.place->put(b, v);
			}
			break;
		case PIECE_IF:
		case PIECE_UNLESS:
			shown = !(v->flags & FORM_FLAG(p.flag)) == (p.kind == PIECE_UNLESS);
			break;
		case PIECE_CLOSE:
			shown = true;
			break;
		case PIECE_END:
		case PIECE_WRONG:
			CHECK(!"a form that form_check() refuses");
		}
	}
}

const char *form_check(const char *text)
{
	struct piece p;
	bool open = false;
	int holes = 0;

	for (const char *s = text; (p = next_piece(s)).kind != PIECE_END; s += p.len) {
		if (p.kind == PIECE_WRONG)
			return "no such place";
		if (p.kind == PIECE_IF || p.kind == PIECE_UNLESS) {
			if (open)
				return "a condition inside a condition";
			open = true;
		}
		if (p.kind == PIECE_CLOSE) {
			if (!open)
				return "$} without its beginning";
			open = false;
		}
		holes += p.kind == PIECE_PLACE && p.place->change != LASTS;
	}
	if (holes > FORM_MAX_HOLES)
		return "too many places for one form";
	return open ? "a condition without its $}" : NULL;
}

void form_init(struct form *f)
{
	memset(f, 0, sizeof(*f));
}

void form_release(struct form *f)
{
	free(f->hole);
	form_init(f);
}

/* It lives as long as its stream: no byte is kept that is not its own. */
void form_prepare(struct form *f, const char *text, const struct form_values *v)
{
	struct holes h = {.n = 0};
	struct buf b;

	buf_init(&b, UINT32_MAX);
	walk(text, v, &b, &h);
	f->len = (uint32_t)buf_size(&b);
	f->n_holes = h.n;
	f->hole = xmalloc(form_bytes(f));
	memcpy(f->hole, h.hole, h.n * sizeof(*h.hole));
	memcpy(f->hole + h.n, buf_head(&b), f->len);
	f->text_only = true;
	for (int i = 0; i < h.n; i++)
		f->text_only = f->text_only && places[h.hole[i].place].put == place_text;
	buf_release(&b);
}

void form_fill(const struct form *f, const struct form_values *v, struct buf *b)
{
	const char *fixed = (const char *)(f->hole + f->n_holes);
	uint32_t from = 0;

	for (int i = 0; i < f->n_holes; i++) {
		buf_append(b, fixed + from, f->hole[i].at - from);
		from = f->hole[i].at;
		places[f->hole[i].place].put(b, v);
	}
	buf_append(b, fixed + from, f->len - from);
}

void form_put(struct buf *b, const char *text, const struct form_values *v)
{
	walk(text, v, b, NULL);
}

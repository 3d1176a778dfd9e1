/*
 * Owns the kinds of faults: one row each, with what it does at admission, at the head, to every
 * event, and once at its token. Loop thread. Must not know how answers are made, nor which server
 * is played: it works on the bytes of events.
 */
#include "fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "base/rng.h"
#include "base/units.h"
#include "base/yamlx.h"
#include "fault_stream.h"

#define HEADER	   "x-fault"
#define SPLIT_NS   (2 * NS_PER_MS) /* so that the halves come in two reads */
#define LAST_CHUNK "0\r\n\r\n"

/* One answer that a fault has got hold of. */
struct victim {
	struct fault_stream s; /* first */
	struct fault f;
	bool chat;
	bool had_role, acted;
	int32_t tokens; /* events with tokens that have come by */
	char *usage;	/* the last one seen, as JSON, or NULL */
};

struct fault_kind {
	const char *name, *help;
	int64_t usual_ns;    /* VALUE if it is not said; 0: there is none to say */
	int status;	     /* refused with it */
	int32_t usual_token; /* TOKEN likewise */

	/* Each may be NULL. */
	void (*admit)(const struct fault *f, struct admission *out);
	void (*begin)(struct victim *v); /* in the place of sending the head */
	/* Of each event. True: that is all that leaves of it. */
	bool (*event)(struct victim *v, enum outlet_event what, const char *data, size_t len);
	/* Once, as the event behind token TOKEN is to leave, or the last. True as above. */
	bool (*act)(struct victim *v, const char *data, size_t len);
	void (*end)(struct victim *v);
};

/* ---- before the answer ---- */

static void refuse(const struct fault *f, struct admission *out)
{
	out->status = f->kind->status;
	out->retry_after_s = (int)((f->value_ns + NS_PER_S - 1) / NS_PER_S);
	out->message = "a planned fault";
}

static void delay(const struct fault *f, struct admission *out)
{
	out->delay_ns = f->value_ns;
}

static void answer_whole(const struct fault *f, struct admission *out)
{
	(void)f;
	out->whole = true;
}

static void head_late(struct victim *v)
{
	fault_stream_wait(&v->s, v->f.value_ns);
	fault_stream_head(&v->s);
}

static void no_head(struct victim *v)
{
	fault_stream_abort(&v->s, "", 0, false);
}

static void html(struct victim *v)
{
	static const char page[] = "<!DOCTYPE html>\n<html><head><title>Bad gateway</title></head>"
				   "<body><h1>Bad gateway</h1></body></html>\n";

	v->s.content_type = "text/html";
	fault_stream_reply(&v->s, page, strlen(page));
}

/* ---- at a token ---- */

static bool cut_fin(struct victim *v, const char *data, size_t len)
{
	(void)data;
	(void)len;
	fault_stream_abort(&v->s, "", 0, false);
	return true;
}

static bool cut_rst(struct victim *v, const char *data, size_t len)
{
	(void)data;
	(void)len;
	fault_stream_abort(&v->s, "", 0, true);
	return true;
}

static bool half_chunk(struct victim *v, const char *data, size_t len)
{
	struct buf b;

	buf_init(&b, SIZE_MAX);
	buf_printf(&b, "%zx\r\n", len);
	buf_append(&b, data, len / 2);
	fault_stream_abort(&v->s, buf_head(&b), buf_size(&b), false);
	buf_release(&b);
	return true;
}

static bool stall(struct victim *v, const char *data, size_t len)
{
	(void)data;
	(void)len;
	fault_stream_wait(&v->s, v->f.value_ns);
	return false;
}

/* The stream ends as it should, but for what it says. */
static bool error_event(struct victim *v, const char *data, size_t len)
{
	static const char error[] = "data: {\"error\":{\"message\":\"a planned "
				    "fault\",\"type\":\"InternalServerError\","
				    "\"param\":null,\"code\":500}}\n\n";
	static const char done[] = "data: [DONE]\n\n";

	(void)data;
	(void)len;
	fault_stream_chunk(&v->s, error, strlen(error));
	fault_stream_chunk(&v->s, done, strlen(done));
	fault_stream_abort(&v->s, LAST_CHUNK, strlen(LAST_CHUNK), false);
	return true;
}

/* Where the text of an event begins, or NULL. */
static const char *find_text(const char *data, size_t len)
{
	static const char *const keys[] = {"\"content\":", "\"text\":"};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const char *at = memmem(data, len, keys[i], strlen(keys[i]));

		if (!at)
			continue;
		at += strlen(keys[i]);
		while (at < data + len && *at == ' ')
			at++;
		if (at < data + len && *at == '"')
			return at + 1;
	}
	return NULL;
}

/* A character of three bytes is put before the text; the first of them leaves with what stands
 * before it, the others later. */
static bool split_utf8(struct victim *v, const char *data, size_t len)
{
	static const char sign[] = "\xe4\xbd\xa0";
	const char *text = find_text(data, len);
	struct buf b;

	if (!text) {
		v->acted = false; /* the next one may have a text */
		return false;
	}
	buf_init(&b, SIZE_MAX);
	buf_append(&b, data, (size_t)(text - data));
	buf_append(&b, sign, 1);
	fault_stream_chunk(&v->s, buf_head(&b), buf_size(&b));
	fault_stream_wait(&v->s, SPLIT_NS);
	buf_clear(&b);
	buf_puts(&b, sign + 1);
	buf_append(&b, text, (size_t)(data + len - text));
	fault_stream_chunk(&v->s, buf_head(&b), buf_size(&b));
	buf_release(&b);
	return true;
}

/* ---- of each event ---- */

static bool crlf(struct victim *v, enum outlet_event what, const char *data, size_t len)
{
	struct buf b;

	(void)what;
	buf_init(&b, SIZE_MAX);
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n')
			buf_putc(&b, '\r');
		buf_putc(&b, data[i]);
	}
	fault_stream_chunk(&v->s, buf_head(&b), buf_size(&b));
	buf_release(&b);
	return true;
}

static bool no_space(struct victim *v, enum outlet_event what, const char *data, size_t len)
{
	struct buf b;

	(void)what;
	buf_init(&b, SIZE_MAX);
	for (size_t i = 0; i < len; i++)
		if (!(i >= 5 && data[i] == ' ' && memcmp(data + i - 5, "data:", 5) == 0 &&
		      (i == 5 || data[i - 6] == '\n')))
			buf_putc(&b, data[i]);
	fault_stream_chunk(&v->s, buf_head(&b), buf_size(&b));
	buf_release(&b);
	return true;
}

static bool comments(struct victim *v, enum outlet_event what, const char *data, size_t len)
{
	static const char comment[] = ": keep-alive\n\n";

	(void)what;
	(void)data;
	(void)len;
	fault_stream_chunk(&v->s, comment, strlen(comment));
	return false;
}

static bool role_first(struct victim *v, enum outlet_event what, const char *data, size_t len)
{
	static const char chat[] =
		"data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{"
		"\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n";
	static const char text[] =
		"data: {\"object\":\"text_completion\",\"choices\":[{\"index\":0,"
		"\"text\":\"\",\"finish_reason\":null}]}\n\n";

	(void)what;
	(void)data;
	(void)len;
	if (!v->had_role)
		fault_stream_chunk(&v->s, v->chat ? chat : text, strlen(v->chat ? chat : text));
	v->had_role = true;
	return false;
}

static bool no_done(struct victim *v, enum outlet_event what, const char *data, size_t len)
{
	(void)v;
	(void)data;
	(void)len;
	return what == OUT_DONE;
}

static bool nothing(struct victim *v, enum outlet_event what, const char *data, size_t len)
{
	(void)v;
	(void)data;
	(void)len;
	return what != OUT_DONE;
}

/* Takes the usage out of one event and keeps it. An event that had nothing else is left out. */
static void put_without_usage(struct victim *v, const char *json, size_t len, struct buf *b)
{
	cJSON *o = NULL, *usage;
	struct buf text;

	if (json_parse(&o, json, len, NULL) != RC_OK || !cJSON_IsObject(o)) {
		buf_printf(b, "data: %.*s\n\n", (int)len, json);
		cJSON_Delete(o);
		return;
	}
	buf_init(&text, SIZE_MAX);
	usage = cJSON_DetachItemFromObjectCaseSensitive(o, "usage");
	if (cJSON_IsObject(usage)) {
		json_print(&text, usage, false);
		free(v->usage);
		v->usage = buf_take(&text);
	}
	if (!usage || cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(o, "choices")) > 0) {
		buf_puts(b, "data: ");
		json_print(b, o, false);
		buf_puts(b, "\n\n");
	}
	cJSON_Delete(usage);
	cJSON_Delete(o);
	buf_release(&text);
}

/* What a chunk holds, event by event. */
static bool no_usage(struct victim *v, enum outlet_event what, const char *data, size_t len)
{
	const char *end = data + len, *next;
	struct buf b;

	if (what == OUT_DONE)
		return false;
	buf_init(&b, SIZE_MAX);
	for (const char *at = data; at < end; at = next) {
		const char *blank = memmem(at, (size_t)(end - at), "\n\n", 2);

		CHECK(blank && blank - at > 5);
		next = blank + 2;
		at += at[5] == ' ' ? 6 : 5;
		put_without_usage(v, at, (size_t)(blank - at), &b);
	}
	if (buf_size(&b) > 0)
		fault_stream_chunk(&v->s, buf_head(&b), buf_size(&b));
	buf_release(&b);
	return true;
}

static void send_usage(struct victim *v)
{
	struct buf b;

	if (!v->usage)
		return;
	buf_init(&b, SIZE_MAX);
	buf_printf(&b, "data: {\"object\":\"%s\",\"choices\":[],\"usage\":%s}\n\n",
		   v->chat ? "chat.completion.chunk" : "text_completion", v->usage);
	fault_stream_chunk(&v->s, buf_head(&b), buf_size(&b));
	buf_release(&b);
}

static bool usage_twice(struct victim *v, enum outlet_event what, const char *data, size_t len)
{
	if (what != OUT_DONE)
		return no_usage(v, what, data, len);
	send_usage(v);
	send_usage(v);
	return false;
}

/* ---- the kinds ---- */

static const struct fault_kind kinds[] = {
	{"400", "refused", .status = 400, .admit = refuse},
	{"401", "refused", .status = 401, .admit = refuse},
	{"404", "refused", .status = 404, .admit = refuse},
	{"429", "refused; Retry-After says VALUE", .usual_ns = NS_PER_S, .status = 429,
	 .admit = refuse},
	{"500", "refused", .status = 500, .admit = refuse},
	{"503", "refused", .status = 503, .admit = refuse},
	{"slow_accept", "the request is not looked at for VALUE", .usual_ns = NS_PER_S,
	 .admit = delay},
	{"slow_headers", "a stream's head comes late by VALUE", .usual_ns = NS_PER_S,
	 .begin = head_late},
	{"no_answer", "the connection closes in the place of a stream", .begin = no_head},
	{"html", "a page of HTML comes instead of a stream", .begin = html},
	{"json", "a whole JSON answer comes instead of a stream", .admit = answer_whole},
	{"empty", "the stream has no event but its end", .event = nothing},
	{"cut_fin", "the connection closes", .usual_token = 3, .act = cut_fin},
	{"cut_rst", "the connection is reset", .usual_token = 3, .act = cut_rst},
	{"half_chunk", "the connection closes in the middle of a chunk", .usual_token = 3,
	 .act = half_chunk},
	{"stall", "nothing comes for VALUE", .usual_ns = NS_PER_S, .usual_token = 3, .act = stall},
	{"error_event", "an error comes as an event, and the stream ends", .usual_token = 3,
	 .act = error_event},
	{"split_utf8", "a character is torn between two chunks", .usual_token = 3,
	 .act = split_utf8},
	{"crlf", "lines end with CR LF", .event = crlf},
	{"no_space", "no blank follows \"data:\"", .event = no_space},
	{"comments", "a comment comes before each event", .event = comments},
	{"role_first", "an event without text comes first", .event = role_first},
	{"no_done", "no [DONE]", .event = no_done},
	{"usage_twice", "the usage comes twice", .event = usage_twice},
	{"no_usage", "no usage, though asked for", .event = no_usage},
	{"late_usage", "the usage comes after [DONE]", .event = no_usage, .end = send_usage},
};

/* ---- the outlet ---- */

static void victim_begin(struct outlet *o, struct http_exchange *x, const char *content_type,
			 const char *extra, void *owner, void (*on_gone)(void *owner))
{
	struct victim *v = (struct victim *)o;

	fault_stream_take(&v->s, x, content_type, extra, owner, on_gone);
	if (v->f.kind->begin)
		v->f.kind->begin(v);
	else
		fault_stream_head(&v->s);
}

static void victim_event(struct outlet *o, enum outlet_event what, const char *data, size_t len,
			 bool more)
{
	struct victim *v = (struct victim *)o;
	const struct fault_kind *k = v->f.kind;
	bool is_token = what == OUT_TOKEN || what == OUT_LAST;

	(void)more; /* each in a send of its own */
	if (k->event && k->event(v, what, data, len))
		return;
	if (k->act && !v->acted && is_token && (v->tokens >= v->f.at_token || what == OUT_LAST)) {
		v->acted = true;
		if (k->act(v, data, len))
			return;
	}
	v->tokens += is_token;
	fault_stream_chunk(&v->s, data, len);
}

static void victim_end(struct outlet *o)
{
	struct victim *v = (struct victim *)o;

	if (v->f.kind->end)
		v->f.kind->end(v);
	fault_stream_end(&v->s);
}

/* An answer that is no stream is not disturbed here. */
static void victim_reply(struct outlet *o, struct http_exchange *x, const char *content_type,
			 const char *extra, const char *body, size_t len)
{
	struct victim *v = (struct victim *)o;

	http_reply(x, 200, content_type, extra, body, len);
	fault_stream_drop(&v->s);
}

static void victim_drop(struct outlet *o)
{
	fault_stream_drop(&((struct victim *)o)->s);
}

static void victim_release(struct fault_stream *s)
{
	free(((struct victim *)s)->usage);
}

static const struct outlet_type victim_type = {
	.begin = victim_begin,
	.event = victim_event,
	.end = victim_end,
	.reply = victim_reply,
	.drop = victim_drop,
};

/* ---- who is hit ---- */

struct faults {
	const struct fault_list *list;
	uint64_t seed, n_requests;
	struct evloop *loop;
};

struct faults *faults_new(const struct fault_list *l, uint64_t seed, struct evloop *loop)
{
	struct faults *f = xcalloc(1, sizeof(*f));

	f->list = l;
	f->seed = seed;
	f->loop = loop;
	return f;
}

void faults_free(struct faults *f)
{
	free(f);
}

static const struct fault *draw(const struct fault_list *l, struct rng *rng)
{
	for (size_t i = 0; i < l->n; i++)
		if (rng_unit(rng) < l->item[i].rate)
			return &l->item[i];
	return NULL;
}

void faults_admit(struct http_exchange *x, struct admission *out, void *arg)
{
	const char *forced = http_header(x, HEADER);
	struct faults *f = arg;
	const struct fault *hit;
	struct victim *v;
	struct fault own;
	struct rng rng;
	struct err e;

	rng_init(&rng, f->seed, "faults", f->n_requests++); /* whoever forces what */
	if (!forced) {
		hit = draw(f->list, &rng);
	} else {
		if (fault_parse(&own, forced, &e)) {
			out->status = 400;
			out->message = "X-Fault: no such fault, or not so";
			return;
		}
		hit = draw(&(struct fault_list){&own, 1}, &rng);
	}
	if (!hit)
		return;
	if (hit->kind->admit) {
		hit->kind->admit(hit, out);
		return;
	}
	v = xcalloc(1, sizeof(*v));
	fault_stream_init(&v->s, &victim_type, f->loop);
	v->s.release = victim_release;
	v->f = *hit;
	v->chat = strstr(http_path(x), "chat") != NULL;
	out->outlet = &v->s.outlet;
}

/* ---- how it is written ---- */

static enum rc unknown_kind(const char *name, struct err *e)
{
	const char *names[ARRAY_LEN(kinds) + 1] = {0}, *near;
	struct buf all;

	buf_init(&all, 4096);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		names[i] = kinds[i].name;
		buf_printf(&all, "%s%s", i ? ", " : "", names[i]);
	}
	near = nearest_name(name, names);
	if (near)
		err_set(e, RC_INPUT, "fault: got \"%s\"; did you mean %s?", name, near);
	else
		err_set(e, RC_INPUT, "fault: got \"%s\", want one of %s", name, buf_cstr(&all));
	buf_release(&all);
	return RC_INPUT;
}

/* Cuts `text` at the last `mark` and returns what stands behind it, or NULL. */
static char *cut_off(char *text, char mark)
{
	char *at = strrchr(text, mark);

	if (at)
		*at++ = '\0';
	return at;
}

static enum rc read_parts(struct fault *f, const char *value, const char *token, const char *rate,
			  struct err *e)
{
	const struct fault_kind *k = f->kind;
	int64_t at = k->usual_token;
	struct err why;

	if (value && !k->usual_ns)
		return err_set(e, RC_INPUT, "fault %s: has no value", k->name);
	if (token && !k->usual_token)
		return err_set(e, RC_INPUT, "fault %s: happens at no token", k->name);
	if (value && parse_duration(value, &f->value_ns, &why))
		return err_set(e, RC_INPUT, "fault %s: %s", k->name, why.msg);
	if (token && parse_int(token, 0, INT32_MAX, &at, &why))
		return err_set(e, RC_INPUT, "fault %s: token: %s", k->name, why.msg);
	if (rate && parse_double(rate, 0, 1, &f->rate, &why))
		return err_set(e, RC_INPUT, "fault %s: rate: %s", k->name, why.msg);
	f->at_token = (int32_t)at;
	return RC_OK;
}

enum rc fault_parse(struct fault *out, const char *spec, struct err *e)
{
	char *text = xstrdup(spec), *rate = cut_off(text, ':'), *token = cut_off(text, '@'),
	     *value = cut_off(text, '=');
	enum rc rc;

	*out = (struct fault){.rate = 1};
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i].name, text) == 0)
			out->kind = &kinds[i];
	if (out->kind) {
		out->value_ns = out->kind->usual_ns;
		rc = read_parts(out, value, token, rate, e);
	} else {
		rc = unknown_kind(text, e);
	}
	free(text);
	return rc;
}

static void append(struct fault_list *l, const struct fault *f)
{
	l->item = xreallocarray(l->item, l->n + 1, sizeof(*l->item));
	l->item[l->n++] = *f;
}

void fault_list_move(struct fault_list *to, struct fault_list *from)
{
	for (size_t i = 0; i < from->n; i++)
		append(to, &from->item[i]);
	fault_list_release(from);
}

enum rc fault_list_add(struct fault_list *l, const char *spec, struct err *e)
{
	struct fault f;
	enum rc rc = fault_parse(&f, spec, e);

	if (rc)
		return rc;
	append(l, &f);
	return RC_OK;
}

void fault_list_release(struct fault_list *l)
{
	free(l->item);
	*l = (struct fault_list){0};
}

void fault_describe(struct buf *b, const struct fault *f)
{
	char t[32];

	buf_printf(b, "%g %% of requests, %s: %s", f->rate * 100, f->kind->name, f->kind->help);
	if (f->kind->usual_ns)
		buf_printf(b, " (VALUE %s)", format_duration(t, sizeof(t), f->value_ns));
	if (f->kind->usual_token)
		buf_printf(b, ", after %d events with tokens", f->at_token);
}

void fault_help(struct buf *b)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		buf_printf(b, "  %-14s %s%s\n", kinds[i].name, kinds[i].help,
			   kinds[i].usual_token == 0 ? "" : ", after TOKEN events with tokens");
}

/*
 * Owns the writing of requests. Loop thread, once per request. Must not know sockets, times or what
 * becomes of a request.
 *
 * The dialect writes two bodies that are the same but for prompt and length. Where they differ is
 * where these stand, and all the rest is the rest of every body: after that none is built, but for
 * requests that differ in more (a history, a batch, another model).
 */
#include "request_form.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "request_headers.h"

#define MAX_PATH_BYTES	  (1u << 16)
#define MAX_HEADERS_BYTES (1u << 20)
#define MAX_REQUEST_BYTES (256u << 20)

/* In the two bodies, with what JSON makes of them: as long as each other, and different in one byte
 * each, the last of the prompt's and the first of the length's. */
static const char first_prompt[] = "\x01", second_prompt[] = "\x02";
enum { FIRST_TOKENS = 1111111111, SECOND_TOKENS = 2111111111 };
enum { PROMPT_BYTES = sizeof("\\u0001") - 1, TOKENS_BYTES = sizeof("1111111111") - 1 };

/* A place in a text that each request fills anew: len bytes at `at` go. len 0: there is none. */
struct hole {
	size_t at, len;
	bool is_prompt;
};

struct request_form {
	struct request_aim aim;
	struct buf path;
	struct buf headers;
	struct hole name; /* in headers */
	struct buf body;
	struct hole hole[2]; /* in body, in order; one of them, or both, may be none */
	bool fits;	     /* body and holes can be used */

	/* of the last request */
	struct buf its_headers, its_body, text;
};

void request_name(char out[32], int64_t request_id)
{
	if (request_id >= 0)
		snprintf(out, 32, "req-%lld", (long long)request_id);
	else
		snprintf(out, 32, "preflight");
}

bool request_streams(const struct target *t, const struct dialect *d)
{
	return t->request.stream && !d->no_tokens;
}

/* ---- once ---- */

static void write_path(struct request_form *f)
{
	const struct target *t = f->aim.target;
	const struct dialect *d = f->aim.dialect;
	const char *path = !request_streams(t, d) && d->whole_path ? d->whole_path : d->path;

	CHECK(buf_printf(&f->path, "%s%s", t->prefix ? t->prefix : "",
			 t->endpoint ? t->endpoint : path));
}

/* The user's own line of that name has no mark. */
static void write_headers(struct request_form *f)
{
	static const char line[] = "X-Request-Id: \x01\r\n";
	const struct target *t = f->aim.target;
	const struct dialect *d = f->aim.dialect;
	const char *all, *at;

	request_headers(&f->headers, t, d, true, request_streams(t, d), "\x01", f->aim.left_out);
	all = buf_cstr(&f->headers);
	at = strstr(all, line);
	f->name = (struct hole){buf_size(&f->headers), 0, false};
	if (at)
		f->name = (struct hole){(size_t)(at - all) + sizeof(line) - 4, 1, false};
}

static void build(const struct request_form *f, struct ask *ask, struct buf *out)
{
	ask->opts = &f->aim.target->request;
	ask->left_out = f->aim.left_out;
	buf_clear(out);
	CHECK(f->aim.dialect->build(ask, out));
}

/* False: they differ elsewhere too, as where the user has set members of his own. */
static bool find_holes(const char *a, const char *b, size_t len, struct hole hole[2])
{
	struct hole *h = hole;

	hole[0] = hole[1] = (struct hole){len, 0, false};
	for (size_t i = 0; i < len; i++) {
		if (a[i] == b[i])
			continue;
		if (h == hole + 2)
			return false;
		if (a[i] == *first_prompt + '0' && i + 1 >= PROMPT_BYTES &&
		    memcmp(a + i + 1 - PROMPT_BYTES, "\\u0001", PROMPT_BYTES) == 0)
			*h = (struct hole){i + 1 - PROMPT_BYTES, PROMPT_BYTES, true};
		else if (len - i >= TOKENS_BYTES && memcmp(a + i, "1111111111", TOKENS_BYTES) == 0)
			*h = (struct hole){i, TOKENS_BYTES, false};
		else
			return false;
		h++;
	}
	return hole[0].len == 0 || hole[1].len == 0 || hole[0].is_prompt != hole[1].is_prompt;
}

static void write_body(struct request_form *f)
{
	struct ask first = {.model = f->aim.model,
			    .prompt = first_prompt,
			    .prompt_len = 1,
			    .output_tokens = FIRST_TOKENS};
	struct ask second = {.model = f->aim.model,
			     .prompt = second_prompt,
			     .prompt_len = 1,
			     .output_tokens = SECOND_TOKENS};

	build(f, &first, &f->body);
	build(f, &second, &f->its_body);
	f->fits =
		buf_size(&f->body) == buf_size(&f->its_body) &&
		find_holes(buf_head(&f->body), buf_head(&f->its_body), buf_size(&f->body), f->hole);
}

struct request_form *request_form_new(const struct request_aim *aim)
{
	struct request_form *f = xcalloc(1, sizeof(*f));

	f->aim = *aim;
	buf_init(&f->path, MAX_PATH_BYTES);
	buf_init(&f->headers, MAX_HEADERS_BYTES);
	buf_init(&f->body, MAX_REQUEST_BYTES);
	buf_init(&f->its_headers, MAX_HEADERS_BYTES);
	buf_init(&f->its_body, MAX_REQUEST_BYTES);
	buf_init(&f->text, MAX_REQUEST_BYTES);
	write_path(f);
	write_headers(f);
	write_body(f);
	return f;
}

void request_form_free(struct request_form *f)
{
	if (!f)
		return;
	buf_release(&f->path);
	buf_release(&f->headers);
	buf_release(&f->body);
	buf_release(&f->its_headers);
	buf_release(&f->its_body);
	buf_release(&f->text);
	free(f);
}

/* ---- for each request ---- */

static void fill_headers(struct request_form *f, int64_t request_id)
{
	const char *from = buf_head(&f->headers);
	size_t behind = f->name.at + f->name.len;
	struct buf *out = &f->its_headers;

	buf_clear(out);
	CHECK(buf_append(out, from, f->name.at));
	if (f->name.len && request_id >= 0)
		CHECK(buf_append(out, "req-", 4) && buf_putint(out, request_id));
	else if (f->name.len)
		CHECK(buf_puts(out, "preflight"));
	CHECK(buf_append(out, from + behind, buf_size(&f->headers) - behind));
}

static void fill_body(struct request_form *f, const char *prompt, size_t prompt_len, int32_t tokens)
{
	const char *from = buf_head(&f->body);
	struct buf *out = &f->its_body;
	size_t done = 0;

	buf_clear(out);
	for (int i = 0; i < 2 && f->hole[i].len; i++) {
		CHECK(buf_append(out, from + done, f->hole[i].at - done));
		if (f->hole[i].is_prompt)
			CHECK(json_escape(out, prompt, prompt_len));
		else
			CHECK(buf_putint(out, tokens));
		done = f->hole[i].at + f->hole[i].len;
	}
	CHECK(buf_append(out, from + done, buf_size(&f->body) - done));
}

struct xfer_spec request_form_fill(struct request_form *f, const struct planned_request *plan,
				   int64_t request_id)
{
	struct xfer_spec spec = {.method = "POST", .keep_alive = true};
	struct ask ask = {
		.model = plan->model ? plan->model : f->aim.model,
		.prompt = plan->text,
		.prompt_len = plan->len,
		.before = plan->before,
		.n_before = plan->n_before,
		.also = plan->also,
		.n_also = plan->n_also,
		.output_tokens = plan->output_tokens,
	};

	buf_clear(&f->text);
	if (plan->word && f->aim.takes_words) {
		CHECK(buf_puts(&f->text, PROMPT_MARK));
		spec.word = plan->word;
		spec.n_words = plan->n_words;
	} else if (plan->word) {
		CHECK(workload_spell(plan->word, plan->n_words, &f->text));
	}
	if (plan->word) {
		ask.prompt = buf_cstr(&f->text);
		ask.prompt_len = buf_size(&f->text);
	}
	if (f->fits && !plan->model && !plan->n_before && !plan->n_also)
		fill_body(f, ask.prompt, ask.prompt_len, ask.output_tokens);
	else
		build(f, &ask, &f->its_body);
	fill_headers(f, request_id);
	spec.path = buf_cstr(&f->path);
	spec.headers = buf_cstr(&f->its_headers);
	spec.body = buf_head(&f->its_body);
	spec.body_len = buf_size(&f->its_body);
	return spec;
}

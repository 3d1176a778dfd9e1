/*
 * Recorded bytes of real servers, read as loadgen reads them: whole, byte by byte, at the recorded
 * cuts and at random ones. The reading must not depend on the cuts, must be what an independent
 * reader made of the same bytes (expected.csv), and the fast and the slow reading of each event
 * must be one.
 *
 * usage: check_captures [FOLDER...], each with expected.csv and CASE.request, CASE.raw,
 * CASE.reads.csv; without arguments the recordings in captures/, and all those beside the project.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <glob.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/csv.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "base/rng.h"
#include "loadgen/dialect.h"
#include "loadgen/http_in.h"
#include "loadgen/sse_in.h"

#define MAX_CHOICES 8
#define RANDOM_CUTS 20

/* ---- SHA-256 (FIPS 180-4), of one short message ---- */

static uint32_t rotr(uint32_t x, int n)
{
	return x >> n | x << (32 - n);
}

static void sha256_block(uint32_t h[8], const unsigned char *p)
{
	static const uint32_t k[64] = {
		0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
		0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
		0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
		0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
		0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
		0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
		0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
		0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
		0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
		0xc67178f2};
	uint32_t w[64], s[8];

	for (int i = 0; i < 16; i++, p += 4)
		w[i] = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	for (int i = 16; i < 64; i++)
		w[i] = w[i - 16] + w[i - 7] +
		       (rotr(w[i - 15], 7) ^ rotr(w[i - 15], 18) ^ w[i - 15] >> 3) +
		       (rotr(w[i - 2], 17) ^ rotr(w[i - 2], 19) ^ w[i - 2] >> 10);
	memcpy(s, h, sizeof(s));
	for (int i = 0; i < 64; i++) {
		uint32_t a = s[7] + (rotr(s[4], 6) ^ rotr(s[4], 11) ^ rotr(s[4], 25)) +
			     ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
		uint32_t b = (rotr(s[0], 2) ^ rotr(s[0], 13) ^ rotr(s[0], 22)) +
			     ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

		memmove(s + 1, s, 7 * sizeof(*s));
		s[4] += a;
		s[0] = a + b;
	}
	for (int i = 0; i < 8; i++)
		h[i] += s[i];
}

/* The first 16 hex digits. */
static void sha256_16(const char *text, size_t len, char out[17])
{
	uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
			 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	size_t padded = (len + 8) / 64 * 64 + 64;
	unsigned char *p = xcalloc(1, padded);

	memcpy(p, text, len);
	p[len] = 0x80;
	for (int i = 0; i < 8; i++)
		p[padded - 1 - (size_t)i] = (unsigned char)((uint64_t)len * 8 >> 8 * i);
	for (size_t at = 0; at < padded; at += 64)
		sha256_block(h, p + at);
	free(p);
	snprintf(out, 17, "%08x%08x", h[0], h[1]);
}

static void test_sha256(void **state)
{
	char out[17];

	(void)state;
	sha256_16("abc", 3, out);
	assert_string_equal(out, "ba7816bf8f01cfea");
	sha256_16("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, out);
	assert_string_equal(out, "248d6a61d20638b8");
}

/* ---- one reading of one recording ---- */

struct reader {
	const struct dialect *dialect;
	struct http_in *http;
	struct sse_in sse;
	struct buf body;
	bool is_sse;
	/* what expected.csv has columns for */
	int http_status, json_events, token_events;
	bool done;
	int64_t prompt_tokens, completion_tokens;
	struct buf finish_reasons;
	struct buf text[MAX_CHOICES];
	int n_choices;
	const char *what;
};

/* Which choice an event is about: dialects do not tell, for one request has one choice. */
static int choice_of(const struct reader *r, const char *json, size_t len)
{
	const cJSON *choices = NULL;
	int64_t index = 0;
	cJSON *root;

	if (json_parse(&root, json, len, NULL) != RC_OK)
		fail_msg("%s: an event that is no JSON", r->what);
	json_get_array(root, "", "choices", &choices, NULL);
	if (choices && choices->child)
		json_get_int(choices->child, "", "index", 0, MAX_CHOICES - 1, &index, NULL);
	cJSON_Delete(root);
	return (int)index;
}

static void take(struct reader *r, const struct reading *got, const struct buf *text, int choice)
{
	if (choice >= r->n_choices)
		r->n_choices = choice + 1;
	buf_append(&r->text[choice], buf_head(text), buf_size(text));
	r->token_events += got->has_token;
	if (got->prompt_tokens >= 0)
		r->prompt_tokens = got->prompt_tokens;
	if (got->output_tokens >= 0)
		r->completion_tokens = got->output_tokens;
	if (got->finish_reason[0])
		buf_printf(&r->finish_reasons, "%s%s", buf_size(&r->finish_reasons) ? "|" : "",
			   got->finish_reason);
}

static bool on_event(const struct sse_event *ev, void *arg)
{
	struct reader *r = arg;
	struct reading fast = {0}, slow = {0};
	struct buf text;
	struct err e;

	buf_init(&text, 1u << 20);
	if (r->dialect->read_event(ev, &slow, &text, &e) != RC_OK)
		fail_msg("%s: %s", r->what, e.msg);
	assert_int_equal(r->dialect->read_event(ev, &fast, NULL, &e), RC_OK);
	assert_memory_equal(&fast, &slow, sizeof(fast));
	if (ev->len >= 6 && memcmp(ev->data, "[DONE]", 6) == 0) {
		assert_true(slow.done);
		r->done = true;
	} else if (ev->len > 0 && ev->data[0] == '{') {
		r->json_events++;
		take(r, &slow, &text, choice_of(r, ev->data, ev->len));
	}
	buf_release(&text);
	return true;
}

static bool on_head(void *owner, const struct xfer_head *h)
{
	struct reader *r = owner;

	r->http_status = h->status;
	r->is_sse = strncmp(h->content_type, "text/event-stream", 17) == 0;
	return true;
}

static bool on_body(void *owner, const char *bytes, size_t n)
{
	struct reader *r = owner;

	if (!r->is_sse)
		assert_true(buf_append(&r->body, bytes, n));
	else
		assert_int_equal(sse_in_feed(&r->sse, bytes, n, on_event, r, NULL), RC_OK);
	return true;
}

static void end_of_body(struct reader *r)
{
	struct reading got = {0};
	struct buf text;

	buf_init(&text, 1u << 20);
	if (r->http_status == 200 && r->dialect->read_body(buf_head(&r->body), buf_size(&r->body),
							   &got, &text, NULL) == RC_OK) {
		r->json_events = 1;
		take(r, &got, &text, 0);
	}
	buf_release(&text);
}

/* The one that asks at this path. What no dialect asks for (a health page, a list of models) reads
 * as an answer without a token to any. */
static const struct dialect *dialect_of(const char *request)
{
	const char *path = strchr(request, ' ');

	for (int i = 0; dialects[i] && path; i++) {
		size_t len = strlen(dialects[i]->path);

		if (strncmp(path + 1, dialects[i]->path, len) == 0 && strchr(" ?", path[1 + len]))
			return dialects[i];
	}
	return &dialect_openai_chat;
}

static void reader_init(struct reader *r, const char *what, const char *request)
{
	static const struct http_in_handler handler = {on_head, on_body};

	memset(r, 0, sizeof(*r));
	r->what = what;
	r->dialect = dialect_of(request);
	r->http = http_in_new(&handler, r);
	http_in_start(r->http, strncmp(request, "HEAD", 4) == 0);
	sse_in_init(&r->sse);
	r->prompt_tokens = r->completion_tokens = -1;
	buf_init(&r->body, 1u << 24);
	buf_init(&r->finish_reasons, 1024);
	for (int i = 0; i < MAX_CHOICES; i++)
		buf_init(&r->text[i], 1u << 20);
}

static void reader_release(struct reader *r)
{
	http_in_free(r->http);
	sse_in_release(&r->sse);
	buf_release(&r->body);
	buf_release(&r->finish_reasons);
	for (int i = 0; i < MAX_CHOICES; i++)
		buf_release(&r->text[i]);
}

/* Texts of all choices, joined by NUL; empty when there is no text at all. */
static void hash_texts(struct reader *r, char out[17])
{
	struct buf all;
	bool any = false;

	buf_init(&all, 1u << 24);
	for (int i = 0; i < r->n_choices; i++) {
		if (i > 0)
			buf_putc(&all, '\0');
		buf_append(&all, buf_head(&r->text[i]), buf_size(&r->text[i]));
		any |= buf_size(&r->text[i]) > 0;
	}
	out[0] = '\0';
	if (any)
		sha256_16(buf_head(&all), buf_size(&all), out);
	buf_release(&all);
}

/* ---- a case: its bytes, its row ---- */

struct capture {
	const char *name;
	struct buf request, raw;
	struct csv_table *reads;
	const struct csv_table *expected;
	size_t row;
};

/* How a reading goes: the size of the piece that begins at `at`. */
struct cutting {
	const char *how;
	size_t (*piece)(const struct capture *c, size_t at, struct rng *r);
};

static size_t whole(const struct capture *c, size_t at, struct rng *r)
{
	(void)r;
	return buf_size(&c->raw) - at;
}

static size_t single_bytes(const struct capture *c, size_t at, struct rng *r)
{
	(void)c;
	(void)at;
	(void)r;
	return 1;
}

static size_t as_recorded(const struct capture *c, size_t at, struct rng *r)
{
	int offset = csv_find(c->reads, "offset"), nbytes = csv_find(c->reads, "nbytes");

	(void)r;
	for (size_t i = 0; i < csv_rows(c->reads); i++)
		if (strtoull(csv_field(c->reads, i, offset), NULL, 10) == at &&
		    strtoull(csv_field(c->reads, i, nbytes), NULL, 10) > 0)
			return strtoull(csv_field(c->reads, i, nbytes), NULL, 10);
	fail_msg("%s: no recorded read begins at %zu", c->name, at);
	return 0;
}

static size_t at_random(const struct capture *c, size_t at, struct rng *r)
{
	size_t left = buf_size(&c->raw) - at;

	return 1 + rng_below(r, rng_below(r, 4) ? (left < 40 ? left : 40) : left);
}

static const char *column(const struct capture *c, const char *name)
{
	return csv_field(c->expected, c->row, csv_find(c->expected, name));
}

static void expect(const struct capture *c, const char *how, const char *name, const char *got)
{
	if (strcmp(column(c, name), got) != 0)
		fail_msg("%s read %s: %s is \"%s\", want \"%s\"", c->name, how, name, got,
			 column(c, name));
}

static void expect_int(const struct capture *c, const char *how, const char *name, int64_t got)
{
	char text[32] = "";

	if (got >= 0)
		snprintf(text, sizeof(text), "%lld", (long long)got);
	expect(c, how, name, text);
}

static void read_capture(const struct capture *c, const struct cutting *cut, struct rng *rng)
{
	enum http_in_result result = HTTP_IN_MORE;
	struct reader r;
	char hash[17];
	struct err e;

	reader_init(&r, c->name, buf_head(&c->request));
	for (size_t at = 0; at < buf_size(&c->raw) && result == HTTP_IN_MORE;) {
		size_t n = cut->piece(c, at, rng), used;
		char *copy = xmalloc(n); /* exactly n bytes: a sanitizer watches its end */

		memcpy(copy, buf_head(&c->raw) + at, n);
		result = http_in_feed(r.http, copy, n, &used, &e);
		free(copy);
		at += used;
	}
	if (result == HTTP_IN_MORE)
		result = http_in_eof(r.http, &e);
	if (result == HTTP_IN_BAD)
		fail_msg("%s read %s: %s", c->name, cut->how, e.msg);
	if (!r.is_sse)
		end_of_body(&r);
	hash_texts(&r, hash);
	expect(c, cut->how, "kind", r.is_sse ? "sse" : "body");
	expect(c, cut->how, "done", r.done ? "done" : "");
	expect(c, cut->how, "finish_reasons", buf_cstr(&r.finish_reasons));
	expect(c, cut->how, "text_sha256_16", hash);
	expect_int(c, cut->how, "http_status", r.http_status);
	expect_int(c, cut->how, "whole", result == HTTP_IN_COMPLETE);
	expect_int(c, cut->how, "json_events", r.json_events);
	expect_int(c, cut->how, "token_events", r.token_events);
	expect_int(c, cut->how, "prompt_tokens", r.prompt_tokens);
	expect_int(c, cut->how, "completion_tokens", r.completion_tokens);
	reader_release(&r);
}

static void check_case(const char *folder, const struct csv_table *expected, size_t row,
		       struct rng *rng)
{
	static const struct cutting whole_cut = {"whole", whole};
	static const struct cutting bytes_cut = {"byte by byte", single_bytes};
	static const struct cutting recorded_cut = {"as recorded", as_recorded};
	static const struct cutting random_cut = {"at random cuts", at_random};
	struct capture c = {.expected = expected, .row = row};
	char *request, *raw, *reads;
	struct err e = {RC_OK, ""};

	c.name = column(&c, "case");
	request = xasprintf("%s/%s.request", folder, c.name);
	raw = xasprintf("%s/%s.raw", folder, c.name);
	reads = xasprintf("%s/%s.reads.csv", folder, c.name);
	buf_init(&c.request, 1u << 24);
	buf_init(&c.raw, 1u << 24);
	if (buf_read_file(&c.request, request, &e) || buf_read_file(&c.raw, raw, &e) ||
	    csv_read(&c.reads, reads, true, &e))
		fail_msg("%s", e.msg);
	read_capture(&c, &whole_cut, rng);
	read_capture(&c, &bytes_cut, rng);
	read_capture(&c, &recorded_cut, rng);
	for (int i = 0; i < RANDOM_CUTS; i++)
		read_capture(&c, &random_cut, rng);
	csv_table_free(c.reads);
	buf_release(&c.request);
	buf_release(&c.raw);
	free(request);
	free(raw);
	free(reads);
}

static char **folders;
static size_t n_folders;

static size_t check_folder(const char *folder)
{
	char *path = xasprintf("%s/expected.csv", folder);
	struct csv_table *expected;
	struct rng rng;
	struct err e;
	size_t rows;

	rng_init(&rng, 20, "cuts", 0);
	if (csv_read(&expected, path, false, &e) != RC_OK)
		fail_msg("%s", e.msg);
	rows = csv_rows(expected);
	for (size_t row = 0; row < rows; row++)
		check_case(folder, expected, row, &rng);
	csv_table_free(expected);
	free(path);
	return rows;
}

static void test_captures(void **state)
{
	size_t read = 0;

	(void)state;
	for (size_t i = 0; i < n_folders; i++)
		read += check_folder(folders[i]);
	print_message("%zu cases read\n", read);
	assert_true(read > 0);
}

/* The folders of `under`, behind those that are there already. */
static void find_folders(const char *under, glob_t *found)
{
	char *pattern = xasprintf("%s/*/", under);

	glob(pattern, n_folders > 0 ? GLOB_APPEND : 0, NULL, found);
	folders = found->gl_pathv;
	n_folders = found->gl_pathc;
	free(pattern);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sha256),
		cmocka_unit_test(test_captures),
	};
	glob_t found = {0};
	int rc;

	if (argc > 1) {
		folders = argv + 1;
		n_folders = (size_t)argc - 1;
	} else {
		find_folders(SOURCE_DIR "/tests/conformance/captures", &found);
		find_folders(SHARED_DIR "/data/captures", &found);
	}
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	globfree(&found);
	return rc;
}

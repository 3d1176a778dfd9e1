/*
 * Owns the choice of headers. Any thread. Must not know bodies, times or answers.
 */
#include "request_headers.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"

/* What decides whether a header of ours is sent. */
struct choice {
	struct buf *out;
	const struct target *target;
	const char *const *left_out;
};

static void add(const struct choice *c, const char *name, const char *before, const char *value)
{
	const struct target *t = c->target;

	for (int i = 0; i < t->n_headers; i++)
		if (strcasecmp(t->headers[i].name, name) == 0)
			return;
	for (const char *const *k = c->left_out; k && *k; k++)
		if (strcasecmp(*k, name) == 0)
			return;
	CHECK(buf_printf(c->out, "%s: %s%s\r\n", name, before, value));
}

/* The dialect's own lines, each under the same rule. */
static void add_lines(const struct choice *c, const char *lines)
{
	while (lines && *lines) {
		const char *colon = strchr(lines, ':'), *end = strstr(lines, "\r\n");
		char name[64], value[128];

		snprintf(name, sizeof(name), "%.*s", (int)(colon - lines), lines);
		snprintf(value, sizeof(value), "%.*s", (int)(end - colon - 2), colon + 2);
		add(c, name, "", value);
		lines = end + 2;
	}
}

void request_headers(struct buf *out, const struct target *t, const struct dialect *d,
		     bool has_body, bool streams, const char *name, const char *const *left_out)
{
	const struct choice c = {out, t, left_out};

	if (has_body)
		add(&c, "Content-Type", "", "application/json");
	add(&c, "Accept", "", streams ? "text/event-stream" : "application/json");
	add(&c, "User-Agent", "", "loadgen/" PROJECT_VERSION);
	if (name)
		add(&c, "X-Request-Id", "", name);
	if (t->api_key)
		add(&c, d->key_header ? d->key_header : "Authorization",
		    d->key_scheme ? d->key_scheme : "Bearer ", t->api_key);
	add_lines(&c, d->headers);
	for (int i = 0; i < t->n_headers; i++)
		if (t->headers[i].value[0])
			CHECK(buf_printf(out, "%s: %s\r\n", t->headers[i].name,
					 t->headers[i].value));
}

/*
 * Owns the cutting of a byte stream into lines and of lines into events. Loop thread, hot: a usual
 * event costs two memchr() over its bytes and one call. Must not know JSON, sockets or time, nor
 * share code with the writer in lib/serve.
 *
 * An event may live in three places: in the read (whole lines), in `line` (its line was cut by a
 * read) or in `data` (several data lines, or the event itself was cut). Bytes are copied only when
 * they would not survive otherwise.
 */
#include "sse_in.h"

#include <string.h>

static const char utf8_bom[] = "\xef\xbb\xbf";

/* What one call of sse_in_feed() is doing. */
struct feeding {
	struct sse_in *p;
	bool (*on_event)(const struct sse_event *ev, void *arg);
	void *arg;
	struct err *e;
	const char *data; /* the event's only data line so far, not in p->data yet; or NULL */
	size_t len;
	bool stopped;
};

void sse_in_init(struct sse_in *p)
{
	memset(p, 0, sizeof(*p));
	buf_init(&p->line, SSE_MAX_LINE_BYTES);
	buf_init(&p->data, SSE_MAX_EVENT_BYTES);
}

void sse_in_release(struct sse_in *p)
{
	buf_release(&p->line);
	buf_release(&p->data);
}

bool sse_in_pending(const struct sse_in *p)
{
	return p->has_data || buf_size(&p->line) > 0;
}

static enum rc too_long(struct err *e, const char *what, size_t max)
{
	return err_set(e, RC_LIMIT, "an SSE %s longer than %zu bytes", what, max);
}

/* Moves the in-place data line to where it outlives its read. */
static enum rc save_data(struct feeding *f)
{
	if (f->data && !buf_append(&f->p->data, f->data, f->len))
		return too_long(f->e, "event", SSE_MAX_EVENT_BYTES);
	f->data = NULL;
	return RC_OK;
}

static enum rc add_data(struct feeding *f, const char *value, size_t len)
{
	struct sse_in *p = f->p;

	if (!p->has_data) {
		p->has_data = true;
		f->data = value;
		f->len = len;
		return RC_OK;
	}
	if (save_data(f) != RC_OK || !buf_putc(&p->data, '\n') || !buf_append(&p->data, value, len))
		return too_long(f->e, "event", SSE_MAX_EVENT_BYTES);
	return RC_OK;
}

static void dispatch(struct feeding *f)
{
	struct sse_in *p = f->p;
	struct sse_event ev = {f->data, f->len, p->type};

	if (p->has_data) {
		if (!f->data) {
			ev.data = buf_head(&p->data);
			ev.len = buf_size(&p->data);
		}
		f->stopped = !f->on_event(&ev, f->arg);
	}
	f->data = NULL;
	p->has_data = false;
	p->type[0] = '\0';
	buf_clear(&p->data);
}

static enum rc take_field(struct feeding *f, const char *line, size_t len)
{
	const char *colon = memchr(line, ':', len);
	size_t name_len = colon ? (size_t)(colon - line) : len;
	const char *value = line + (colon ? name_len + 1 : len);
	size_t value_len = (size_t)(line + len - value);

	if (value_len > 0 && *value == ' ') {
		value++;
		value_len--;
	}
	if (name_len == 4 && memcmp(line, "data", 4) == 0)
		return add_data(f, value, value_len);
	if (name_len == 5 && memcmp(line, "event", 5) == 0) {
		size_t n = value_len < sizeof(f->p->type) ? value_len : sizeof(f->p->type) - 1;

		memcpy(f->p->type, value, n);
		f->p->type[n] = '\0';
	}
	return RC_OK; /* id and retry serve reconnection; others are ignored by the standard */
}

static enum rc take_line(struct feeding *f, const char *line, size_t len)
{
	struct sse_in *p = f->p;

	if (!p->started) {
		p->started = true;
		if (len >= 3 && memcmp(line, utf8_bom, 3) == 0) {
			line += 3;
			len -= 3;
		}
	}
	if (len == 0) {
		dispatch(f);
		return RC_OK;
	}
	if (*line == ':') {
		p->comments++;
		return RC_OK;
	}
	return take_field(f, line, len);
}

/* A line of which earlier reads hold the beginning. Its bytes stay readable in p->line until the
 * next unfinished line is put there, which is after save_data(). */
static enum rc take_cut_line(struct feeding *f, const char *rest, size_t len)
{
	struct buf *line = &f->p->line;
	size_t whole = buf_size(line) + len;
	const char *start;

	if (!buf_append(line, rest, len))
		return too_long(f->e, "line", SSE_MAX_LINE_BYTES);
	start = buf_head(line);
	buf_clear(line);
	return take_line(f, start, whole);
}

/* The first `c` at or behind `at`; `end` if there is none. `known` is the answer for an earlier
 * place, so that no byte is searched twice however short the lines are. */
static const char *next_of(int c, const char *known, const char *at, const char *end)
{
	const char *found;

	if (known >= at)
		return known;
	found = memchr(at, c, (size_t)(end - at));
	return found ? found : end;
}

enum rc sse_in_feed(struct sse_in *p, const char *bytes, size_t n,
		    bool (*on_event)(const struct sse_event *ev, void *arg), void *arg,
		    struct err *e)
{
	struct feeding f = {.p = p, .on_event = on_event, .arg = arg, .e = e};
	const char *at = bytes, *end = bytes + n, *lf = NULL, *cr = NULL;
	enum rc rc = RC_OK;

	if (n == 0)
		return RC_OK;
	if (p->skip_lf && *at == '\n')
		at++;
	p->skip_lf = false;
	while (at < end) {
		const char *eol;

		lf = next_of('\n', lf, at, end);
		cr = next_of('\r', cr, at, end);
		eol = lf < cr ? lf : cr;
		if (eol == end)
			break;
		if (buf_size(&p->line) > 0)
			rc = take_cut_line(&f, at, (size_t)(eol - at));
		else if ((size_t)(eol - at) > SSE_MAX_LINE_BYTES)
			rc = too_long(e, "line", SSE_MAX_LINE_BYTES);
		else
			rc = take_line(&f, at, (size_t)(eol - at));
		at = eol + 1;
		if (*eol == '\r') {
			p->skip_lf = at == end;
			at += at < end && *at == '\n';
		}
		if (rc || f.stopped)
			return rc;
	}
	rc = save_data(&f);
	if (!rc && at < end && !buf_append(&p->line, at, (size_t)(end - at)))
		rc = too_long(e, "line", SSE_MAX_LINE_BYTES);
	return rc;
}

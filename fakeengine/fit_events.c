/*
 * Owns the token times of a results folder until a request takes its own. Runs at start. Shares no
 * code with loadgen, which writes the file: what it is, stands in loadgen/results.h.
 */
#include "fit_events.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/die.h"

#define MAX_FILE_BYTES ((size_t)4 << 30)
#define MAGIC	       "LGEVENTS"
#define VERSION	       1
#define HEAD_BYTES     16
#define BLOCK_BYTES    12
#define EVENT_BYTES    16
#define MAX_TIME_NS    (INT64_C(1) << 60)

struct block {
	int64_t request_id;
	struct fit_event *event;
	int32_t n;
};

struct fit_events {
	struct block *block; /* by request_id */
	size_t n;
};

static uint64_t get_le(const unsigned char *p, int bytes)
{
	uint64_t v = 0;

	for (int i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

/* False: these cannot be times and counts that only grow. */
static bool read_block(struct block *b, const unsigned char *p, uint32_t n)
{
	b->event = xcalloc(n, sizeof(*b->event));
	b->n = (int32_t)n;
	for (uint32_t i = 0; i < n; i++, p += EVENT_BYTES) {
		struct fit_event *v = &b->event[i];

		v->t_ns = (int64_t)get_le(p, 8);
		v->tokens = (int32_t)get_le(p + 8, 4);
		if (v->t_ns < 0 || v->t_ns > MAX_TIME_NS || v->tokens < 0 ||
		    (i > 0 && (v->t_ns < v[-1].t_ns || v->tokens < v[-1].tokens))) {
			free(b->event);
			return false;
		}
	}
	return true;
}

static int by_id(const void *a, const void *b)
{
	const struct block *x = a, *y = b;

	return (x->request_id > y->request_id) - (x->request_id < y->request_id);
}

enum rc fit_events_parse(struct fit_events **out, const char *name, const void *bytes, size_t len,
			 struct err *e)
{
	const unsigned char *p = bytes, *end = p + len;
	struct fit_events *f;

	*out = NULL;
	if (len < HEAD_BYTES || memcmp(p, MAGIC, 8) != 0 || get_le(p + 8, 4) != VERSION)
		return err_set(e, RC_INPUT, "%s: is not an events file of version %d", name,
			       VERSION);
	f = xcalloc(1, sizeof(*f));
	for (p += HEAD_BYTES; end - p >= BLOCK_BYTES;) {
		struct block b = {.request_id = (int64_t)get_le(p, 8)};
		uint32_t n = (uint32_t)get_le(p + 8, 4);

		p += BLOCK_BYTES;
		if (n == 0 || n > (size_t)(end - p) / EVENT_BYTES || !read_block(&b, p, n))
			break;
		p += (size_t)n * EVENT_BYTES;
		if ((f->n & (f->n - 1)) == 0)
			f->block = xreallocarray(f->block, f->n ? 2 * f->n : 1, sizeof(*f->block));
		f->block[f->n++] = b;
	}
	if (f->n > 0)
		qsort(f->block, f->n, sizeof(*f->block), by_id);
	*out = f;
	return RC_OK;
}

enum rc fit_events_read(struct fit_events **out, const char *path, struct err *e)
{
	struct buf b;
	enum rc rc;

	if (access(path, F_OK) != 0) {
		*out = xcalloc(1, sizeof(**out));
		return RC_OK;
	}
	*out = NULL;
	buf_init(&b, MAX_FILE_BYTES);
	rc = (enum rc)buf_read_file(&b, path, e);
	if (rc == RC_OK)
		rc = fit_events_parse(out, path, buf_head(&b), buf_size(&b), e);
	buf_release(&b);
	return rc;
}

void fit_events_free(struct fit_events *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->n; i++)
		free(f->block[i].event);
	free(f->block);
	free(f);
}

struct fit_event *fit_events_take(struct fit_events *f, int64_t request_id, int32_t *n)
{
	struct block key = {.request_id = request_id}, *b = NULL;
	struct fit_event *event;

	if (f->n > 0)
		b = bsearch(&key, f->block, f->n, sizeof(*f->block), by_id);
	*n = b && b->event ? b->n : 0;
	if (*n == 0)
		return NULL;
	event = b->event;
	b->event = NULL;
	return event;
}

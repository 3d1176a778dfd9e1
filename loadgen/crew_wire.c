/*
 * Owns the framing between a worker and the run. Pure. Both ends are one program, so nothing is
 * converted and nothing mistrusted; a message cut short by a death never comes out.
 */
#include "crew_wire.h"

#include <string.h>

#include "base/check.h"
#include "base/die.h"

struct head {
	uint32_t what, bytes;
};

bool crew_put(struct buf *out, enum crew_what what, const void *a, size_t a_bytes, const void *b,
	      size_t b_bytes)
{
	struct head h = {what, (uint32_t)(a_bytes + b_bytes)};
	char *p = buf_reserve(out, sizeof(h) + a_bytes + b_bytes);

	if (!p)
		return false;
	memcpy(p, &h, sizeof(h));
	if (a_bytes)
		memcpy(p + sizeof(h), a, a_bytes);
	if (b_bytes)
		memcpy(p + sizeof(h) + a_bytes, b, b_bytes);
	buf_commit(out, sizeof(h) + a_bytes + b_bytes);
	return true;
}

bool crew_put_row(struct buf *out, const struct record *rec, int64_t t_ns)
{
	struct crew_row row;

	memset(&row, 0, sizeof(row)); /* what is sent has no padding of an unknown past */
	row.t_ns = t_ns;
	row.rec = *rec;
	row.rec.event = NULL;
	return crew_put(out, CREW_ROW, &row, sizeof(row), rec->event,
			(size_t)rec->n_events * sizeof(*rec->event));
}

bool crew_take(struct buf *in, struct crew_message *out)
{
	struct head h;

	if (buf_size(in) < sizeof(h))
		return false;
	memcpy(&h, buf_head(in), sizeof(h));
	if (buf_size(in) < sizeof(h) + h.bytes)
		return false;
	*out = (struct crew_message){
		.what = (enum crew_what)h.what,
		.body = buf_head(in) + sizeof(h),
		.bytes = h.bytes,
	};
	buf_consume(in, sizeof(h) + h.bytes);
	return true;
}

struct crew_row crew_read_row(const struct crew_message *m)
{
	struct crew_row row;
	size_t events;

	CHECK(m->what == CREW_ROW && m->bytes >= sizeof(row));
	memcpy(&row, m->body, sizeof(row));
	events = (size_t)row.rec.n_events * sizeof(*row.rec.event);
	CHECK(m->bytes == sizeof(row) + events);
	if (events) {
		row.rec.event = xmalloc(events);
		memcpy(row.rec.event, m->body + sizeof(row), events);
	}
	return row;
}

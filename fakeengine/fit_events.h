/*
 * The token times of a results folder: its events.bin, whose bytes loadgen/results.h describes.
 * Read whole; a block that is cut short ends it.
 */
#ifndef FAKEENGINE_FIT_EVENTS_H
#define FAKEENGINE_FIT_EVENTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "fit_rows.h"

struct fit_events;

/* A file that is not there gives no events. RC_INPUT: another format. May block. */
enum rc fit_events_read(struct fit_events **out, const char *path, struct err *e);
enum rc fit_events_parse(struct fit_events **out, const char *name, const void *bytes, size_t len,
			 struct err *e);
void fit_events_free(struct fit_events *f);

/* The request's events, the caller's to free; NULL, n 0: it has none. */
struct fit_event *fit_events_take(struct fit_events *f, int64_t request_id, int32_t *n);

#endif

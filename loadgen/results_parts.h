/*
 * What the parts of results_*.c share, and nobody else includes.
 *
 * The columns of requests.csv are a table: the writer walks it one way, the reader the other, so
 * the two cannot disagree. Names are an API: more may follow at the end, none is renamed.
 */
#ifndef LOADGEN_RESULTS_PARTS_H
#define LOADGEN_RESULTS_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/csv.h"
#include "base/err.h"
#include "base/jsonx.h"
#include "metrics.h"
#include "preflight_found.h"
#include "scenario.h"

enum column_kind {
	COL_TARGET,    /* its name */
	COL_LOAD_KIND, /* of the level, "warmup" outside of any; written only, as are the next two
			*/
	COL_CONCURRENCY,
	COL_RATE,
	COL_ID,	    /* int64_t */
	COL_INT,    /* int */
	COL_COUNT,  /* int32_t, -1 = empty */
	COL_TIME,   /* int64_t ns since the run's zero, -1 = empty */
	COL_STATUS, /* int, 0 = empty */
	COL_BOOL,   /* 0 or 1 */
	COL_TOKEN_SOURCE,
	COL_CLOCK_SOURCE,
	COL_OUTCOME,
	COL_TEXT, /* char[size] */
};

struct request_column {
	const char *name;
	enum column_kind kind;
	size_t offset, size; /* in struct record */
};

#define N_REQUEST_COLUMNS 38
#define N_OLDEST_COLUMNS  37 /* of them; those behind came later, and an older folder lacks them */
extern const struct request_column request_columns[N_REQUEST_COLUMNS];

#define EVENTS_MAGIC   "LGEVENTS"
#define EVENTS_VERSION 1
enum { EVENTS_HEAD_BYTES = 16, EVENTS_BLOCK_BYTES = 12, EVENTS_EVENT_BYTES = 16 };
enum { EVENT_MERGED = 1 };

/* One of load_kind, concurrency, rate as requests.csv and points.csv have them; l NULL: a warm-up.
 */
void put_level_field(struct csv_writer *w, const struct level *l, enum column_kind kind);

enum rc points_create(struct csv_writer **out, const char *path, struct err *e);
/* Times are of CLOCK_MONOTONIC; written relative to start_ns. */
enum rc points_put(struct csv_writer *w, const struct scenario *s, const struct point *p,
		   int64_t start_ns, int64_t level_start_ns, int64_t level_end_ns, struct err *e);

/* What run.json says. */
struct run_story {
	const struct scenario *scenario;
	int64_t start_ns, wall_offset_ns;
	const char *ended; /* NULL: it has just begun, and points are none */
	int64_t ended_ns;
	const struct point *points;
	size_t n_points;
	const cJSON *notes;	/* an array of lines */
	const cJSON *preflight; /* an array, an object a target that was looked at */
};
cJSON *preflight_json(const char *target, const struct preflight_found *f);
enum rc run_json_write(const char *path, const struct run_story *story, struct err *e);

/* Whole or not at all, also for a reader who comes in between. */
enum rc file_replace(const char *path, const struct buf *content, struct err *e);

#define UTC_FORMAT "%Y-%m-%dT%H:%M:%SZ"

/* strftime() of a wall time in UTC. */
void format_utc(char *out, size_t cap, const char *format, int64_t wall_ns);

#endif

/*
 * The results folder: what a run writes, and reading it back. Rows are appended as they happen, so
 * a killed run keeps what it measured. measurement.md section 5 names files and columns; they are
 * an API.
 *
 *     scenario.yaml run.json points.csv requests.csv events.bin server.csv summary.json plots/
 *
 * requests.csv: times in ns since the run's zero; run.json holds the offset to wall time. A time or
 * count that does not exist is an empty field. points.csv: a row a point, written when it is over.
 * server.csv: t_ns target point name value, a row a sample and name.
 *
 * events.bin, little-endian: 8 bytes "LGEVENTS", u32 version (1), u32 0; then a block a request
 * that got tokens: i64 request_id, u32 n_events, n_events times {i64 t_ns, i32 tokens so far, u32
 * flags}, flags bit 0: merged (record.h). A block that is cut short ends the file.
 */
#ifndef LOADGEN_RESULTS_H
#define LOADGEN_RESULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "metrics.h"
#include "preflight_found.h"
#include "record.h"
#include "scenario.h"

struct results;

/* dir NULL: results/<scenario>-<UTC time> below the current folder. Creates it, proves that it can
 * be written, writes scenario.yaml and a first run.json (versions, seed, kernel, CPU, limits in
 * force, start, wall offset; not the host's name). RC_IO / RC_INPUT (a folder that already holds a
 * run is refused). start_ns: the run's zero on its clock. s outlives it. */
enum rc results_create(struct results **out, const char *dir, const struct scenario *s,
		       int64_t start_ns, struct err *e);
const char *results_dir(const struct results *r);
char *results_started_utc(const struct results *r); /* as run.json has it; malloc'd */

/* Gathered in memory until results_flush(). What a disk that is full says, results_close() tells.
 */
void results_add_record(struct results *r, const struct record *rec); /* requests.csv, events.bin */
void results_add_point(struct results *r, const struct point *p, int64_t level_start_ns,
		       int64_t level_end_ns);
void results_flush(struct results *r);	      /* called a few times a second */
bool results_failed(const struct results *r); /* a write has; to go on would lose what follows */

/* What was found at a target before its load, for run.json, which is written anew. */
void results_add_preflight(struct results *r, int target, const struct preflight_found *f);

/* A line for run.json's `notes`: what a reader may miss in the results. Once, however often it is
 * added. */
void results_add_note(struct results *r, const char *text);

/* A scraped engine sample: server.csv, one row a sample and name. */
void results_add_server(struct results *r, int target, int point, int64_t t_ns, const char *name,
			double value);

/* Ends the run: run.json anew with end, identities, verdicts and how it ended ("complete",
 * "interrupted", ...). The first write that failed on the way is said here. Frees r. */
enum rc results_close(struct results *r, const char *ended, struct err *e);

/* A number of points.csv as a member of struct point. The index-th of them with its column's name;
 * false behind the last. */
struct point_figure {
	enum { FIGURE_INT, FIGURE_INT64, FIGURE_BOOL, FIGURE_NUM } kind;
	size_t offset;
};
bool point_figure_at(size_t index, char name[32], struct point_figure *out);
double point_figure_value(const struct point *p, struct point_figure f); /* NaN: does not exist */

/* Reading back, also of a killed run (a torn last line is dropped). Points are computed anew from
 * the raw rows, in order of their number: of points.csv only the self_watch columns and the level's
 * start are taken; a point that has no line there (killed while it ran) counts from its first
 * planned start. Of a run without rows (output.rows) the points are those of points.csv, to
 * its digits. Records carry their events if events.bin holds them; without, ITL does not exist.
 */
struct loaded_run {
	struct scenario *scenario;
	struct record *records;
	size_t n_records;
	struct point *points;
	size_t n_points;
	char *dir;
	char *ended;	   /* "complete", "interrupted", "killed" (no end in run.json) */
	char *started_utc; /* "2026-11-24T12:00:00Z" */
};
enum rc results_load(struct loaded_run **out, const char *dir, struct err *e);
/* The same judged by another SLO than the run's own; NULL: its own. */
enum rc results_load_judged(struct loaded_run **out, const char *dir, const struct slo *slo,
			    struct err *e);
void loaded_run_free(struct loaded_run *l);

#endif

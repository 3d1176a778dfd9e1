/*
 * Owns the way back: a results folder, also one whose run was killed at any byte, as the records
 * and points it was. Main thread; the whole run in memory. Trusts no number in the files to be in
 * range.
 */
#include "results.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/csv.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "results_parts.h"

#define MAX_FILE_BYTES	((size_t)4 << 30)
#define MAX_TIME_NS	(INT64_C(366) * 86400 * NS_PER_S) /* a run's seconds are counted one by one */
#define MAX_TOKENS_READ 100000000

/* A file's bytes up to its last newline: a line that a killed writer left half done is not even
 * looked at, since a number cut short is still a number. */
static enum rc read_whole_lines(struct csv_table **out, const char *path, struct err *e)
{
	struct buf b;
	const char *end;
	enum rc rc;

	*out = NULL;
	buf_init(&b, MAX_FILE_BYTES);
	rc = (enum rc)buf_read_file(&b, path, e);
	end = memrchr(buf_head(&b), '\n', buf_size(&b));
	if (!rc && end)
		rc = csv_parse(out, path, buf_head(&b), (size_t)(end - buf_head(&b)) + 1, true, e);
	buf_release(&b);
	return rc;
}

/* ---- requests.csv ---- */

static enum rc bad_field(const char *path, size_t row, const char *column, const char *text,
			 struct err *e)
{
	return err_set(e, RC_INPUT, "%s:%zu: %s: \"%.60s\" is not among what loadgen writes there",
		       path, row + 2, column, text);
}

static enum rc get_int(const struct csv_table *t, size_t row, int col, int64_t missing, int64_t min,
		       int64_t max, const char *path, int64_t *out, struct err *e)
{
	enum rc rc = csv_field_int(t, row, col, missing, out, e);

	if (!rc && (*out < min || *out > max))
		rc = bad_field(path, row, csv_column_name(t, (size_t)col), csv_field(t, row, col),
			       e);
	return rc;
}

static bool token_source_parse(const char *name, enum token_source *out)
{
	for (int s = TOKENS_NONE; s <= TOKENS_EVENTS; s++) {
		if (strcmp(name, token_source_name((enum token_source)s)) == 0) {
			*out = (enum token_source)s;
			return true;
		}
	}
	return false;
}

static bool stamp_source_parse(const char *name, enum stamp_source *out)
{
	for (int s = STAMP_USER; s <= STAMP_VIRTUAL; s++) {
		if (strcmp(name, stamp_source_name((enum stamp_source)s)) == 0) {
			*out = (enum stamp_source)s;
			return true;
		}
	}
	return false;
}

static int find_target(const struct scenario *s, const char *name)
{
	for (int i = 0; i < s->n_targets; i++)
		if (strcmp(s->targets[i].name, name) == 0)
			return i;
	return -1;
}

static enum rc read_number(const struct request_column *c, const struct csv_table *t, size_t row,
			   int col, const char *path, struct record *r, struct err *e)
{
	void *at = (char *)r + c->offset;
	int64_t v = 0;
	enum rc rc;

	switch (c->kind) {
	case COL_TIME:
		rc = get_int(t, row, col, -1, -1, MAX_TIME_NS, path, &v, e);
		*(int64_t *)at = v;
		break;
	case COL_ID:
		rc = get_int(t, row, col, -1, INT64_MIN, INT64_MAX, path, &v, e);
		*(int64_t *)at = v;
		break;
	case COL_COUNT:
		rc = get_int(t, row, col, -1, -1, MAX_TOKENS_READ, path, &v, e);
		*(int32_t *)at = (int32_t)v;
		break;
	case COL_BOOL:
		rc = get_int(t, row, col, 0, 0, 1, path, &v, e);
		*(bool *)at = v != 0;
		break;
	default:
		rc = get_int(t, row, col, c->kind == COL_STATUS ? 0 : -1, -1, INT_MAX, path, &v, e);
		*(int *)at = (int)v;
		break;
	}
	return rc;
}

static enum rc read_request_field(const struct request_column *c, const struct csv_table *t,
				  size_t row, int col, const char *path, const struct scenario *s,
				  struct record *r, struct err *e)
{
	const char *text = csv_field(t, row, col);
	bool known = true;

	switch (c->kind) {
	case COL_TARGET:
		r->target = find_target(s, text);
		known = r->target >= 0;
		break;
	case COL_TOKEN_SOURCE:
		known = token_source_parse(text, &r->token_source);
		break;
	case COL_CLOCK_SOURCE:
		known = stamp_source_parse(text, &r->stamp_source);
		break;
	case COL_OUTCOME:
		known = outcome_parse(text, &r->outcome);
		break;
	case COL_TEXT:
		snprintf((char *)r + c->offset, c->size, "%s", text);
		break;
	case COL_LOAD_KIND:
	case COL_CONCURRENCY:
	case COL_RATE:
		break; /* the scenario knows */
	default:
		return read_number(c, t, row, col, path, r, e);
	}
	return known ? RC_OK : bad_field(path, row, c->name, text, e);
}

/* What point_compute() relies on. */
static enum rc check_request(const struct record *r, const struct scenario *s, const char *path,
			     size_t row, struct err *e)
{
	if (r->point >= 0 && (r->level < 0 || r->level >= s->n_levels))
		return err_set(e, RC_INPUT,
			       "%s:%zu: level %d of point %d is none of the scenario's %d", path,
			       row + 2, r->level, r->point, s->n_levels);
	if (r->outcome == OUTCOME_OK && (r->send_ns < 0 || r->done_ns < 0))
		return err_set(e, RC_INPUT, "%s:%zu: an ok request without send_ns and done_ns",
			       path, row + 2);
	return RC_OK;
}

static enum rc load_requests(struct loaded_run *l, struct err *e)
{
	char *path = xasprintf("%s/requests.csv", l->dir);
	int cols[N_REQUEST_COLUMNS];
	struct csv_table *t;
	size_t n;
	enum rc rc = read_whole_lines(&t, path, e);

	for (size_t i = 0; i < N_OLDEST_COLUMNS && !rc && t; i++)
		rc = csv_need(t, request_columns[i].name, &cols[i], e);
	for (size_t i = N_OLDEST_COLUMNS; i < N_REQUEST_COLUMNS && !rc && t; i++)
		cols[i] = csv_find(t, request_columns[i].name);
	n = !rc && t ? csv_rows(t) : 0;
	l->records = xcalloc(n + 1, sizeof(*l->records));
	for (size_t row = 0; row < n && !rc; row++) {
		struct record *r = &l->records[row];

		record_init(r);
		for (size_t i = 0; i < N_REQUEST_COLUMNS && !rc; i++)
			if (cols[i] >= 0)
				rc = read_request_field(&request_columns[i], t, row, cols[i], path,
							l->scenario, r, e);
		if (!rc)
			rc = check_request(r, l->scenario, path, row, e);
		l->n_records = row + 1;
	}
	csv_table_free(t);
	free(path);
	return rc;
}

/* ---- events.bin ---- */

static uint64_t get_le(const unsigned char *p, int bytes)
{
	uint64_t v = 0;

	for (int i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

static int by_request_id(const void *a, const void *b)
{
	const struct record *x = *(struct record *const *)a, *y = *(struct record *const *)b;

	return (x->request_id > y->request_id) - (x->request_id < y->request_id);
}

/* False, and the record without events, if they cannot be times and counts. */
static bool take_block(struct record *r, const unsigned char *p, uint32_t n)
{
	record_release(r);
	r->event = xcalloc(n, sizeof(*r->event));
	for (uint32_t i = 0; i < n; i++, p += EVENTS_EVENT_BYTES) {
		int64_t t_ns = (int64_t)get_le(p, 8);
		int32_t tokens = (int32_t)get_le(p + 8, 4);

		if (t_ns < 0 || t_ns > MAX_TIME_NS || tokens < 0 || tokens > MAX_TOKENS_READ) {
			record_release(r);
			return false;
		}
		r->event[i] =
			(struct token_event){t_ns, tokens, (get_le(p + 12, 4) & EVENT_MERGED) != 0};
	}
	r->n_events = (int32_t)n;
	return true;
}

/* Blocks until the first that is not whole or not sound; those without a row are passed over. */
static void take_blocks(struct loaded_run *l, const unsigned char *p, size_t left)
{
	struct record **sorted = xcalloc(l->n_records + 1, sizeof(struct record *));

	for (size_t i = 0; i < l->n_records; i++)
		sorted[i] = &l->records[i];
	qsort(sorted, l->n_records, sizeof(struct record *), by_request_id);
	while (left >= EVENTS_BLOCK_BYTES) {
		struct record key = {.request_id = (int64_t)get_le(p, 8)}, *want = &key, **found;
		uint32_t n = (uint32_t)get_le(p + 8, 4);
		size_t size = EVENTS_BLOCK_BYTES + (size_t)n * EVENTS_EVENT_BYTES;

		if (n == 0 || n > INT32_MAX || size > left)
			break;
		found = bsearch(&want, sorted, l->n_records, sizeof(struct record *),
				by_request_id);
		if (found && !take_block(*found, p + EVENTS_BLOCK_BYTES, n))
			break;
		p += size;
		left -= size;
	}
	free(sorted);
}

static enum rc load_events(struct loaded_run *l, struct err *e)
{
	char *path = xasprintf("%s/events.bin", l->dir);
	const unsigned char *p;
	struct buf b;
	enum rc rc = RC_OK;

	buf_init(&b, MAX_FILE_BYTES);
	if (access(path, F_OK) == 0)
		rc = (enum rc)buf_read_file(&b, path, e);
	p = (const unsigned char *)buf_head(&b);
	if (!rc && buf_size(&b) >= EVENTS_HEAD_BYTES) {
		if (memcmp(p, EVENTS_MAGIC, 8) != 0 || get_le(p + 8, 4) != EVENTS_VERSION)
			rc = err_set(e, RC_INPUT, "%s: is not an events file of version %d", path,
				     EVENTS_VERSION);
		else
			take_blocks(l, p + EVENTS_HEAD_BYTES, buf_size(&b) - EVENTS_HEAD_BYTES);
	}
	buf_release(&b);
	free(path);
	return rc;
}

/* ---- points ---- */

/* What a line of points.csv knows that the requests do not. */
struct point_line {
	int64_t id, level_start_ns;
	struct self_watch_point self;
};

static enum rc load_point_lines(const char *dir, struct point_line **out, size_t *n, struct err *e)
{
	static const char *const names[] = {"point", "level_start_ns", "loop_lag_p99_us",
					    "receive_error_p99_us", "cpu_share"};
	char *path = xasprintf("%s/points.csv", dir);
	int cols[ARRAY_LEN(names)];
	struct csv_table *t = NULL;
	enum rc rc;

	*out = NULL;
	*n = 0;
	rc = read_whole_lines(&t, path, e);
	for (size_t i = 0; i < ARRAY_LEN(names) && !rc && t; i++)
		rc = csv_need(t, names[i], &cols[i], e);
	if (!rc && t) {
		*n = csv_rows(t);
		*out = xcalloc(*n + 1, sizeof(**out));
	}
	for (size_t row = 0; row < *n && !rc; row++) {
		struct point_line *p = &(*out)[row];

		rc = csv_field_int(t, row, cols[0], -1, &p->id, e);
		if (!rc)
			rc = get_int(t, row, cols[1], 0, -MAX_TIME_NS, MAX_TIME_NS, path,
				     &p->level_start_ns, e);
		if (!rc)
			rc = csv_field_num(t, row, cols[2], NAN, &p->self.loop_lag_p99_us, e);
		if (!rc)
			rc = csv_field_num(t, row, cols[3], NAN, &p->self.receive_error_p99_us, e);
		if (!rc)
			rc = csv_field_num(t, row, cols[4], NAN, &p->self.cpu_share, e);
	}
	csv_table_free(t);
	free(path);
	return rc;
}

static int by_point(const void *a, const void *b)
{
	const struct record *x = *(struct record *const *)a, *y = *(struct record *const *)b;

	if (x->point != y->point)
		return x->point < y->point ? -1 : 1;
	return (x > y) - (x < y); /* in a point: as they stand in the file */
}

static const struct point_line *find_line(const struct point_line *lines, size_t n, int id)
{
	for (size_t i = 0; i < n; i++)
		if (lines[i].id == id)
			return &lines[i];
	return NULL;
}

static void add_point(struct loaded_run *l, const struct record *const *records, size_t n,
		      const struct point_line *line)
{
	struct point_line unknown = {.level_start_ns = INT64_MAX, .self = {NAN, NAN, NAN, NAN}};
	struct point *p = &l->points[l->n_points++];

	for (size_t i = 0; i < n; i++)
		if (records[i]->sched_ns < unknown.level_start_ns)
			unknown.level_start_ns = records[i]->sched_ns;
	if (!line)
		line = &unknown;
	p->id = records[0]->point;
	p->target = records[0]->target;
	p->level = records[0]->level;
	p->repeat = records[0]->repeat;
	point_compute(p, l->scenario, records, n, line->level_start_ns, &line->self);
}

static enum rc load_points(struct loaded_run *l, struct err *e)
{
	const struct record **sorted = xcalloc(l->n_records + 1, sizeof(struct record *));
	struct point_line *lines;
	size_t n_lines, n = 0;
	enum rc rc = load_point_lines(l->dir, &lines, &n_lines, e);

	for (size_t i = 0; i < l->n_records; i++)
		if (l->records[i].point >= 0)
			sorted[n++] = &l->records[i];
	qsort(sorted, n, sizeof(struct record *), by_point);
	if (!rc)
		l->points = xcalloc(n + 1, sizeof(*l->points));
	for (size_t i = 0, end; i < n && !rc; i = end) {
		for (end = i + 1; end < n && sorted[end]->point == sorted[i]->point; end++)
			if (sorted[end]->target != sorted[i]->target ||
			    sorted[end]->level != sorted[i]->level)
				rc = err_set(e, RC_INPUT,
					     "%s/requests.csv: point %d has two targets or levels",
					     l->dir, sorted[i]->point);
		if (!rc)
			add_point(l, &sorted[i], end - i,
				  find_line(lines, n_lines, sorted[i]->point));
	}
	free(sorted);
	free(lines);
	return rc;
}

/* ---- a run without rows ---- */

static enum rc read_figures(const struct csv_table *t, size_t row, const int *col, struct point *p,
			    struct err *e)
{
	struct point_figure f;
	enum rc rc = RC_OK;
	char name[32];

	for (size_t i = 0; !rc && point_figure_at(i, name, &f); i++) {
		void *at = (char *)p + f.offset;
		int64_t whole = 0;

		if (f.kind == FIGURE_NUM)
			rc = csv_field_num(t, row, col[i], NAN, at, e);
		else
			rc = csv_field_int(t, row, col[i], 0, &whole, e);
		if (f.kind == FIGURE_INT64)
			*(int64_t *)at = whole;
		else if (f.kind == FIGURE_INT)
			*(int *)at = (int)whole;
		else if (f.kind == FIGURE_BOOL)
			*(bool *)at = whole != 0;
	}
	return rc;
}

static bool read_verdict(const char *name, enum verdict *out)
{
	for (int v = VERDICT_OK; v <= VERDICT_FAILED; v++) {
		if (strcmp(name, verdict_name((enum verdict)v)) == 0) {
			*out = (enum verdict)v;
			return true;
		}
	}
	return false;
}

static enum rc read_point(const struct loaded_run *l, const struct csv_table *t, size_t row,
			  const int *col, const int *named, struct point *p, struct err *e)
{
	enum rc rc = read_figures(t, row, col, p, e);

	if (rc)
		return rc;
	p->target = find_target(l->scenario, csv_field(t, row, named[0]));
	if (p->target < 0 || p->level < 0 || p->level >= l->scenario->n_levels ||
	    !read_verdict(csv_field(t, row, named[1]), &p->verdict))
		return err_set(e, RC_INPUT,
			       "%s/points.csv: line %zu is of no target, level or verdict of its "
			       "scenario",
			       l->dir, row + 2);
	record_set_text(p->verdict_text, sizeof(p->verdict_text), csv_field(t, row, named[2]));
	for (int m = 0; m < M_COUNT; m++)
		p->samples[m] = isnan(p->m[m][S_MEAN]) ? 0 : (size_t)p->ok;
	return RC_OK;
}

static enum rc load_kept_points(struct loaded_run *l, struct err *e)
{
	static const char *const names[] = {"target", "verdict", "verdict_text"};
	char *path = xasprintf("%s/points.csv", l->dir), name[32];
	int named[ARRAY_LEN(names)], *col;
	struct csv_table *t = NULL;
	struct point_figure f;
	enum rc rc = read_whole_lines(&t, path, e);
	size_t n = 0;

	for (size_t i = 0; !rc && t && i < ARRAY_LEN(names); i++)
		rc = csv_need(t, names[i], &named[i], e);
	while (point_figure_at(n, name, &f))
		n++;
	col = xcalloc(n + 1, sizeof(*col));
	for (size_t i = 0; !rc && t && point_figure_at(i, name, &f); i++)
		rc = csv_need(t, name, &col[i], e);
	l->points = xcalloc((t ? csv_rows(t) : 0) + 1, sizeof(*l->points));
	for (size_t row = 0; !rc && t && row < csv_rows(t); row++)
		rc = read_point(l, t, row, col, named, &l->points[l->n_points++], e);
	csv_table_free(t);
	free(col);
	free(path);
	return rc;
}

/* ---- the whole ---- */

static char *string_of(const cJSON *root, const char *key, const char *otherwise)
{
	const char *text = otherwise;
	struct err e;

	if (!root || json_get_str(root, "", key, &text, &e) != RC_OK)
		text = otherwise;
	return xstrdup(text);
}

static enum rc load_run_json(struct loaded_run *l, struct err *e)
{
	char *path = xasprintf("%s/run.json", l->dir);
	cJSON *root = NULL;
	struct buf b;
	enum rc rc;

	buf_init(&b, MAX_FILE_BYTES);
	rc = (enum rc)buf_read_file(&b, path, e);
	if (!rc && json_parse(&root, buf_head(&b), buf_size(&b), e) != RC_OK)
		rc = err_prefix(e, "%s: ", path);
	if (!rc) {
		l->started_utc = string_of(root, "started_utc", "");
		l->ended = string_of(root, "ended", "killed");
	}
	cJSON_Delete(root);
	buf_release(&b);
	free(path);
	return rc;
}

enum rc results_load(struct loaded_run **out, const char *dir, struct err *e)
{
	return results_load_judged(out, dir, NULL, e);
}

enum rc results_load_judged(struct loaded_run **out, const char *dir, const struct slo *slo,
			    struct err *e)
{
	struct loaded_run *l = xcalloc(1, sizeof(*l));
	char *path = xasprintf("%s/scenario.yaml", dir);
	enum rc rc;

	*out = NULL;
	l->dir = xstrdup(dir);
	if (access(path, F_OK) != 0)
		rc = err_set(e, RC_INPUT, "%s: holds no run (no scenario.yaml): %s", dir,
			     strerror(errno));
	else
		rc = scenario_load_archived(&l->scenario, path, e);
	if (!rc && slo)
		l->scenario->slo = *slo;
	if (!rc)
		rc = load_run_json(l, e);
	if (!rc && l->scenario->output.rows)
		rc = load_requests(l, e);
	if (!rc && l->scenario->output.rows)
		rc = load_events(l, e);
	if (!rc)
		rc = l->scenario->output.rows ? load_points(l, e) : load_kept_points(l, e);
	if (rc)
		loaded_run_free(l);
	else
		*out = l;
	free(path);
	return rc;
}

void loaded_run_free(struct loaded_run *l)
{
	if (!l)
		return;
	for (size_t i = 0; i < l->n_records; i++)
		record_release(&l->records[i]);
	scenario_free(l->scenario);
	free(l->records);
	free(l->points);
	free(l->dir);
	free(l->ended);
	free(l->started_utc);
	free(l);
}

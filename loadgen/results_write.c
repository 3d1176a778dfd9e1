/*
 * Owns the results folder while a run goes on: its creation, the appended rows, run.json before and
 * after. Main thread; a flush is one write(2) a file. Must not know how a figure is drawn or read.
 */
#include "results.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/csv.h"
#include "base/die.h"
#include "results_parts.h"

#define EVENTS_GATHER_BYTES (256u << 10)
#define EVENTS_MAX_BYTES                                                                           \
	(1u << 30) /* waiting for a disk; beyond it events are lost and that is said */

struct results {
	char *dir;
	const struct scenario *s;
	int64_t start_ns, wall_offset_ns;
	int64_t last_end_ns; /* of a point; start_ns before the first */
	struct csv_writer *requests, *points,
		*server; /* requests: NULL if the scenario wants none */
	int events_fd;	 /* -1: the scenario wants none */
	struct buf events;
	struct point *done; /* what results_close() says of them */
	size_t n_done;
	cJSON *preflight, *notes;
	struct err failed; /* the first write that failed; rc 0 = none */
};

static void keep_failure(struct results *r, const struct err *e)
{
	if (e->rc && !r->failed.rc)
		r->failed = *e;
}

static char *path_in(const struct results *r, const char *name)
{
	return xasprintf("%s/%s", r->dir, name);
}

/* ---- the folder ---- */

/* "My run: A/B" -> "My-run-A-B" */
static char *folder_name(const char *scenario_name)
{
	char *out = xcalloc(strlen(scenario_name) + 4, 1), *p = out;

	for (const char *c = scenario_name; *c; c++) {
		bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
			     (*c >= '0' && *c <= '9') || *c == '_' || *c == '.';

		if (plain)
			*p++ = *c;
		else if (p > out && p[-1] != '-')
			*p++ = '-';
	}
	while (p > out && p[-1] == '-')
		*--p = '\0';
	if (p == out)
		memcpy(out, "run", 4);
	return out;
}

static enum rc make_folders(const char *path, struct err *e)
{
	char *copy;
	enum rc rc = RC_OK;

	if (!*path)
		return err_set(e, RC_INPUT, "results folder: want the path of a folder");
	copy = xstrdup(path);
	for (char *p = copy + 1; !rc; p++) {
		char was = *p;

		if (was != '/' && was != '\0')
			continue;
		*p = '\0';
		if (mkdir(copy, 0777) != 0 && errno != EEXIST)
			rc = err_set(e, RC_IO, "results folder %s: %s", copy, strerror(errno));
		*p = was;
		if (!was)
			break;
	}
	free(copy);
	return rc;
}

/* Two runs in one second get a number. */
static char *default_folder(const struct scenario *s, int64_t wall_ns)
{
	char *name = folder_name(s->name), utc[32], *path;
	int n = 1;

	format_utc(utc, sizeof(utc), "%Y%m%dT%H%M%SZ", wall_ns);
	path = xasprintf("results/%s-%s", name, utc);
	while (access(path, F_OK) == 0) {
		free(path);
		path = xasprintf("results/%s-%s-%d", name, utc, ++n);
	}
	free(name);
	return path;
}

/* A simulated run ends with its last point; the wall's clock says nothing about it. */
static int64_t run_now_ns(const struct results *r)
{
	return r->s->clock == RUN_CLOCK_VIRTUAL ? r->last_end_ns : monotonic_now_ns();
}

static enum rc write_run_json(const struct results *r, const char *ended, struct err *e)
{
	struct run_story story = {r->s,	     r->start_ns,   r->wall_offset_ns,
				  ended,     run_now_ns(r), r->done,
				  r->n_done, r->notes,	    r->preflight};
	char *path = path_in(r, "run.json");
	enum rc rc = run_json_write(path, &story, e);

	free(path);
	return rc;
}

static enum rc write_scenario(const struct results *r, struct err *e)
{
	char *path = path_in(r, "scenario.yaml");
	struct buf text;
	enum rc rc;

	buf_init(&text, 64u << 20);
	rc = scenario_emit(r->s, &text)
		     ? file_replace(path, &text, e)
		     : err_set(e, RC_LIMIT, "%s: the scenario is too large", path);
	buf_release(&text);
	free(path);
	return rc;
}

static const char *const server_columns[] = {"t_ns", "target", "point", "name", "value", NULL};

void results_add_point(struct results *r, const struct point *p, int64_t level_start_ns,
		       int64_t level_end_ns)
{
	struct err e = {0};

	results_flush(r); /* never a point without its rows */
	if (points_put(r->points, r->s, p, r->start_ns, level_start_ns, level_end_ns, &e) != RC_OK)
		keep_failure(r, &e);
	r->last_end_ns = level_end_ns;
	r->done = xreallocarray(r->done, r->n_done + 1, sizeof(*r->done));
	r->done[r->n_done++] = *p;
}

/* ---- requests.csv and events.bin ---- */

static void put_request_field(struct results *r, const struct request_column *c,
			      const struct record *rec)
{
	const void *at = (const char *)rec + c->offset;
	struct csv_writer *w = r->requests;
	int64_t v;

	switch (c->kind) {
	case COL_TARGET:
		csv_str(w, r->s->targets[rec->target].name);
		break;
	case COL_LOAD_KIND:
	case COL_CONCURRENCY:
	case COL_RATE:
		put_level_field(w, rec->level < 0 ? NULL : &r->s->levels[rec->level], c->kind);
		break;
	case COL_ID:
		csv_int(w, *(const int64_t *)at);
		break;
	case COL_INT:
		csv_int(w, *(const int *)at);
		break;
	case COL_COUNT:
		v = *(const int32_t *)at;
		v < 0 ? csv_empty(w) : csv_int(w, v);
		break;
	case COL_TIME:
		v = *(const int64_t *)at;
		v < 0 ? csv_empty(w) : csv_int(w, v - r->start_ns);
		break;
	case COL_STATUS:
		v = *(const int *)at;
		v == 0 ? csv_empty(w) : csv_int(w, v);
		break;
	case COL_BOOL:
		csv_int(w, *(const bool *)at);
		break;
	case COL_TOKEN_SOURCE:
		csv_str(w, token_source_name(rec->token_source));
		break;
	case COL_CLOCK_SOURCE:
		csv_str(w, stamp_source_name(rec->stamp_source));
		break;
	case COL_OUTCOME:
		csv_str(w, outcome_name(rec->outcome));
		break;
	case COL_TEXT:
		csv_str(w, at);
		break;
	}
}

static void put_le(unsigned char **p, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		*(*p)++ = (unsigned char)(v >> (8 * i));
}

static void flush_events(struct results *r)
{
	while (buf_size(&r->events)) {
		ssize_t n = write(r->events_fd, buf_head(&r->events), buf_size(&r->events));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			struct err e;

			err_set(&e, RC_IO, "%s/events.bin: %s", r->dir, strerror(errno));
			keep_failure(r, &e);
			return;
		}
		buf_consume(&r->events, (size_t)n);
	}
}

static void add_events(struct results *r, const struct record *rec)
{
	size_t n = (size_t)rec->n_events, size = EVENTS_BLOCK_BYTES + n * EVENTS_EVENT_BYTES;
	unsigned char *p = (unsigned char *)buf_reserve(&r->events, size);

	if (!p) {
		struct err e;

		err_set(&e, RC_LIMIT,
			"%s/events.bin: events were lost: too many wait to be written", r->dir);
		keep_failure(r, &e);
		return;
	}
	put_le(&p, (uint64_t)rec->request_id, 8);
	put_le(&p, n, 4);
	for (size_t i = 0; i < n; i++) {
		put_le(&p, (uint64_t)(rec->event[i].t_ns - r->start_ns), 8);
		put_le(&p, (uint32_t)rec->event[i].tokens, 4);
		put_le(&p, rec->event[i].merged ? EVENT_MERGED : 0, 4);
	}
	buf_commit(&r->events, size);
	if (buf_size(&r->events) >= EVENTS_GATHER_BYTES)
		flush_events(r);
}

void results_add_record(struct results *r, const struct record *rec)
{
	struct err e = {0};

	if (!r->requests)
		return;
	if (r->events_fd >= 0 && rec->n_events > 0)
		add_events(r, rec);
	for (size_t i = 0; i < N_REQUEST_COLUMNS; i++)
		put_request_field(r, &request_columns[i], rec);
	if (csv_end(r->requests, &e) != RC_OK)
		keep_failure(r, &e);
}

void results_add_server(struct results *r, int target, int point, int64_t t_ns, const char *name,
			double value)
{
	struct err e = {0};

	csv_int(r->server, t_ns - r->start_ns);
	csv_str(r->server, r->s->targets[target].name);
	csv_int(r->server, point);
	csv_str(r->server, name);
	csv_num(r->server, value, 6);
	if (csv_end(r->server, &e) != RC_OK)
		keep_failure(r, &e);
}

/* Events first: a row promises its events, events without a row are passed over. */
void results_flush(struct results *r)
{
	struct err e = {0};

	if (r->events_fd >= 0)
		flush_events(r);
	if (r->requests && csv_flush(r->requests, &e) != RC_OK)
		keep_failure(r, &e);
	if (csv_flush(r->server, &e) != RC_OK)
		keep_failure(r, &e);
}

bool results_failed(const struct results *r)
{
	return r->failed.rc != RC_OK;
}

/* ---- begin and end ---- */

const char *results_dir(const struct results *r)
{
	return r->dir;
}

char *results_started_utc(const struct results *r)
{
	char utc[32];

	format_utc(utc, sizeof(utc), UTC_FORMAT, r->start_ns + r->wall_offset_ns);
	return xstrdup(utc);
}

static enum rc open_events(struct results *r, struct err *e)
{
	char *path = path_in(r, "events.bin");
	unsigned char *head = (unsigned char *)buf_reserve(&r->events, EVENTS_HEAD_BYTES);
	enum rc rc = RC_OK;

	r->events_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (r->events_fd < 0)
		rc = err_set(e, RC_IO, "%s: %s", path, strerror(errno));
	for (const char *c = EVENTS_MAGIC; *c; c++)
		*head++ = (unsigned char)*c;
	put_le(&head, EVENTS_VERSION, 4);
	put_le(&head, 0, 4);
	buf_commit(&r->events, EVENTS_HEAD_BYTES);
	free(path);
	return rc;
}

static enum rc open_rows(struct results *r, struct err *e)
{
	const char *names[N_REQUEST_COLUMNS + 1] = {NULL};
	char *requests = path_in(r, "requests.csv"), *points = path_in(r, "points.csv");
	char *server = path_in(r, "server.csv");
	enum rc rc = RC_OK;

	for (size_t i = 0; i < N_REQUEST_COLUMNS; i++)
		names[i] = request_columns[i].name;
	if (r->s->output.rows)
		rc = csv_create(&r->requests, requests, names, e);
	if (!rc)
		rc = points_create(&r->points, points, e);
	if (!rc)
		rc = csv_create(&r->server, server, server_columns, e);
	if (!rc && r->requests)
		csv_set_buffered(r->requests, true);
	if (!rc)
		csv_set_buffered(r->server, true);
	if (!rc && r->s->output.events)
		rc = open_events(r, e);
	free(requests);
	free(points);
	free(server);
	return rc;
}

static enum rc release(struct results *r, struct err *e)
{
	struct csv_writer *const writers[] = {r->requests, r->points, r->server};
	struct err failed = {0};

	for (size_t i = 0; i < ARRAY_LEN(writers); i++)
		if (writers[i] && csv_close(writers[i], &failed) != RC_OK)
			keep_failure(r, &failed);
	if (r->events_fd >= 0 && close(r->events_fd) != 0) {
		err_set(&failed, RC_IO, "%s/events.bin: %s", r->dir, strerror(errno));
		keep_failure(r, &failed);
	}
	if (r->failed.rc && e)
		*e = r->failed;
	failed.rc = r->failed.rc;
	buf_release(&r->events);
	cJSON_Delete(r->preflight);
	cJSON_Delete(r->notes);
	free(r->done);
	free(r->dir);
	free(r);
	return failed.rc;
}

enum rc results_create(struct results **out, const char *dir, const struct scenario *s,
		       int64_t start_ns, struct err *e)
{
	struct results *r = xcalloc(1, sizeof(*r));
	char *run_json;
	enum rc rc;

	*out = NULL;
	r->s = s;
	r->start_ns = r->last_end_ns = start_ns;
	r->wall_offset_ns = wall_minus_monotonic_ns();
	if (s->clock == RUN_CLOCK_VIRTUAL) /* its zero is now */
		r->wall_offset_ns += monotonic_now_ns() - start_ns;
	r->events_fd = -1;
	r->preflight = cJSON_CreateArray();
	r->notes = cJSON_CreateArray();
	buf_init(&r->events, EVENTS_MAX_BYTES);
	r->dir = dir ? xstrdup(dir) : default_folder(s, start_ns + r->wall_offset_ns);
	run_json = path_in(r, "run.json");
	rc = make_folders(r->dir, e);
	if (!rc && access(run_json, F_OK) == 0)
		rc = err_set(e, RC_INPUT, "%s: holds a run already; name another folder with --out",
			     r->dir);
	if (!rc)
		rc = open_rows(r, e);
	if (!rc)
		rc = write_scenario(r, e);
	if (!rc)
		rc = write_run_json(r, NULL, e);
	free(run_json);
	if (rc)
		release(r, NULL);
	else
		*out = r;
	return rc;
}

void results_add_preflight(struct results *r, int target, const struct preflight_found *f)
{
	struct err failed = {0};

	cJSON_AddItemToArray(r->preflight, preflight_json(r->s->targets[target].name, f));
	if (write_run_json(r, NULL, &failed) != RC_OK)
		keep_failure(r, &failed);
}

void results_add_note(struct results *r, const char *text)
{
	const cJSON *note;

	cJSON_ArrayForEach(note, r->notes)
	{
		if (strcmp(note->valuestring, text) == 0)
			return;
	}
	cJSON_AddItemToArray(r->notes, cJSON_CreateString(text));
}

enum rc results_close(struct results *r, const char *ended, struct err *e)
{
	struct err failed = {0};

	results_flush(r);
	if (write_run_json(r, ended, &failed) != RC_OK)
		keep_failure(r, &failed);
	return release(r, e);
}

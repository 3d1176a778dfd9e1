/*
 * Owns the reading of a published table into points. Main thread, at start. Must not know what is
 * compared with them.
 */
#include "published.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/csv.h"
#include "base/die.h"

#define MAX_TEXT_BYTES (1u << 20)
#define MAX_CLIENTS    1000000

enum column { CONCURRENCY, TTFT, ITL, OUTPUT, TPS, N_COLUMNS };

static const char *const names[N_COLUMNS] = {"concurrency", "ttft_ms", "itl_ms", "output_tokens",
					     "output_tokens_per_s"};

struct row {
	double of[N_COLUMNS];
};

static enum rc read_row(const struct csv_table *t, size_t row, const int col[N_COLUMNS],
			struct row *out, struct err *e)
{
	for (int i = 0; i < N_COLUMNS; i++) {
		if (csv_field_num(t, row, col[i], NAN, &out->of[i], e))
			return e->rc;
		if (!(out->of[i] > 0))
			return csv_field_err(t, row, col[i], e, "want a number above 0");
	}
	if (out->of[CONCURRENCY] > MAX_CLIENTS ||
	    out->of[CONCURRENCY] != round(out->of[CONCURRENCY]))
		return csv_field_err(t, row, col[CONCURRENCY], e,
				     "want a whole number of clients, at most %d", MAX_CLIENTS);
	return RC_OK;
}

static enum rc read_rows(const char *path, struct row **rows, size_t *n, struct err *e)
{
	struct csv_table *t = NULL;
	int col[N_COLUMNS];
	enum rc rc = csv_read(&t, path, false, e);

	for (int i = 0; rc == RC_OK && i < N_COLUMNS; i++)
		rc = csv_need(t, names[i], &col[i], e);
	if (rc == RC_OK && csv_rows(t) == 0)
		rc = err_set(e, RC_INPUT, "%s: no rows in it", path);
	if (rc == RC_OK) {
		*n = csv_rows(t);
		*rows = xcalloc(*n, sizeof(**rows));
		for (size_t i = 0; rc == RC_OK && i < *n; i++)
			rc = read_row(t, i, col, &(*rows)[i], e);
	}
	csv_table_free(t);
	return rc;
}

/* The file's name without folder and ending. */
static char *stem_of(const char *path)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
	const char *dot = strrchr(base, '.');

	return dot && dot > base ? xstrndup(base, (size_t)(dot - base)) : xstrdup(base);
}

/* A scenario that has these loads. Nobody runs it: what it needs beside them says nothing. */
static enum rc make_scenario(struct loaded_run *l, const char *path, const struct row *rows,
			     size_t n, struct err *e)
{
	const struct opt_list none = {0};
	char *stem = stem_of(path);
	struct buf b;
	enum rc rc;

	buf_init(&b, MAX_TEXT_BYTES);
	buf_puts(&b, "name: published\ntargets: [{name: '");
	for (const char *c = stem; *c; c++) {
		if (*c == '\'')
			buf_putc(&b, '\'');
		buf_putc(&b, *c);
	}
	buf_puts(&b, " (published)', url: 'http://127.0.0.1:1'}]\n"
		     "workload: {prompts: {text: ['-']}, output_tokens: 1}\n"
		     "load: {closed: {requests: 1, concurrency: [");
	for (size_t i = 0; i < n; i++)
		buf_printf(&b, "%s%.0f", i ? ", " : "", rows[i].of[CONCURRENCY]);
	buf_puts(&b, "]}}\n");
	rc = scenario_parse(&l->scenario, path, buf_head(&b), buf_size(&b), &none, &none, e);
	if (!rc)
		l->scenario->targets[0].table = true;
	buf_release(&b);
	free(stem);
	return rc;
}

static void make_point(struct point *p, int id, const struct row *r)
{
	struct point_figure f;
	char name[32];

	*p = (struct point){.level = id, .id = id, .verdict = VERDICT_OK};
	for (size_t i = 0; point_figure_at(i, name, &f); i++)
		if (f.kind == FIGURE_NUM)
			*(double *)((char *)p + f.offset) = NAN;
	for (int m = 0; m < M_COUNT; m++)
		for (int s = 0; s < S_COUNT; s++)
			p->ci[m][s] = (struct ends){NAN, NAN};
	p->output_tokens_per_s_ci = (struct ends){NAN, NAN};
	p->output_tokens_per_s = r->of[TPS];
	p->m[M_TTFT][S_MEAN] = r->of[TTFT];
	p->m[M_TPOT][S_MEAN] = r->of[ITL];
	p->m[M_E2EL][S_MEAN] = r->of[TTFT] + r->of[ITL] * (r->of[OUTPUT] - 1);
}

enum rc published_load(struct loaded_run **out, const char *path, struct err *e)
{
	struct loaded_run *l = xcalloc(1, sizeof(*l));
	struct row *rows = NULL;
	size_t n = 0;
	enum rc rc = read_rows(path, &rows, &n, e);

	*out = NULL;
	if (rc == RC_OK)
		rc = make_scenario(l, path, rows, n, e);
	if (rc == RC_OK) {
		l->points = xcalloc(n, sizeof(*l->points));
		l->n_points = n;
		for (size_t i = 0; i < n; i++)
			make_point(&l->points[i], (int)i, &rows[i]);
		l->dir = xstrdup(path);
		l->ended = xstrdup("published");
		l->started_utc = xstrdup("");
		*out = l;
	} else {
		loaded_run_free(l);
	}
	free(rows);
	return rc;
}

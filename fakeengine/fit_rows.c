/*
 * Owns the rows of a measured engine and the account of those that are none. Runs at start. Must
 * not know which file they came from, nor what is done with them.
 */
#include "fit_rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"

#define MOST_LEFT_OUT 0.2

/* A closed loop: so many turns at least, so large a share of them no later than that. */
#define LEAST_TURNS   4
#define MOST_PAUSE_NS INT64_C(50000000)
#define SHARE_IN_TURN 0.95

static const char *const reasons[N_LEFT] = {
	[LEFT_FAILED] = "failed or cancelled",
	[LEFT_MISSING] = "without a time or a count",
	[LEFT_ZERO] = "with zero tokens",
	[LEFT_SKEW] = "with clock skew: an answer before its request, or an end before a beginning",
};

void fit_rows_begin(struct fit_rows *r, const char *name, int32_t concurrency)
{
	r->run = xreallocarray(r->run, (size_t)r->n_runs + 1, sizeof(*r->run));
	r->run[r->n_runs++] =
		(struct fit_run){xstrdup(name), r->n, r->n, concurrency > 0 ? concurrency : 0};
}

void fit_rows_leave_out(struct fit_rows *r, enum fit_reason why, const char *where)
{
	struct fit_left_out *l = &r->left_out[why];

	if (l->n < FIT_EXAMPLES)
		l->example[l->n] = xstrdup(where);
	l->n++;
}

void fit_rows_add(struct fit_rows *r, struct fit_row row, const char *where)
{
	CHECK(r->n_runs > 0);
	if (row.prompt_tokens <= 0 || row.output_tokens <= 0) {
		fit_rows_leave_out(r, LEFT_ZERO, where);
		free(row.event);
		return;
	}
	if (row.first_ns < row.arrival_ns || row.last_ns < row.first_ns ||
	    (row.output_tokens > 1 && row.last_ns == row.first_ns)) {
		fit_rows_leave_out(r, LEFT_SKEW, where);
		free(row.event);
		return;
	}
	if (r->n == r->cap) {
		r->cap = r->cap ? 2 * r->cap : 256;
		r->row = xreallocarray(r->row, r->cap, sizeof(*r->row));
	}
	row.run = r->n_runs - 1;
	row.next = -1;
	r->row[r->n++] = row;
	r->run[row.run].to = r->n;
}

/* ---- in order ---- */

static int by_arrival(const void *a, const void *b)
{
	const struct fit_row *x = a, *y = b;

	if (x->arrival_ns != y->arrival_ns)
		return x->arrival_ns < y->arrival_ns ? -1 : 1;
	return (x->first_ns > y->first_ns) - (x->first_ns < y->first_ns);
}

/* A closed loop without arrivals keeps the order of the file. */
static void sort_run(struct fit_rows *r, const struct fit_run *run)
{
	size_t n = run->to - run->from;
	struct fit_row *first;
	int64_t zero_ns;

	if (run->concurrency > 0 || n == 0)
		return;
	first = r->row + run->from;
	qsort(first, n, sizeof(*first), by_arrival);
	zero_ns = first->arrival_ns;
	for (struct fit_row *w = first; w < first + n; w++) {
		w->arrival_ns -= zero_ns;
		w->first_ns -= zero_ns;
		w->last_ns -= zero_ns;
		for (int32_t i = 0; i < w->n_events; i++)
			w->event[i].t_ns -= zero_ns;
	}
}

/* ---- closed loops ---- */

static int by_end(const void *a, const void *b)
{
	const struct fit_row *x = *(const struct fit_row *const *)a;
	const struct fit_row *y = *(const struct fit_row *const *)b;

	if (x->last_ns != y->last_ns)
		return x->last_ns < y->last_ns ? -1 : 1;
	return (x > y) - (x < y);
}

/* The (j + C)-th request comes soon after the j-th end, C those that came before the first end. */
static bool is_closed_loop(struct fit_row *const *ended, const struct fit_row *row, size_t n,
			   size_t clients)
{
	size_t soon = 0;

	if (n < clients + LEAST_TURNS)
		return false;
	for (size_t j = 0; j + clients < n; j++) {
		int64_t pause_ns = row[j + clients].arrival_ns - ended[j]->last_ns;

		soon += pause_ns >= 0 && pause_ns <= MOST_PAUSE_NS;
	}
	return (double)soon >= SHARE_IN_TURN * (double)(n - clients);
}

static void find_closed_loop(struct fit_rows *r, const struct fit_run *run)
{
	struct fit_row *row = r->row + run->from, **ended;
	size_t n = run->to - run->from, clients = 0;

	if (run->concurrency > 0 || n == 0)
		return;
	ended = xcalloc(n, sizeof(struct fit_row *));
	for (size_t i = 0; i < n; i++)
		ended[i] = &row[i];
	qsort(ended, n, sizeof(struct fit_row *), by_end);
	while (clients < n && row[clients].arrival_ns < ended[0]->last_ns)
		clients++;
	if (is_closed_loop(ended, row, n, clients)) {
		for (size_t j = 0; j + clients < n; j++) {
			int64_t pause_ns = row[j + clients].arrival_ns - ended[j]->last_ns;

			ended[j]->next = (int64_t)(run->from + j + clients);
			ended[j]->pause_ns = pause_ns > 0 ? pause_ns : 0;
			row[j + clients].waits = true;
		}
	}
	free(ended);
}

size_t fit_rows_left_out(const struct fit_rows *r)
{
	size_t n = 0;

	for (int i = 0; i < N_LEFT; i++)
		n += r->left_out[i].n;
	return n;
}

enum rc fit_rows_finish(struct fit_rows *r, struct err *e)
{
	size_t left_out = fit_rows_left_out(r);
	int n_runs = 0;
	struct buf text;
	enum rc rc = RC_OK;

	for (int i = 0; i < r->n_runs; i++) {
		sort_run(r, &r->run[i]);
		if (r->run[i].to == r->run[i].from) {
			free(r->run[i].name);
			continue;
		}
		r->run[n_runs] = r->run[i];
		for (size_t k = r->run[i].from; k < r->run[i].to; k++)
			r->row[k].run = n_runs;
		find_closed_loop(r, &r->run[n_runs]);
		n_runs++;
	}
	r->n_runs = n_runs;
	if (r->n > 0 && (double)left_out <= MOST_LEFT_OUT * (double)(r->n + left_out))
		return RC_OK;
	buf_init(&text, 4096);
	fit_rows_account(r, &text);
	rc = left_out ? err_set(e, RC_INPUT, "%s; a fit stands on at most a fifth of them missing",
				buf_cstr(&text))
		      : err_set(e, RC_INPUT, "no requests in it");
	buf_release(&text);
	return rc;
}

void fit_rows_release(struct fit_rows *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->row[i].event);
	for (int i = 0; i < r->n_runs; i++)
		free(r->run[i].name);
	for (int i = 0; i < N_LEFT; i++)
		for (size_t k = 0; k < FIT_EXAMPLES; k++)
			free(r->left_out[i].example[k]);
	free(r->row);
	free(r->run);
	*r = (struct fit_rows){0};
}

void fit_rows_account(const struct fit_rows *r, struct buf *out)
{
	size_t left_out = fit_rows_left_out(r);
	const char *between = ": ";

	if (left_out == 0)
		return;
	buf_printf(out, "%zu of %zu rows left out", left_out, r->n + left_out);
	for (int i = 0; i < N_LEFT; i++) {
		const struct fit_left_out *l = &r->left_out[i];

		if (l->n == 0)
			continue;
		buf_printf(out, "%s%zu %s (", between, l->n, reasons[i]);
		for (size_t k = 0; k < FIT_EXAMPLES && k < l->n; k++)
			buf_printf(out, "%s%s", k ? ", " : "", l->example[k]);
		buf_puts(out, l->n > FIT_EXAMPLES ? ", ...)" : ")");
		between = "; ";
	}
}

/* ---- what the engine held ---- */

struct edge {
	int64_t t_ns;
	int32_t requests;
	int64_t tokens;
};

static int by_time(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;

	if (x->t_ns != y->t_ns)
		return x->t_ns < y->t_ns ? -1 : 1;
	return (x->requests > y->requests) -
	       (x->requests < y->requests); /* who goes, then who comes */
}

/* The edges of a run's rows; how many there are. */
static size_t edges_of(const struct fit_rows *r, const struct fit_run *run,
		       const struct fit_times *times, bool scored_only, struct edge *edge)
{
	size_t n = 0;

	for (size_t i = run->from; i < run->to; i++) {
		const struct fit_row *w = &r->row[i];
		int64_t held = w->prompt_tokens + w->output_tokens / 2;
		struct fit_times t = {0, w->first_ns, w->last_ns};

		if ((scored_only && !w->scored) || (!times && run->concurrency > 0))
			continue;
		if (times)
			t = times[i];
		edge[n++] = (struct edge){t.first_ns, 1, held};
		edge[n++] = (struct edge){t.last_ns, -1, -held};
	}
	qsort(edge, n, sizeof(*edge), by_time);
	return n;
}

/* Of a loop whose arrivals nobody knows, by Little's law: of its clients, those that do not wait
 * for their first token. */
static void raise_by_law(const struct fit_rows *r, const struct fit_run *run, bool scored_only,
			 struct fit_peak *peak)
{
	double whole = 0, decode = 0, held = 0, n = 0, running;

	for (size_t i = run->from; i < run->to; i++) {
		const struct fit_row *w = &r->row[i];

		if (scored_only && !w->scored)
			continue;
		whole += (double)(w->last_ns - w->arrival_ns);
		decode += (double)(w->last_ns - w->first_ns);
		held += w->prompt_tokens + (double)w->output_tokens / 2;
		n++;
	}
	if (whole <= 0)
		return;
	running = run->concurrency * decode / whole;
	if (running > peak->requests)
		peak->requests = (int32_t)ceil(running);
	if (running * held / n > (double)peak->tokens)
		peak->tokens = (int64_t)(running * held / n);
}

struct fit_peak fit_rows_peak(const struct fit_rows *r, const struct fit_times *times,
			      bool scored_only)
{
	struct edge *edge = xcalloc(2 * r->n + 1, sizeof(*edge));
	struct fit_peak peak = {0, 0};

	for (int k = 0; k < r->n_runs; k++) {
		size_t n = edges_of(r, &r->run[k], times, scored_only, edge);
		int32_t requests = 0;
		int64_t tokens = 0;

		if (!times && r->run[k].concurrency > 0)
			raise_by_law(r, &r->run[k], scored_only, &peak);

		for (size_t i = 0; i < n; i++) {
			requests += edge[i].requests;
			tokens += edge[i].tokens;
			if (requests > peak.requests)
				peak.requests = requests;
			if (tokens > peak.tokens)
				peak.tokens = tokens;
		}
	}
	free(edge);
	return peak;
}

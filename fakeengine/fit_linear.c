/*
 * Owns the equations that measured gaps make of a step's cost. Pure. Must not know policies: where
 * one of them matters (chunks of a prompt, preemptions), the equation is wrong and is meant to be
 * among those left out.
 */
#include "fit_linear.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "lsq.h"

#define KEPT	      0.75 /* of the equations, for the second look */
#define MAX_EQUATIONS 200000
#define SAME_STEP_SHARE                                                                            \
	0.3 /* tokens closer than this share of a stream's shortest gap: one step                  \
	     */
#define ALONE_NEEDED 4

struct equation {
	double of[N_LINEAR];
	double ns;
	double error;
};

struct equations {
	struct equation *item;
	size_t n, cap;
};

static void add(struct equations *q, const double of[N_LINEAR], double ns)
{
	if (ns <= 0 || q->n == MAX_EQUATIONS)
		return;
	if (q->n == q->cap) {
		q->cap = q->cap ? 2 * q->cap : 1024;
		q->item = xreallocarray(q->item, q->cap, sizeof(*q->item));
	}
	memcpy(q->item[q->n].of, of, sizeof(q->item[q->n].of));
	q->item[q->n].error = 0;
	q->item[q->n++].ns = ns;
}

/* ---- tokens that came together ---- */

struct token {
	int64_t t_ns;
	int32_t context; /* tokens before it */
	int32_t row;	 /* within the run */
	bool first;
};

static int by_time(const void *a, const void *b)
{
	const struct token *x = a, *y = b;

	if (x->t_ns != y->t_ns)
		return x->t_ns < y->t_ns ? -1 : 1;
	return (x->row > y->row) - (x->row < y->row);
}

/* An event of several tokens (speculation, or a server that gathers) is no step of ours. */
static struct token *tokens_of(const struct fit_rows *r, const struct fit_run *run, size_t *n)
{
	struct token *t;
	size_t cap = 0;

	*n = 0;
	for (size_t i = run->from; i < run->to; i++)
		cap += (size_t)r->row[i].n_events;
	t = xcalloc(cap + 1, sizeof(*t));
	for (size_t i = run->from; i < run->to; i++) {
		const struct fit_row *w = &r->row[i];

		for (int32_t k = 0; k < w->n_events; k++)
			t[(*n)++] = (struct token){w->event[k].t_ns,
						   w->prompt_tokens + w->event[k].tokens - 1,
						   (int32_t)(i - run->from), k == 0};
	}
	qsort(t, *n, sizeof(*t), by_time);
	return t;
}

/* Tokens up to the first one of a stream that has spoken already, or to a gap. */
static size_t step_end(const struct token *t, size_t from, size_t n, int64_t gap_ns, size_t *seen)
{
	size_t i = from;

	while (i < n && seen[t[i].row] != from + 1 &&
	       (i == from || t[i].t_ns - t[i - 1].t_ns < gap_ns))
		seen[t[i++].row] = from + 1;
	return i;
}

/* A share of the gap that is shorter than nine in ten. */
static int64_t gap_between_steps(const struct fit_rows *r, const struct fit_run *run)
{
	double shortest = HUGE_VAL;

	for (size_t i = run->from; i < run->to; i++) {
		const struct fit_row *w = &r->row[i];

		if (w->output_tokens > 4)
			shortest = fmin(shortest, (double)(w->last_ns - w->first_ns) /
							  (w->output_tokens - 1));
	}
	return isfinite(shortest) ? (int64_t)(SAME_STEP_SHARE * shortest) + 1 : INT64_MAX;
}

static void add_steps(struct equations *q, const struct fit_rows *r, const struct fit_run *run)
{
	size_t n, *seen = xcalloc(run->to - run->from + 1, sizeof(*seen));
	struct token *t = tokens_of(r, run, &n);
	int64_t gap_ns = gap_between_steps(r, run), before_ns = -1;

	for (size_t from = 0, to; from < n; from = to) {
		double of[N_LINEAR] = {[LINEAR_STEP] = 1};
		bool scored = true, decoded = false;

		to = step_end(t, from, n, gap_ns, seen);
		for (size_t i = from; i < to; i++) {
			const struct fit_row *w = &r->row[run->from + (size_t)t[i].row];
			double p = w->prompt_tokens;

			scored &= w->scored;
			decoded |= !t[i].first;
			of[LINEAR_PREFILL] += t[i].first ? p : 0;
			of[LINEAR_ATTENTION] += t[i].first ? p * p / 2 : 0;
			of[LINEAR_DECODE] += !t[i].first;
			of[LINEAR_KV] += t[i].first ? 0 : t[i].context;
		}
		/* Somebody who decodes in it was there in the step before: no idle time between. */
		if (before_ns >= 0 && decoded && scored)
			add(q, of, (double)(t[from].t_ns - before_ns));
		before_ns = t[from].t_ns;
	}
	free(t);
	free(seen);
}

/* ---- whole answers ---- */

/* What w's tokens after the first, spread evenly, are in (from, to]. */
static void add_overlap(double of[N_LINEAR], const struct fit_row *w, int64_t from, int64_t to)
{
	double length = (double)(w->last_ns - w->first_ns), n = w->output_tokens - 1;
	double a = fmax((double)(from - w->first_ns), 0),
	       b = fmin((double)(to - w->first_ns), length);

	if (w->first_ns > from && w->first_ns <= to) {
		double p = w->prompt_tokens;

		of[LINEAR_PREFILL] += p;
		of[LINEAR_ATTENTION] += p * p / 2;
	}
	if (b <= a || n < 1)
		return;
	of[LINEAR_DECODE] += n * (b - a) / length;
	of[LINEAR_KV] += n * (b - a) / length * (w->prompt_tokens + n * (a + b) / 2 / length);
}

static void add_answers(struct equations *q, const struct fit_rows *r, const struct fit_run *run)
{
	for (size_t i = run->from; i < run->to; i++) {
		const struct fit_row *w = &r->row[i];
		double of[N_LINEAR] = {[LINEAR_STEP] = w->output_tokens - 1};

		if (w->output_tokens < 2 || !w->scored || run->concurrency > 0)
			continue;
		for (size_t k = run->from; k < run->to; k++)
			if (r->row[k].first_ns < w->last_ns && r->row[k].last_ns > w->first_ns &&
			    r->row[k].scored)
				add_overlap(of, &r->row[k], w->first_ns, w->last_ns);
		add(q, of, (double)(w->last_ns - w->first_ns));
	}
}

/* Nobody knows who was beside whom: C at a time, each with half its answer behind it. */
static void add_closed(struct equations *q, const struct fit_rows *r, const struct fit_run *run)
{
	double prompt = 0, output = 0, n = (double)(run->to - run->from), c;

	for (size_t i = run->from; i < run->to; i++) {
		prompt += r->row[i].prompt_tokens / n;
		output += r->row[i].output_tokens / n;
	}
	c = fmin(run->concurrency, n);
	for (size_t i = run->from; i < run->to; i++) {
		const struct fit_row *w = &r->row[i];
		double steps = w->output_tokens - 1, others = (c - 1) * steps / output;
		double of[N_LINEAR] = {steps, others * prompt, c * steps,
				       c * steps * (prompt + output / 2), 0};

		if (w->output_tokens >= 2 && w->scored)
			add(q, of, (double)(w->last_ns - w->first_ns));
	}
}

/* ---- solving ---- */

static double solve(const struct equations *q, size_t n, bool attention, double *x)
{
	struct lsq l = {.n = attention ? N_LINEAR : LINEAR_ATTENTION};
	double sum = 0;

	memset(x, 0, N_LINEAR * sizeof(*x));
	for (size_t i = 0; i < n; i++) {
		double w = 1 / q->item[i].ns;

		lsq_add(&l, q->item[i].of, q->item[i].ns, w * w);
	}
	lsq_solve(&l, NULL, x);
	for (size_t i = 0; i < q->n; i++) {
		double ns = 0;

		for (int k = 0; k < N_LINEAR; k++)
			ns += q->item[i].of[k] * x[k];
		q->item[i].error = fabs(ns / q->item[i].ns - 1);
		sum += i < n ? q->item[i].error : 0;
	}
	return n ? sum / (double)n : 0;
}

static int by_error(const void *a, const void *b)
{
	const struct equation *x = a, *y = b;

	return (x->error > y->error) - (x->error < y->error);
}

/* ---- who met an idle engine ---- */

static bool was_alone(const struct fit_rows *r, const struct fit_run *run, size_t i)
{
	const struct fit_row *w = &r->row[i];

	if (run->concurrency > 0)
		return run->concurrency == 1;
	for (size_t k = run->from; k < run->to; k++)
		if (k != i && r->row[k].arrival_ns < w->first_ns &&
		    r->row[k].last_ns > w->arrival_ns)
			return false;
	return true;
}

static void solve_ingest(const struct fit_rows *r, bool attention, struct fit_linear *f)
{
	struct lsq q = {.n = attention ? 3 : 2};
	double x[LSQ_MAX] = {0}, least = HUGE_VAL, prompts[2] = {HUGE_VAL, 0};

	for (int k = 0; k < r->n_runs; k++) {
		for (size_t i = r->run[k].from; i < r->run[k].to; i++) {
			const struct fit_row *w = &r->row[i];
			double p = w->prompt_tokens, ttft = (double)(w->first_ns - w->arrival_ns);
			double y = ttft - f->coef_ns[LINEAR_STEP];
			const double row[] = {1, p, p * p / 2};

			if (!w->scored)
				continue;
			least = fmin(least, y - p * f->coef_ns[LINEAR_PREFILL]);
			if (!was_alone(r, &r->run[k], i))
				continue;
			f->alone++;
			prompts[0] = fmin(prompts[0], p);
			prompts[1] = fmax(prompts[1], p);
			lsq_add(&q, row, y, 1 / (ttft * ttft));
		}
	}
	f->ingest_ns = isfinite(least) ? fmax(least, 0) : 0;
	if (f->alone < ALONE_NEEDED || prompts[1] < 2 * prompts[0])
		return;
	lsq_solve(&q, NULL, x);
	f->ingest_ns = x[0];
	f->coef_ns[LINEAR_PREFILL] = x[1];
	if (attention)
		f->coef_ns[LINEAR_ATTENTION] = x[2];
}

bool fit_linear(const struct fit_rows *r, bool attention, struct fit_linear *out)
{
	struct equations q = {0};
	size_t kept;

	*out = (struct fit_linear){0};
	for (int k = 0; k < r->n_runs; k++)
		for (size_t i = r->run[k].from; i < r->run[k].to; i++)
			out->by_step |= r->row[i].n_events > 1;
	for (int k = 0; k < r->n_runs; k++) {
		if (r->run[k].concurrency > 0)
			add_closed(&q, r, &r->run[k]);
		else if (out->by_step)
			add_steps(&q, r, &r->run[k]);
		else
			add_answers(&q, r, &r->run[k]);
	}
	if (q.n == 0)
		return false;
	for (size_t i = 0; i < q.n; i++) {
		out->mean_ns += q.item[i].ns / (double)q.n;
		for (int k = 0; k < N_LINEAR; k++)
			out->mean_of[k] += q.item[i].of[k] / (double)q.n;
	}
	solve(&q, q.n, attention, out->coef_ns);
	qsort(q.item, q.n, sizeof(*q.item), by_error);
	kept = (size_t)(KEPT * (double)q.n) + 1;
	out->equations = kept < q.n ? kept : q.n;
	out->mean_error = solve(&q, out->equations, attention, out->coef_ns);
	free(q.item);
	solve_ingest(r, attention, out);
	return true;
}

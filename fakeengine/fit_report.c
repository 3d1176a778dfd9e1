/*
 * Owns the words about a fit. Runs once, at its end. Must not change a number.
 */
#include "fit_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/units.h"
#include "explain.h"

/* ---- the replay beside the measurement ---- */

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double latency_ns(const struct fit_rows *r, const struct fit_times *times, size_t row,
			 enum fit_latency l)
{
	double v;

	switch (l) {
	case FIT_OF_TTFT:
		return fit_metric_ns(r, times, row, FIT_TTFT);
	case FIT_OF_TPOT:
		v = fit_metric_ns(r, times, row, FIT_DECODE);
		return v < 0 ? v : v / (r->row[row].output_tokens - 1);
	case FIT_OF_E2E:
	case FIT_N_LATENCIES:
		break;
	}
	return fit_metric_ns(r, times, row, FIT_E2E);
}

static size_t statistics(const struct fit_rows *r, const struct fit_times *times,
			 enum fit_latency l, double *values, double out[FIT_N_STATISTICS])
{
	static const double quantiles[] = {[FIT_P50] = 0.5, [FIT_P90] = 0.9, [FIT_P99] = 0.99};
	double sum = 0;
	size_t n = 0;

	for (size_t i = 0; i < r->n; i++) {
		double v = latency_ns(r, times, i, l);

		if (!r->row[i].scored || v < 0)
			continue;
		values[n++] = v;
		sum += v;
	}
	qsort(values, n, sizeof(*values), by_value);
	out[FIT_MEAN] = n ? sum / (double)n : 0;
	for (int q = FIT_P50; q < FIT_N_STATISTICS; q++)
		out[q] = n ? values[(size_t)(quantiles[q] * (double)(n - 1))] : 0;
	return n;
}

void fit_summarise(const struct fit_rows *rows, const struct fit_times *times, enum fit_latency l,
		   struct fit_summary *out)
{
	double *values = xcalloc(rows->n + 1, sizeof(*values));

	out->n = statistics(rows, NULL, l, values, out->measured);
	statistics(rows, times, l, values, out->simulated);
	free(values);
}

double fit_summary_error(const struct fit_summary *s, int statistic)
{
	double of = s->measured[statistic];

	return of > 0 ? s->simulated[statistic] / of - 1 : 0;
}

double fit_throughput(const struct fit_rows *r, const struct fit_times *times)
{
	double tokens = 0, ns = 0;

	for (int k = 0; k < r->n_runs; k++) {
		double end_ns = 0;

		if (r->run[k].concurrency > 0 && !times)
			return NAN;
		for (size_t i = r->run[k].from; i < r->run[k].to; i++) {
			int64_t last = times ? times[i].last_ns : r->row[i].last_ns;

			end_ns = fmax(end_ns, (double)last);
			tokens += r->row[i].output_tokens;
		}
		ns += end_ns;
	}
	return ns > 0 ? tokens / ns * 1e9 : NAN;
}

/* ---- text ---- */

const char *fit_spell(const struct fit_model *m, int param, double v, char out[32])
{
	const struct fit_param *f = &m->param[param];
	bool time = f->kind == FIT_INGEST ||
		    (f->kind == FIT_COEF &&
		     m->profile->cost.type->fields[f->index].unit != COST_TOKENS);
	double ns = f->kind == FIT_COEF ? v / (double)PS_PER_NS : v;

	if (!time)
		snprintf(out, 32, "%.0f", v);
	else if (ns >= 1e6)
		snprintf(out, 32, "%.4gms", ns / 1e6);
	else if (ns >= 1e3)
		snprintf(out, 32, "%.4gus", ns / 1e3);
	else if (ns >= 1 ||
		 f->kind == FIT_INGEST) /* a duration: the profile knows no less than ns */
		snprintf(out, 32, "%.4gns", ns);
	else
		snprintf(out, 32, "%.0fps", ns * 1e3);
	return out;
}

const char *fit_account(const struct fit_result *r, int param, char out[160])
{
	const struct fit_model *m = &r->model;
	const struct fit_param *f = &m->param[param];
	char low[32], high[32];

	switch (f->verdict) {
	case FIT_NOT_LOOKED_AT:
		return "fitted";
	case FIT_GIVEN:
		return "given";
	case FIT_LEFT_OUT:
		return "left out: the run is explained as well without it";
	case FIT_FITTED:
		snprintf(out, 160, "fitted, 95 %% between %s and %s",
			 fit_spell(m, param, f->low, low), fit_spell(m, param, f->high, high));
		return out;
	case FIT_NOT_IDENTIFIABLE:
		break;
	}
	if (f->kind != FIT_KNOB || f->low <= 0)
		snprintf(out, 160, "not identifiable from this run%s",
			 f->kind == FIT_KNOB ? ", which never came up against it" : "");
	else
		snprintf(out, 160, "not identifiable from this run (%s to %s)",
			 fit_spell(m, param, f->low, low), fit_spell(m, param, f->high, high));
	return out;
}

static void put_residuals(struct buf *out, const struct fit_result *r)
{
	static const char *const names[FIT_N_LATENCIES] = {"TTFT", "TPOT", "E2EL"};
	static const char *const statistic[FIT_N_STATISTICS] = {"mean", "p50", "p90", "p99"};
	const struct fit_model *m = &r->model;

	buf_printf(out, "\n%-12s %12s %12s %9s\n", "", "measured ms", "simulated ms", "error");
	for (int l = 0; l < FIT_N_LATENCIES; l++) {
		struct fit_summary s;

		fit_summarise(m->rows, m->replayed.times, l, &s);
		for (int k = 0; s.n > 0 && k < FIT_N_STATISTICS; k++)
			buf_printf(out, "%-4s %-7s %12.2f %12.2f %+8.1f %%\n", names[l],
				   statistic[k], s.measured[k] / 1e6, s.simulated[k] / 1e6,
				   100 * fit_summary_error(&s, k));
	}
}

void fit_report(struct buf *out, const struct fit_result *r)
{
	const struct fit_model *m = &r->model;
	struct fit_peak peak = r->knobs.measured;
	char value[32], words[160];

	buf_printf(out, "%zu requests in %d run%s, up to %d at once with %lld tokens\n", m->rows->n,
		   m->rows->n_runs, m->rows->n_runs == 1 ? "" : "s", peak.requests,
		   (long long)peak.tokens);
	fit_rows_account(m->rows, out);
	buf_printf(
		out,
		"%smean relative error of TTFT, decode time and latency: %.2f %% (%ld replays)\n\n",
		fit_rows_left_out(m->rows) ? "\n" : "", 100 * r->objective, m->replays);
	for (int i = 0; i < m->n_params; i++)
		buf_printf(out, "%-34s %12s  %s\n", m->param[i].key,
			   fit_spell(m, i, fit_param_get(m, i), value), fit_account(r, i, words));
	if (r->level != 1)
		buf_printf(out,
			   "\nall fitted times were multiplied by %.3f at last: what explains most "
			   "requests best had\nthe latencies %.1f %% too %s in sum\n",
			   r->level, 100 * fabs(r->level_error),
			   r->level_error < 0 ? "short" : "long");
	put_residuals(out, r);
	if (m->replayed.preemptions > 0)
		buf_printf(out, "\nsimulated preemptions: %lld\n",
			   (long long)m->replayed.preemptions);
}

/* ---- does it make sense? ---- */

/* A fitted time below what the hardware could do at best, or absurdly far above. */
static void judge(struct buf *out, const char *key, double ns, double least_ns, const char *what)
{
	char fitted[32], physical[32];

	if (ns <= 0 || least_ns <= 0 || (ns >= 0.8 * least_ns && ns <= 50 * least_ns))
		return;
	buf_printf(out, "%s: %s is %s the %s that %s\n", key,
		   format_duration(fitted, sizeof(fitted), llround(ns)),
		   ns < least_ns ? "less than" : "more than 50 times",
		   format_duration(physical, sizeof(physical), llround(least_ns)), what);
}

void fit_warnings(struct buf *out, const struct fit_result *r)
{
	const struct profile *p = r->model.profile;
	const int64_t *c = p->cost.coef;
	double bandwidth, flops, per_token;
	struct memory_need need;

	if (p->model.params <= 0 || p->card.count == 0 || p->cost.type != &cost_affine)
		return;
	memory_need(&p->model, &p->card, &need);
	bandwidth = p->card.bandwidth_bytes_per_s * (double)p->card.count / 1e9;
	flops = p->card.flops_per_s * (double)p->card.count / 1e9;
	per_token = (double)(c[AFFINE_PREFILL_TOKEN] + c[AFFINE_OVER_KNEE]);
	judge(out, "cost.affine.step", (double)c[AFFINE_STEP] / PS_PER_NS,
	      need.weights_bytes / bandwidth, "reading the weights takes at the card's bandwidth");
	judge(out, "cost.affine.per_kv_token", (double)c[AFFINE_KV_TOKEN] / PS_PER_NS,
	      need.kv_bytes_per_token / bandwidth,
	      "reading a token's KV takes at the card's bandwidth");
	judge(out, "cost.affine.per_prefill_token", per_token / PS_PER_NS,
	      2 * p->model.params / flops, "computing a token takes at the card's FLOP/s");
}

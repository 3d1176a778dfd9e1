/*
 * Owns how two targets stand to each other at one load, with intervals. Pure. Repeats where both
 * have them; else the requests are drawn again (bootstrap.h).
 */
#include <math.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/units.h"
#include "bootstrap.h"
#include "compare.h"

/* metric M_COUNT: throughput. */
static const struct {
	const char *name;
	enum metric metric;
	enum metric_stat stat;
	double percentile;
} measures[MEASURE_COUNT] = {
	[MEASURE_TPS] = {"output_tokens_per_s", M_COUNT, S_MEAN, -1},
	[MEASURE_TTFT_P50] = {"ttft_p50", M_TTFT, S_P50, 50},
	[MEASURE_TTFT_P99] = {"ttft_p99", M_TTFT, S_P99, 99},
	[MEASURE_TPOT_P50] = {"tpot_p50", M_TPOT, S_P50, 50},
	[MEASURE_E2EL_P50] = {"e2el_p50", M_E2EL, S_P50, 50},
};

const char *measure_name(enum measure m)
{
	return measures[m].name;
}

const char *interval_method_name(enum interval_method m)
{
	static const char *const names[] = {"none", "welch_t_over_repeats",
					    "bootstrap_over_requests"};

	return names[m];
}

/* As everywhere: in open loop what counts from the planned start. */
static enum metric metric_at(enum measure m, const struct level *l)
{
	enum metric metric = measures[m].metric;

	return metric == M_TTFT ? headline_ttft(l) : metric == M_E2EL ? headline_e2el(l) : metric;
}

/* ---- over repeats ---- */

static void repeats_of(const struct curve_point *p, size_t field, struct sample *out)
{
	for (size_t i = 0; i < p->n; i++) {
		double v = *(const double *)((const char *)p->repeats[i] + field);

		if (!isnan(v))
			sample_add(out, v);
	}
}

/* False: there are no repeats on both sides. */
static bool over_repeats(const struct curve_point *a, const struct curve_point *b, size_t field,
			 enum contrast how, struct contrasted *out)
{
	struct sample x = {0}, y = {0};
	bool repeated;

	repeats_of(a, field, &x);
	repeats_of(b, field, &y);
	repeated = x.n > 1 && y.n > 1;
	if (repeated)
		*out = (struct contrasted){welch_contrast(x.v, x.n, y.v, y.n, how),
					   INTERVAL_REPEATS};
	sample_release(&x);
	sample_release(&y);
	return repeated && !isnan(out->v.mid);
}

/* ---- over requests ---- */

/* By Little's law throughput is mean running * tokens / latency, a quotient of sums over requests,
 * so that requests can be drawn for it. */
static void fill_pool(const struct comparison *c, const struct curve_point *at, int metric,
		      struct draw_pool *p)
{
	double running = 0;

	for (size_t i = 0; i < at->n; i++)
		running += at->repeats[i]->mean_running / (double)at->n;
	p->scale = metric == M_COUNT ? running : 1;
	for (size_t i = 0; i < c->in.n_records; i++) {
		const struct record *r = &c->records[i];
		double v;

		if (r->target != at->target || r->level != at->level)
			continue;
		if (metric > M_COUNT) {
			if (r->send_ns >= 0)
				draw_pool_add(p, record_is_good(r, &c->s.slo), 1);
			continue;
		}
		if (r->outcome != OUTCOME_OK)
			continue;
		if (metric == M_COUNT) {
			if (r->output_tokens >= 0)
				draw_pool_add(p, r->output_tokens,
					      ns_to_s(r->done_ns - r->send_ns));
			continue;
		}
		v = record_metric_ms(r, (enum metric)metric);
		if (!isnan(v))
			draw_pool_add(p, v, 1);
	}
}

static struct contrasted over_requests(const struct comparison *c, const struct curve_point *a,
				       const struct curve_point *b, int metric, double percentile,
				       enum contrast how)
{
	struct draw_pool pa = {.percentile = percentile}, pb = {.percentile = percentile};
	struct contrasted out = {.method = INTERVAL_BOOTSTRAP};
	struct rng rng;

	rng_init(&rng, c->s.seed, "bootstrap",
		 ((uint64_t)b->target << 40) + ((uint64_t)b->level << 8) + (uint64_t)metric);
	fill_pool(c, a, metric, &pa);
	fill_pool(c, b, metric, &pb);
	out.v = bootstrap_contrast(&pa, &pb, how, &rng);
	/* redrawn, a percentile beyond the samples can only be one of the same few extremes: an
	 * interval much too narrow */
	if (percentile >= 0 &&
	    (!sample_enough(pa.n, percentile) || !sample_enough(pb.n, percentile)))
		out.v.low = out.v.high = NAN;
	if (isnan(out.v.low))
		out.method = INTERVAL_NONE;
	draw_pool_release(&pa);
	draw_pool_release(&pb);
	return out;
}

struct contrasted compare_ratio(const struct comparison *c, int a, int b, int level, enum measure m)
{
	const struct curve_point *pa = curves_at(&c->curves, a, level);
	const struct curve_point *pb = curves_at(&c->curves, b, level);
	enum metric metric = metric_at(m, &c->s.levels[level]);
	size_t field = metric == M_COUNT ? POINT_FIELD(output_tokens_per_s)
					 : POINT_METRIC(metric, measures[m].stat);
	struct contrasted out;

	if (over_repeats(pa, pb, field, CONTRAST_RATIO, &out))
		return out;
	if (c->s.targets[a].table || c->s.targets[b].table) { /* which has nothing to draw */
		out.method = INTERVAL_NONE;
		out.v = (struct interval){
			curve_spread(pb, field).mean / curve_spread(pa, field).mean, NAN, NAN};
		return out;
	}
	out = over_requests(c, pa, pb, (int)metric, measures[m].percentile, CONTRAST_RATIO);
	/* the point itself is of the figures in the tables; the draws say how far it may be off */
	if (metric == M_COUNT && !isnan(out.v.mid)) {
		double ratio = curve_spread(pb, field).mean / curve_spread(pa, field).mean;
		double shift = ratio / out.v.mid;

		out.v = (struct interval){ratio, shift * out.v.low, shift * out.v.high};
	}
	return out;
}

struct contrasted compare_share(const struct comparison *c, int a, int b, int level)
{
	enum { GOOD = M_COUNT + 1 };
	const struct curve_point *pa = curves_at(&c->curves, a, level);
	const struct curve_point *pb = curves_at(&c->curves, b, level);
	struct contrasted out;

	if (over_repeats(pa, pb, POINT_FIELD(goodput_share), CONTRAST_DIFFERENCE, &out))
		return out;
	return over_requests(c, pa, pb, GOOD, -1, CONTRAST_DIFFERENCE);
}

bool contrast_is_real(const struct contrasted *x, enum contrast how)
{
	double same = how == CONTRAST_RATIO ? 1 : 0;

	return x->v.low > same || x->v.high < same;
}

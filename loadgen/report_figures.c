/*
 * Owns the data of the figures over load: throughput, latency, goodput. The others are in
 * report_figures_time.c. Pure but for the file it is handed. Must not know gnuplot beyond
 * assignments.
 */
#include "report_figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/units.h"
#include "base/utf8.h"
#include "compare.h"
#include "report_figures_time.h"
#include "setting.h"
#include "table.h"

#define LOG_SPAN 20 /* an axis whose values span more than this factor is logarithmic */

/* Nothing is expanded between single quotes. One in the text becomes a typographic one: gnuplot 5.4
 * misreads a doubled quote at the beginning. A control character would end the line. */
void define_text(struct buf *defs, const char *name, const char *text, size_t max_columns)
{
	size_t left = strlen(text), width = 0;

	buf_printf(defs, "%s = '", name);
	while (left) {
		uint32_t c = 0;
		size_t n = utf8_decode(text, left, &c);

		if (width + 1 > max_columns) {
			buf_puts(defs, "…");
			break;
		}
		if (!n || c < ' ' || c == 0x7f)
			buf_putc(defs, '?');
		else if (c == '\'')
			buf_puts(defs, "’");
		else
			buf_append(defs, text, n);
		n = n ? n : 1;
		text += n;
		left -= n;
		width++;
	}
	buf_puts(defs, "'\n");
}

void define_number(struct buf *defs, const char *name, double v)
{
	buf_printf(defs, "%s = %.9g\n", name, v);
}

void put_figure(FILE *dat, double v)
{
	if (isnan(v))
		fputs("\tNaN", dat);
	else
		fprintf(dat, "\t%.9g", v);
}

/* ---- the axis of load ---- */

static double load_at(const struct figure_input *f, int i)
{
	return level_load(&f->in->scenario->levels[f->axis.levels[i]]);
}

/* Have the levels room for their names below the axis? Those of a search crowd where it ended. */
static bool levels_have_room(const struct figure_input *f, bool log_axis)
{
	const struct axis *a = &f->axis;
	double first = load_at(f, 0), last = load_at(f, a->n - 1);

	for (int i = 1; i < a->n; i++) {
		double from = load_at(f, i - 1), to = load_at(f, i);
		double gap = log_axis ? log(to / from) / log(last / first)
				      : (to - from) / (last - first);

		if (gap > 0 && gap < 0.05)
			return false;
	}
	return a->n <= 12;
}

/* Logarithmic where the levels double: the last is then at least eight times the first. */
static void define_axis(struct figure_input *f)
{
	const struct axis *a = &f->axis;
	double first = load_at(f, 0), last = load_at(f, a->n - 1), pad;
	bool log = !a->open_loop && last >= 8 * first;

	define_text(f->defs, "load_label",
		    a->open_loop ? "requests/s asked for" : "concurrent requests", 100);
	define_number(f->defs, "open_loop", a->open_loop);
	define_number(f->defs, "load_log", log);
	buf_puts(f->defs, "load_tics = '");
	for (int i = 0; i < a->n && levels_have_room(f, log); i++)
		buf_printf(f->defs, "%s%.6g", i ? " " : "", load_at(f, i));
	buf_puts(f->defs, "'\n");
	pad = log ? pow(last / first, 0.04) : 0.04 * (last - first);
	define_number(f->defs, "load_min", log ? first / pad : first - pad);
	define_number(f->defs, "load_max", log ? last * pad : last + pad);
	define_number(f->defs, "repeats", f->in->scenario->repeats);
}

/* A curve needs two loads that can stand on an axis. */
static const char *no_axis(const struct figure_input *f)
{
	if (f->axis.n < 2 || !(load_at(f, 0) < load_at(f, f->axis.n - 1)))
		return "one load level makes no curve";
	return isinf(load_at(f, f->axis.n - 1)) ? "an unlimited rate has no place on the axis"
						: NULL;
}

static bool is_saturated(const struct curve_point *p)
{
	size_t n_bad;

	return curve_verdict(p, &n_bad) != VERDICT_OK;
}

static void define_saturated(struct figure_input *f)
{
	bool any = false;

	for (int t = 0; t < f->in->scenario->n_targets; t++)
		for (int i = 0; i < f->axis.n; i++)
			any |= is_saturated(curves_at(&f->curves, t, f->axis.levels[i]));
	define_number(f->defs, "any_saturated", any);
}

/* A figure and what is drawn around it. */
static void put_banded(FILE *dat, const struct curve_point *p, size_t field)
{
	struct ends band = curve_band(p, field);

	put_figure(dat, curve_spread(p, field).mean);
	put_figure(dat, band.low);
	put_figure(dat, band.high);
}

/* Target, load and verdict: how each row begins. False: nothing was measured here. */
static bool begin_row(struct figure_input *f, int target, int i)
{
	const struct curve_point *p = curves_at(&f->curves, target, f->axis.levels[i]);

	if (p->n)
		fprintf(f->dat, "%d\t%.9g\t%d", target + 1, load_at(f, i), is_saturated(p));
	return p->n > 0;
}

/* ---- throughput ---- */

static const char *write_throughput(struct figure_input *f)
{
	const struct scenario *s = f->in->scenario;
	bool any_seed = false, any_knee = false;
	const char *why = no_axis(f);

	if (why)
		return why;
	fputs("target\tload\tsaturated\ttps\ttps_low\ttps_high\tseed\tseed_low\tseed_high\tknee\n",
	      f->dat);
	for (int t = 0; t < s->n_targets; t++) {
		int knee = curve_knee(&f->curves, &f->axis, t);

		for (int i = 0; i < f->axis.n; i++) {
			const struct curve_point *p = curves_at(&f->curves, t, f->axis.levels[i]);
			size_t seed = POINT_FIELD(seed_mean_tps);

			if (!begin_row(f, t, i))
				continue;
			put_banded(f->dat, p, POINT_FIELD(output_tokens_per_s));
			put_banded(f->dat, p, seed);
			fprintf(f->dat, "\t%d\n", i == knee);
			any_seed |= !isnan(curve_spread(p, seed).mean);
			any_knee |= i == knee;
		}
	}
	define_axis(f);
	define_saturated(f);
	define_number(f->defs, "has_seed", any_seed);
	define_number(f->defs, "any_knee", any_knee);
	return NULL;
}

/* ---- latency ---- */

static struct spread range_of(const struct figure_input *f, enum metric m)
{
	struct spread out = {.low = HUGE_VAL, .high = 0};

	for (int t = 0; t < f->in->scenario->n_targets; t++) {
		for (int i = 0; i < f->axis.n; i++) {
			const struct curve_point *p = curves_at(&f->curves, t, f->axis.levels[i]);

			out.low = fmin(out.low, curve_spread(p, POINT_METRIC(m, S_P50)).low);
			out.high = fmax(out.high, curve_spread(p, POINT_METRIC(m, S_P99)).high);
		}
	}
	return out;
}

/* A panel's title, its kind of axis, and its SLO: as a line where that does not squeeze the curves,
 * in the title always. */
static bool define_metric(struct figure_input *f, const char *name, enum metric m, const char *what,
			  int64_t slo_ns)
{
	struct spread range = range_of(f, m);
	bool log = range.low > 0 && range.high > LOG_SPAN * range.low;
	double slo_ms = ns_to_ms(slo_ns), farthest = log ? 30 : 2.5;
	bool line = slo_ns && slo_ms < farthest * range.high;
	char key[32], title[128], slo[48] = "";

	if (slo_ns)
		snprintf(slo, sizeof(slo), "; SLO %g ms", slo_ms);
	snprintf(title, sizeof(title), "%s%s", what, slo);
	snprintf(key, sizeof(key), "%s_title", name);
	define_text(f->defs, key, title, 100);
	snprintf(key, sizeof(key), "log_%s", name);
	define_number(f->defs, key, log);
	snprintf(key, sizeof(key), "slo_%s_ms", name);
	define_number(f->defs, key, line ? slo_ms : 0);
	return line;
}

static const char *write_latency(struct figure_input *f)
{
	const struct scenario *s = f->in->scenario;
	enum metric ttft = f->axis.open_loop ? M_TTFT_SCHED : M_TTFT;
	enum metric e2el = f->axis.open_loop ? M_E2EL_SCHED : M_E2EL;
	const char *why = no_axis(f);
	bool any_tpot = false, any_slo = false;

	if (why)
		return why;
	fputs("target\tload\tsaturated", f->dat);
	for (size_t i = 0; i < 6; i++) {
		static const char *const names[] = {"ttft", "tpot", "e2el"};

		fprintf(f->dat, "\t%s_%s\t%s_%s_low\t%s_%s_high", names[i / 2],
			i % 2 ? "p99" : "p50", names[i / 2], i % 2 ? "p99" : "p50", names[i / 2],
			i % 2 ? "p99" : "p50");
	}
	fputc('\n', f->dat);
	for (int t = 0; t < s->n_targets; t++) {
		for (int i = 0; i < f->axis.n; i++) {
			const struct curve_point *p = curves_at(&f->curves, t, f->axis.levels[i]);
			const enum metric metrics[] = {ttft, M_TPOT, e2el};

			if (!begin_row(f, t, i))
				continue;
			for (size_t m = 0; m < ARRAY_LEN(metrics); m++) {
				put_banded(f->dat, p, POINT_METRIC(metrics[m], S_P50));
				put_banded(f->dat, p, POINT_METRIC(metrics[m], S_P99));
			}
			fputc('\n', f->dat);
			any_tpot |= !isnan(curve_spread(p, POINT_METRIC(M_TPOT, S_P50)).mean);
		}
	}
	define_axis(f);
	define_saturated(f);
	define_number(f->defs, "has_tpot", any_tpot);
	any_slo |= define_metric(f, "ttft", ttft,
				 f->axis.open_loop ? "TTFT: planned start to first token"
						   : "TTFT: send to first token",
				 s->slo.ttft_ns);
	any_slo |= define_metric(f, "tpot", M_TPOT, "TPOT: time per token after the first",
				 s->slo.tpot_ns);
	any_slo |= define_metric(f, "e2el", e2el,
				 f->axis.open_loop ? "E2EL: planned start to last token"
						   : "E2EL: send to last token",
				 s->slo.e2el_ns);
	define_number(f->defs, "any_slo", any_slo);
	return NULL;
}

/* ---- goodput ---- */

static void define_slo_text(struct buf *defs, const struct slo *slo)
{
	const struct {
		const char *name;
		int64_t ns;
	} parts[] = {{"TTFT", slo->ttft_ns}, {"TPOT", slo->tpot_ns}, {"E2EL", slo->e2el_ns}};
	char text[128] = "";
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		if (parts[i].ns)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s ≤ %g ms",
					      n ? ", " : "", parts[i].name, ns_to_ms(parts[i].ns));
	define_text(defs, "slo_text", text, 100);
}

static const char *write_goodput(struct figure_input *f)
{
	const struct scenario *s = f->in->scenario;
	const char *why = no_axis(f);

	if (!slo_asked(&s->slo))
		return "goodput needs an SLO (slo: {ttft: 500ms, tpot: 50ms})";
	if (why)
		return why;
	fputs("target\tload\tsaturated\tgoodput\tgoodput_low\tgoodput_high\tpercent\n", f->dat);
	buf_printf(f->defs, "array knee[%d]\n", s->n_targets);
	for (int t = 0; t < s->n_targets; t++) {
		int knee = curve_knee(&f->curves, &f->axis, t);

		buf_printf(f->defs, "knee[%d] = %.9g\n", t + 1, knee < 0 ? 0 : load_at(f, knee));
		for (int i = 0; i < f->axis.n; i++) {
			const struct curve_point *p = curves_at(&f->curves, t, f->axis.levels[i]);

			if (!begin_row(f, t, i))
				continue;
			put_banded(f->dat, p, POINT_FIELD(goodput_per_s));
			put_figure(f->dat, 100 * curve_spread(p, POINT_FIELD(goodput_share)).mean);
			fputc('\n', f->dat);
		}
	}
	define_axis(f);
	define_saturated(f);
	define_slo_text(f->defs, &s->slo);
	return NULL;
}

/* ---- ratio: targets over the first, of a comparison ---- */

static const char *write_ratio(struct figure_input *f)
{
	static const enum measure panels[] = {MEASURE_TPS, MEASURE_TTFT_P50, MEASURE_TPOT_P50};
	const struct comparison *c = f->in->comparison;
	const char *why = no_axis(f);
	int shared = 0;

	if (!c)
		return "ratios are between runs (loadgen compare)";
	if (why)
		return why;
	fputs("target\tload\tmeasure\tratio\tlow\thigh\n", f->dat);
	for (int t = 1; t < c->s.n_targets; t++) {
		for (int i = 0; i < f->axis.n; i++) {
			int level = f->axis.levels[i];

			if (!curves_at(&f->curves, 0, level)->n ||
			    !curves_at(&f->curves, t, level)->n)
				continue;
			shared++;
			for (size_t m = 0; m < ARRAY_LEN(panels); m++) {
				struct contrasted x = compare_ratio(c, 0, t, level, panels[m]);

				fprintf(f->dat, "%d\t%.9g\t%zu", t + 1, load_at(f, i), m);
				put_figure(f->dat, x.v.mid);
				put_figure(f->dat, x.v.low);
				put_figure(f->dat, x.v.high);
				fputc('\n', f->dat);
			}
		}
	}
	define_axis(f);
	return shared ? NULL : "no load was put on two targets";
}

/* ---- overlay: simulated lines through measured points ---- */

static void define_roles(struct figure_input *f)
{
	const struct comparison *c = f->in->comparison;

	/* of a simulated target the number of its measured one, else 0 */
	buf_printf(f->defs, "array stands_for[%d]\n", c->s.n_targets);
	for (int t = 0; t < c->s.n_targets; t++)
		buf_printf(f->defs, "stands_for[%d] = %d\n", t + 1, compare_measured_of(c, t) + 1);
}

static void put_overlay_row(struct figure_input *f, int target, int level)
{
	static const struct {
		enum residual_figure figure;
		enum metric_stat stat;
	} columns[] = {
		{RESIDUAL_TPS, S_MEAN},	 {RESIDUAL_TTFT, S_MEAN}, {RESIDUAL_TTFT, S_P99},
		{RESIDUAL_TPOT, S_MEAN}, {RESIDUAL_TPOT, S_P99},
	};
	const struct curve_point *p = curves_at(&f->curves, target, level);
	const struct level *l = &f->in->scenario->levels[level];
	const enum metric metrics[] = {headline_ttft(l), M_TPOT};

	put_banded(f->dat, p, POINT_FIELD(output_tokens_per_s));
	for (size_t m = 0; m < ARRAY_LEN(metrics); m++) {
		put_figure(f->dat, curve_spread(p, POINT_METRIC(metrics[m], S_MEAN)).mean);
		put_figure(f->dat, curve_spread(p, POINT_METRIC(metrics[m], S_P99)).mean);
	}
	for (size_t k = 0; k < ARRAY_LEN(columns); k++)
		put_figure(f->dat, 100 * compare_residual(f->in->comparison, target, level,
							  columns[k].figure, columns[k].stat)
						   .error);
	fputc('\n', f->dat);
}

static const char *write_overlay(struct figure_input *f)
{
	const struct comparison *c = f->in->comparison;
	const char *why = no_axis(f);

	if (!c)
		return "it lays runs on each other (loadgen compare)";
	if (why)
		return why;
	fputs("target\tload\tsaturated\ttps\ttps_low\ttps_high\tttft\tttft_p99\ttpot\ttpot_p99\t"
	      "tps_error\tttft_error\tttft_p99_error\ttpot_error\ttpot_p99_error\n",
	      f->dat);
	for (int t = 0; t < c->s.n_targets; t++)
		for (int i = 0; i < f->axis.n; i++)
			if (begin_row(f, t, i))
				put_overlay_row(f, t, f->axis.levels[i]);
	define_axis(f);
	define_roles(f);
	define_saturated(f);
	define_metric(f, "ttft", f->axis.open_loop ? M_TTFT_SCHED : M_TTFT, "TTFT, mean and p99",
		      0);
	define_metric(f, "tpot", M_TPOT, "TPOT, mean and p99", 0);
	return NULL;
}

/* ---- heat map: the two keys of a sweep ---- */

static void define_values(struct buf *defs, const char *name, const struct sweep_axis *a)
{
	char key[32];

	snprintf(key, sizeof(key), "%s_label", name);
	define_text(defs, key, sweep_label(a), 60);
	buf_printf(defs, "n_%s = %d\narray %s_value[%d]\n", name, a->n, name, a->n);
	for (int i = 0; i < a->n; i++) {
		snprintf(key, sizeof(key), "%s_value[%d]", name, i + 1);
		define_text(defs, key, a->values[i], 16);
	}
}

/* A panel a target of the file: the name it had before the values were put behind it. */
static void define_panels(struct figure_input *f)
{
	const struct scenario *s = f->in->scenario;
	int places = sweep_places(s), panels = s->n_targets / places;

	buf_printf(f->defs, "n_panels = %d\narray panel_title[%d]\n", panels, panels);
	for (int p = 0; p < panels; p++) {
		const char *name = s->targets[(ptrdiff_t)p * places].name;
		char key[32], *behind = xasprintf(", %s %s", sweep_label(&s->sweep[0]),
						  s->sweep[0].values[0]);
		const char *end = strstr(name, behind);
		char *title = xstrndup(name, end ? (size_t)(end - name) : strlen(name));

		snprintf(key, sizeof(key), "panel_title[%d]", p + 1);
		define_text(f->defs, key, title, 60);
		free(behind);
		free(title);
	}
}

static const char *write_heatmap(struct figure_input *f)
{
	const struct scenario *s = f->in->scenario;
	bool slo = slo_asked(&s->slo);
	struct setting *v;
	double most = 0;
	int met = 0;

	if (s->n_sweep != 2)
		return "it needs a sweep or a search of two keys";
	v = settings_new(&f->curves, &f->axis);
	settings_rank(v, s->n_targets);
	fputs("panel\tx\ty\tbest\tmissed\tvalue\n", f->dat);
	for (int i = 0; i < s->n_targets; i++) {
		double value = slo ? v[i].goodput_per_s : v[i].tokens_per_s;

		fprintf(f->dat, "%d\t%d\t%d\t%d\t%d", v[i].target / sweep_places(s) + 1,
			sweep_value(s, v[i].target, 0) + 1, sweep_value(s, v[i].target, 1) + 1,
			i == 0 && v[i].level >= 0, s->search && v[i].tried && v[i].level < 0);
		put_figure(f->dat, value);
		fputc('\n', f->dat);
		most = fmax(most, value);
		met += v[i].level >= 0;
	}
	define_values(f->defs, "x", &s->sweep[0]);
	define_values(f->defs, "y", &s->sweep[1]);
	define_panels(f);
	define_number(f->defs, "value_max", most);
	define_number(f->defs, "any_missed", met < s->n_targets);
	define_number(f->defs, "searched", s->search);
	define_text(f->defs, "value_label",
		    slo ? "good requests/s at the highest load that meets the SLO"
			: "output tokens/s at the fastest load",
		    100);
	free(v);
	return most > 0 ? NULL : "no setting meets the SLO at any load";
}

const struct figure figures[] = {
	{"throughput", write_throughput, false},
	{"latency", write_latency, false},
	{"cdf", write_cdf, false},
	{"timeline", write_timeline, false},
	{"server", write_server, false},
	{"goodput", write_goodput, false},
	{"ratio", write_ratio, false},
	{"overlay", write_overlay, false},
	{"heatmap", write_heatmap, true},
	{NULL, NULL, false},
};

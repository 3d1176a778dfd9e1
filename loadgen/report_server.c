/*
 * Owns what is reported of the engines themselves: server.csv read back, a row a scrape, its figure
 * over time and the sentences on CPU and memory. Main thread; reads that file, else pure but for
 * the file it is handed.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/csv.h"
#include "base/die.h"
#include "base/units.h"
#include "report_body.h"
#include "report_figures_time.h"

/* ---- server.csv ---- */

enum {
	S_RUNNING,
	S_WAITING,
	S_KV,
	S_CPU,
	S_RSS,
	S_GPU, /* the share that its cards are busy, their mean; memory and power are sums */
	S_GPU_MEMORY,
	S_GPU_POWER,
	S_NAMES
};
static const char *const server_names[S_NAMES] = {"running",	  "waiting",   "kv_usage",
						  "cpu_cores",	  "rss_bytes", "utilisation",
						  "memory_bytes", "power_w"};

/* What was seen of one target at one time. */
struct scraped {
	int target, cards;
	int64_t t_ns, point;
	double v[S_NAMES];
};

static int by_target_time(const void *a, const void *b)
{
	const struct scraped *x = a, *y = b;

	if (x->target != y->target)
		return x->target - y->target;
	return (x->t_ns > y->t_ns) - (x->t_ns < y->t_ns);
}

static int target_of(const struct scenario *s, const char *name)
{
	for (int i = 0; i < s->n_targets; i++)
		if (strcmp(s->targets[i].name, name) == 0)
			return i;
	return -1;
}

/* A card's names begin with gpuN_. */
static int name_of(const char *name)
{
	int skip = 0, from = 0;

	if (sscanf(name, "gpu%*u_%n", &skip) == 0 && skip) {
		name += skip;
		from = S_GPU;
	}
	for (int i = from; i < (from ? S_NAMES : S_GPU); i++)
		if (strcmp(server_names[i], name) == 0)
			return i;
	return -1;
}

/* The same instant: another name, or another card's figure. */
static void scraped_join(struct scraped *to, const struct scraped *from)
{
	for (int i = 0; i < S_NAMES; i++)
		if (!isnan(from->v[i]))
			to->v[i] = isnan(to->v[i]) ? from->v[i] : to->v[i] + from->v[i];
	to->cards += from->cards;
}

/* server.csv has a row a name; here a row a scrape. Sorted by target and time. */
static struct scraped *read_scrapes(const struct scenario *s, const char *path, size_t *n)
{
	struct csv_table *t = NULL;
	struct scraped *v = NULL;
	size_t rows, k = 0;
	struct err e;

	*n = 0;
	if (access(path, R_OK) != 0 || csv_read(&t, path, true, &e) != RC_OK)
		return NULL;
	rows = csv_rows(t);
	v = xcalloc(rows + 1, sizeof(*v));
	for (size_t row = 0; row < rows; row++) {
		struct scraped x = {.target =
					    target_of(s, csv_field(t, row, csv_find(t, "target")))};
		int what = name_of(csv_field(t, row, csv_find(t, "name")));
		double value;

		if (x.target < 0 || what < 0 ||
		    csv_field_int(t, row, csv_find(t, "t_ns"), 0, &x.t_ns, &e) != RC_OK ||
		    csv_field_int(t, row, csv_find(t, "point"), -1, &x.point, &e) != RC_OK ||
		    csv_field_num(t, row, csv_find(t, "value"), NAN, &value, &e) != RC_OK)
			continue;
		for (int i = 0; i < S_NAMES; i++)
			x.v[i] = NAN;
		x.v[what] = value;
		x.cards = what == S_GPU;
		v[k++] = x;
	}
	csv_table_free(t);
	qsort(v, k, sizeof(*v), by_target_time);
	for (size_t i = 0; i < k; i++) {
		struct scraped *last = *n ? &v[*n - 1] : NULL;

		if (!last || last->target != v[i].target || last->t_ns != v[i].t_ns) {
			v[(*n)++] = v[i];
			continue;
		}
		scraped_join(last, &v[i]);
	}
	for (size_t i = 0; i < *n; i++)
		if (v[i].cards)
			v[i].v[S_GPU] /= v[i].cards;
	return v;
}

/* ---- the figure ---- */

/* Where levels begin, if that is at the same time for all targets. */
static void define_marks(struct figure_input *f, const struct scraped *v, size_t n)
{
	const struct scenario *s = f->in->scenario;
	bool shared = s->interleave || s->n_targets == 1;
	int count = 0;

	buf_printf(f->defs, "array mark_s[%d]\narray mark_label[%d]\n",
		   s->n_levels * s->repeats + 1, s->n_levels * s->repeats + 1);
	for (size_t i = 0; shared && i < n && v[i].target == v[0].target; i++) {
		char name[32], label[32] = "";

		if ((i && v[i].point == v[i - 1].point) || v[i].point < 0 ||
		    count == s->n_levels * s->repeats)
			continue;
		for (size_t k = 0; k < f->in->n_points; k++)
			if (f->in->points[k].id == v[i].point)
				level_label(&s->levels[f->in->points[k].level], label,
					    sizeof(label));
		count++;
		buf_printf(f->defs, "mark_s[%d] = %.9g\n", count, ns_to_s(v[i].t_ns - v[0].t_ns));
		snprintf(name, sizeof(name), "mark_label[%d]", count);
		define_text(f->defs, name, label, 100);
	}
	define_number(f->defs, "n_marks", count);
	define_text(f->defs, "time_label",
		    shared ? "s since the first sample" : "s since the target's first sample", 100);
}

/* Bytes as the largest of them reads best: the divisor, and the unit's name. */
static double memory_unit(const struct scraped *v, size_t n, int what, const char **name)
{
	double most = 0;

	for (size_t i = 0; i < n; i++)
		most = fmax(most, v[i].v[what]);
	*name = most >= 2e9 ? "GiB" : "MiB";
	return most >= 2e9 ? 1024.0 * 1024 * 1024 : 1024.0 * 1024;
}

const char *write_server(struct figure_input *f)
{
	char *path = xasprintf("%s/server.csv", f->in->dir);
	bool any[S_NAMES] = {false};
	int64_t zero_ns = 0;
	const char *unit, *gpu_unit;
	double divisor, gpu_divisor;
	size_t n;
	struct scraped *v = read_scrapes(f->in->scenario, path, &n);

	divisor = memory_unit(v, n, S_RSS, &unit);
	gpu_divisor = memory_unit(v, n, S_GPU_MEMORY, &gpu_unit);
	fputs("target\tt_s\trunning\twaiting\tkv_percent\tcpu_cores\tmemory\tgpu_percent\tgpu_"
	      "memory\t"
	      "gpu_power\n",
	      f->dat);
	for (size_t i = 0; i < n; i++) {
		if (i == 0 || v[i].target != v[i - 1].target)
			zero_ns = v[i].t_ns;
		fprintf(f->dat, "%d\t%.6f", v[i].target + 1, ns_to_s(v[i].t_ns - zero_ns));
		put_figure(f->dat, v[i].v[S_RUNNING]);
		put_figure(f->dat, v[i].v[S_WAITING]);
		put_figure(f->dat, 100 * v[i].v[S_KV]);
		put_figure(f->dat, v[i].v[S_CPU]);
		put_figure(f->dat, v[i].v[S_RSS] / divisor);
		put_figure(f->dat, 100 * v[i].v[S_GPU]);
		put_figure(f->dat, v[i].v[S_GPU_MEMORY] / gpu_divisor);
		put_figure(f->dat, v[i].v[S_GPU_POWER]);
		fputc('\n', f->dat);
		for (int k = 0; k < S_NAMES; k++)
			any[k] |= v[i].v[k] > 0;
	}
	define_number(f->defs, "has_load", any[S_RUNNING]);
	define_number(f->defs, "has_kv", any[S_KV]);
	define_number(f->defs, "has_proc", any[S_CPU] || any[S_RSS]);
	define_number(f->defs, "has_gpu", any[S_GPU] || any[S_GPU_MEMORY]);
	define_number(f->defs, "has_gpu_power", any[S_GPU_POWER]);
	define_text(f->defs, "memory_unit", unit, 10);
	define_text(f->defs, "gpu_memory_unit", gpu_unit, 10);
	define_marks(f, v, n);
	free(v);
	free(path);
	return any[S_RUNNING] || any[S_CPU] || any[S_RSS] || any[S_GPU_MEMORY]
		       ? NULL
		       : "no engine told its metrics (GET /metrics) while it ran";
}

/* ---- words ---- */

/* Over the samples under load: the mean and the most of one name. */
static bool sum_up(const struct scraped *v, size_t n, int target, int name, double *mean,
		   double *most)
{
	size_t count = 0;

	*mean = *most = 0;
	for (size_t i = 0; i < n; i++) {
		double x = v[i].v[name];

		if (v[i].target != target || v[i].point < 0 || isnan(x))
			continue;
		*mean += x;
		*most = fmax(*most, x);
		count++;
	}
	*mean = count ? *mean / (double)count : NAN;
	return count > 0;
}

void body_engines(struct body *b, const struct report_input *in)
{
	char *path = xasprintf("%s/server.csv", in->dir);
	size_t n;
	struct scraped *v = read_scrapes(in->scenario, path, &n);

	for (int t = 0; t < in->scenario->n_targets; t++) {
		const char *name = in->scenario->targets[t].name;
		double mean, most, unused, most_memory;
		char text[32];

		if (sum_up(v, n, t, S_CPU, &mean, &most) &&
		    sum_up(v, n, t, S_RSS, &unused, &most_memory))
			body_say(b, BLOCK_LINE,
				 "%s: the engine's processes used %.2f cores on average, %.2f at "
				 "most, and %s of memory.",
				 name, mean, most, format_bytes(text, sizeof(text), most_memory));
		if (sum_up(v, n, t, S_GPU, &mean, &most) &&
		    sum_up(v, n, t, S_GPU_MEMORY, &unused, &most_memory))
			body_say(b, BLOCK_LINE,
				 "%s: this machine's graphics cards were busy %.0f %% of the time, "
				 "%.0f %% at most, with %s of their memory in use.",
				 name, 100 * mean, 100 * most,
				 format_bytes(text, sizeof(text), most_memory));
		if (sum_up(v, n, t, S_GPU_POWER, &mean, &most))
			body_say(b, BLOCK_LINE, "%s: they took %.0f W on average, %.0f W at most.",
				 name, mean, most);
	}
	free(v);
	free(path);
}

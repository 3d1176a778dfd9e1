/*
 * Owns the calibration: which loads are tried, what "honest" means, what is said. Main thread;
 * blocks for about a minute. A run like any other: nothing here measures.
 */
#include "self_test.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/die.h"
#include "file_limit.h"
#include "launch.h"
#include "report_body.h"
#include "run.h"
#include "self_test_floor.h"
#include "truth.h"

/* Streams: 50 ms to the first token, then 20 ms each. Requests: short, to be many. */
enum { TOKENS = 64, SHORT_TOKENS = 4 };
#define STREAMS_S 2
static const int streams[] = {1, 64, 256, 1024, 2048, 4096, 8192};
static const int rates[] = {100, 1000, 5000};

/* A load is measured honestly when the client kept up (its verdict), the means are within 1 % of
 * the truth, and so much at most at p99: receive stamps here, departures of requests there. What is
 * smaller than a millisecond no reader of a latency table sees. */
static const double mean_limit = 0.01, p99_limit_us = 1000;

struct self_test {
	char dir[64];
	enum progress_mode progress;
	int most_streams; /* that this process may open files for */
	struct body body;
};

/* ---- a folder for it ---- */

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

static enum rc make_folder(struct self_test *t, struct err *e)
{
	const char *base = getenv("TMPDIR");

	if (snprintf(t->dir, sizeof(t->dir), "%s/loadgen-XXXXXX", base ? base : "/tmp") >=
		    (int)sizeof(t->dir) ||
	    !mkdtemp(t->dir))
		return err_set(e, RC_IO, "no temporary folder: %s", t->dir);
	return RC_OK;
}

/* ---- its runs ---- */

struct measured {
	struct scenario *s;
	struct run_done done;
	struct truth *truth;
};

static void measured_release(struct measured *m)
{
	run_done_release(&m->done);
	truth_free(m->truth);
	scenario_free(m->s);
}

/* load: the YAML of `load:`. ms: to prefill, and a token. */
static enum rc measure(const struct self_test *t, const char *name, const char *load,
		       int prefill_ms, int token_ms, int tokens, struct measured *m, struct err *e)
{
	char *truth = xasprintf("%s/%s.csv", t->dir, name), *out = xasprintf("%s/%s", t->dir, name);
	char *yaml =
		xasprintf("name: self-test\n"
			  "targets:\n"
			  "  - name: truth\n"
			  "    launch: {program: fakeengine, args: [--port, \"0\", --prefill-ms, "
			  "\"%d\", --per-token-ms, \"%d\", --tokens, \"%d\", --truth, %s]}\n"
			  "workload: {prompts: {text: [Say something.]}, output_tokens: %d}\n"
			  "load: %s\n"
			  "output: {plots: [], scrape: 0}\n",
			  prefill_ms, token_ms, tokens, truth, tokens, load);
	struct run_opts how = {.out_dir = out, .progress = t->progress, .preflight = true};
	enum rc rc;

	memset(m, 0, sizeof(*m));
	rc = scenario_parse(&m->s, "self-test", yaml, strlen(yaml), NULL, NULL, e);
	if (!rc)
		rc = run_scenario(m->s, &how, &m->done, e);
	if (!rc && strcmp(m->done.ended, "complete") != 0)
		rc = err_set(e, RC_IO, "self-test: %s", m->done.ended);
	if (!rc)
		rc = truth_load(&m->truth, truth, e);
	free(yaml);
	free(truth);
	free(out);
	return rc;
}

/* CPU of the load thread for a token, us. */
static double own_cost(const struct point *p)
{
	return p->output_tokens > 0
		       ? 1e6 * p->self.cpu_share * p->duration_s / (double)p->output_tokens
		       : NAN;
}

static bool means_hold(const struct truth_check *c)
{
	return c->n_ttft > 0 && c->unmatched == 0 &&
	       fabs(c->ttft_ms / c->ttft_true_ms - 1) < mean_limit &&
	       fabs(c->itl_ms / c->itl_true_ms - 1) < mean_limit;
}

static double late_us(const struct truth_check *c, double q)
{
	return (double)hist_quantile(c->late_ns, q) / 1e3;
}

/* Why a load is not measured honestly, or NULL. A closed loop's requests are timed from when they
 * leave: that a thousand of them do not leave in the same instant is no error there. */
static const char *objection(const struct point *p, const struct truth_check *c, bool closed,
			     double p99_us)
{
	if (p->verdict != VERDICT_OK && !(closed && p->verdict == VERDICT_LATE))
		return verdict_name(p->verdict);
	if (p->ok < p->planned)
		return "requests failed";
	if (!means_hold(c))
		return "means off";
	return p99_us > p99_limit_us ? "p99 off" : NULL;
}

/* ---- the floor ---- */

/* Of each number of streams, us a token; NaN where it could not be had. */
static void measure_floor(const struct self_test *t, double *us, size_t n)
{
	static char *args[] = {(char *)"--port",
			       (char *)"0",
			       (char *)"--prefill-ms",
			       (char *)"30",
			       (char *)"--per-token-ms",
			       (char *)"20",
			       (char *)"--tokens",
			       (char *)"64",
			       NULL};
	struct launch_spec spec = {(char *)"fakeengine", args, (char *)"/health",
				   INT64_C(10000000000)};
	char *log = xasprintf("%s/floor.log", t->dir);
	static const volatile sig_atomic_t never;
	struct target at = {.name = (char *)"floor"};
	struct launched *l = NULL;
	struct err e;
	bool up = launch_start(&l, &spec, log, &e) == RC_OK &&
		  launch_wait_ready(l, &at, &never, &e) == RC_OK;

	for (size_t i = 0; i < n; i++)
		if (!up || streams[i] > t->most_streams ||
		    floor_drain(&at, streams[i], TOKENS, &us[i], &e) != RC_OK)
			us[i] = NAN;
	launch_stop(l);
	free(at.url);
	free(at.host);
	free(at.prefix);
	free(log);
}

/* ---- streams ---- */

static void stream_columns(struct table *t)
{
	table_column(t, NULL, "streams", false);
	table_column(t, NULL, "tokens/s", false);
	table_column(t, "mean off by %", "TTFT", false);
	table_column(t, "mean off by %", "ITL", false);
	table_column(t, "receive error us", "p50", false);
	table_column(t, "receive error us", "p99", false);
	table_column(t, "receive error us", "p99.9", false);
	table_column(t, "CPU us a token", "own", false);
	table_column(t, "CPU us a token", "floor", false);
	table_column(t, NULL, "honest", true);
}

static void put_number(struct table *t, double v, int decimals)
{
	if (isnan(v))
		table_cell(t, "-");
	else
		table_cell(t, "%.*f", decimals, v);
}

static void say_streams(struct self_test *t, const struct measured *m, const double *floor_us)
{
	struct table *table;
	const struct point *best = NULL;
	double best_us[2] = {0, 0};

	body_say(&t->body, BLOCK_HEADING, "Streams: 50 ms to the first token, then one each 20 ms");
	table = body_table(&t->body);
	stream_columns(table);
	for (size_t i = 0; i < m->done.n_points; i++) {
		const struct point *p = &m->done.points[i];
		struct truth_check c = {.late_ns = hist_new()};
		const char *why;

		truth_compare(m->truth, m->done.records, m->done.n_records, p->id, 0, &c);
		why = objection(p, &c, true, late_us(&c, 0.99));
		table_cell(table, "%d", m->s->levels[p->level].concurrency);
		put_number(table, p->output_tokens_per_s, 0);
		put_number(table, 100 * (c.ttft_ms / c.ttft_true_ms - 1), 3);
		put_number(table, 100 * (c.itl_ms / c.itl_true_ms - 1), 3);
		put_number(table, late_us(&c, 0.5), 1);
		put_number(table, late_us(&c, 0.99), 1);
		put_number(table, late_us(&c, 0.999), 1);
		put_number(table, own_cost(p), 2);
		put_number(table, floor_us[p->level], 2);
		table_cell(table, "%s", why ? why : "yes");
		if (!why) {
			best = p;
			best_us[0] = late_us(&c, 0.99);
			best_us[1] = late_us(&c, 0.999);
		}
		hist_free(c.late_ns);
	}
	if (best)
		body_say(&t->body, BLOCK_LINE,
			 "Here loadgen measures %d streams at once honestly (%.0f tokens/s): means "
			 "within 1 %% of the truth, each token's arrival known to %.0f us at p99 "
			 "and "
			 "%.0f us at p99.9.",
			 m->s->levels[best->level].concurrency, best->output_tokens_per_s,
			 best_us[0], best_us[1]);
	else
		body_say(
			&t->body, BLOCK_WARNING,
			"Here loadgen measures not even one stream honestly: is the machine busy?");
}

/* ---- requests ---- */

static void say_requests(struct self_test *t, const struct measured *m)
{
	struct table *table;
	const struct point *best = NULL;

	body_say(&t->body, BLOCK_HEADING, "Requests, open loop, %d tokens each", SHORT_TOKENS);
	table = body_table(&t->body);
	table_column(table, NULL, "asked/s", false);
	table_column(table, NULL, "sent/s", false);
	table_column(table, "send lateness us", "p50", false);
	table_column(table, "send lateness us", "p99", false);
	table_column(table, "mean off by %", "TTFT", false);
	table_column(table, "mean off by %", "ITL", false);
	table_column(table, NULL, "CPU %", false);
	table_column(table, NULL, "honest", true);
	for (size_t i = 0; i < m->done.n_points; i++) {
		const struct point *p = &m->done.points[i];
		struct truth_check c = {.late_ns = hist_new()};
		const char *why;

		truth_compare(m->truth, m->done.records, m->done.n_records, p->id, 0, &c);
		why = objection(p, &c, false, p->self.send_late_p99_us);
		table_cell(table, "%.0f", m->s->levels[p->level].rate_per_s);
		put_number(table, p->achieved_rate, 1);
		put_number(table, 1e3 * p->m[M_DISPATCH][S_P50], 1);
		put_number(table, p->self.send_late_p99_us, 1);
		put_number(table, 100 * (c.ttft_ms / c.ttft_true_ms - 1), 3);
		put_number(table, 100 * (c.itl_ms / c.itl_true_ms - 1), 3);
		put_number(table, 100 * p->self.cpu_share, 0);
		table_cell(table, "%s", why ? why : "yes");
		best = why ? best : p;
		hist_free(c.late_ns);
	}
	if (best)
		body_say(&t->body, BLOCK_LINE,
			 "Here loadgen sends %.0f requests/s on time: %.0f us late at p99.",
			 m->s->levels[best->level].rate_per_s, best->self.send_late_p99_us);
	else
		body_say(&t->body, BLOCK_WARNING,
			 "Here loadgen keeps none of these rates: is the machine busy?");
}

/* ---- the whole ---- */

static char *list_of(const int *v, size_t n, int most)
{
	struct buf b;

	buf_init(&b, 1024);
	buf_putc(&b, '[');
	for (size_t i = 0; i < n && v[i] <= most; i++)
		buf_printf(&b, "%s%d", i ? ", " : "", v[i]);
	buf_putc(&b, ']');
	return buf_take(&b);
}

static enum rc run_all(struct self_test *t, struct err *e)
{
	char *list = list_of(streams, ARRAY_LEN(streams), t->most_streams), *load;
	double floor_us[ARRAY_LEN(streams)];
	struct measured m;
	enum rc rc;

	load = xasprintf("{closed: {concurrency: %s, duration: %ds}}", list, STREAMS_S);
	rc = measure(t, "streams", load, 30, 20, TOKENS, &m, e);
	if (!rc) {
		measure_floor(t, floor_us, ARRAY_LEN(floor_us));
		say_streams(t, &m, floor_us);
	}
	measured_release(&m);
	free(load);
	free(list);
	if (rc)
		return rc;
	list = list_of(rates, ARRAY_LEN(rates), rates[ARRAY_LEN(rates) - 1]);
	load = xasprintf("{open: {rate: %s, duration: 3s}}", list);
	rc = measure(t, "requests", load, 5, 5, SHORT_TOKENS, &m, e);
	if (!rc)
		say_requests(t, &m);
	measured_release(&m);
	free(load);
	free(list);
	return rc;
}

enum rc self_test(enum progress_mode progress, struct buf *out, struct err *e)
{
	struct self_test t = {.progress = progress};
	enum rc rc = make_folder(&t, e);

	if (rc)
		return rc;
	t.most_streams = file_limit_streams();
	body_say(&t.body, BLOCK_HEADING,
		 "What loadgen can honestly measure on this machine (%ld cores), against its own "
		 "engine over loopback",
		 sysconf(_SC_NPROCESSORS_ONLN));
	rc = run_all(&t, e);
	if (!rc) {
		body_say(&t.body, BLOCK_LINE,
			 "Honest: the client kept up, mean TTFT and ITL within 1 %% of the "
			 "truth, p99 within %.0f us. floor: a bare recv() of the same bytes.",
			 p99_limit_us);
		if (t.most_streams < streams[ARRAY_LEN(streams) - 1])
			body_say(&t.body, BLOCK_WARNING,
				 "More than %d streams were not tried: a process may have no more "
				 "open here (ulimit -Hn).",
				 t.most_streams);
		body_text(&t.body, out);
	}
	body_release(&t.body);
	nftw(t.dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	return rc;
}

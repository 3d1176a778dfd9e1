/*
 * Fits a profile to some runs of a recording and says how well it foretells others: closed loops
 * are played (a client sends again when it has been answered), open ones come as they came. With
 * limits it is a test.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/die.h"
#include "base/log.h"
#include "base/opt.h"
#include "base/units.h"
#include "fakeengine/fit.h"
#include "fakeengine/fit_read.h"
#include "fakeengine/fit_report.h"
#include "fakeengine/options.h"

#define SKIPPED	   77
#define EXIT_INPUT 2

static const char usage[] =
	"usage: fit_check --fit FILE[@C] [--fit FILE[@C] ...] [--score FILE[@C] ...] [options]\n"
	"Fits to the rows of the --fit files, then foretells the --score files; @C: a closed loop "
	"of "
	"C\nwhose rows do not say when they were sent. Exit 0 if all limits are kept, 1 if not, 77 "
	"if there is no such file.";

/* A limit in per cent; 0: none. */
struct limits {
	double mean, tail;		     /* all rows: TTFT, TPOT, E2EL */
	double ttft, tpot, throughput;	     /* each run of --score */
	double ttft_f, tpot_f, throughput_f; /* the same with a speed factor a run */
};

struct line {
	struct opt_list fit, score, sets, columns;
	const char *fit_runs, *score_runs, *open_runs, *ttft_runs, *policy;
	int64_t first, seed, front_end_ns;
	bool intervals, help;
	struct limits limit;
};

static bool failed;

/* Prints an error and holds it to its limit. */
static void hold(const char *what, double error, double limit_percent)
{
	bool bad = limit_percent > 0 && fabs(error) > limit_percent / 100;

	printf(" %s %+.1f %%%s", what, 100 * error, bad ? " (!)" : "");
	failed |= bad;
}

/* ---- rows ---- */

/* The most requests at once from arrival to end: the clients of a closed loop. */
static int32_t clients(const struct fit_rows *r, const struct fit_run *run)
{
	int32_t most = 0;

	for (size_t i = run->from; i < run->to; i++) {
		int32_t n = 0;

		for (size_t k = run->from; k < run->to; k++)
			n += r->row[k].arrival_ns <= r->row[i].arrival_ns &&
			     r->row[k].last_ns > r->row[i].arrival_ns;
		most = n > most ? n : most;
	}
	return most;
}

static bool is_listed(const char *list, const char *name)
{
	const char *label = strrchr(name, ' ') ? strrchr(name, ' ') + 1 : name;
	size_t n = strlen(label);

	for (const char *at = list; at && *at;) {
		size_t len = strcspn(at, ",");

		if (len == n && strncmp(at, label, n) == 0)
			return true;
		at += len + (at[len] == ',');
	}
	return false;
}

static enum rc read_files(struct fit_rows *rows, const struct line *c, const struct opt_list *files,
			  const char *runs, struct err *e)
{
	struct fit_source s = {.points = runs, .columns = &c->columns};
	enum rc rc = RC_OK;

	for (size_t i = 0; rc == RC_OK && i < files->n; i++) {
		const char *at = strchr(files->item[i], '@');
		char *path = xstrndup(files->item[i], strcspn(files->item[i], "@"));

		s.concurrency = at ? atoi(at + 1) : 0;
		if (access(path, R_OK) != 0) {
			printf("skipped: no %s\n", path);
			exit(SKIPPED);
		}
		rc = fit_read(rows, path, &s, e);
		free(path);
	}
	rows->front_end_ns = c->front_end_ns;
	return rc ? rc : fit_rows_finish(rows, e);
}

static void play_closed_loops(struct fit_rows *rows, const struct line *c)
{
	for (int k = 0; k < rows->n_runs; k++)
		if (rows->run[k].concurrency == 0 && !is_listed(c->open_runs, rows->run[k].name))
			rows->run[k].concurrency = clients(rows, &rows->run[k]);
}

/* ---- scores ---- */

/* One run as rows of its own, borrowed. */
static struct fit_rows only(struct fit_rows *rows, int run, struct fit_run *r)
{
	struct fit_rows one = {.row = rows->row + rows->run[run].from,
			       .run = r,
			       .n_runs = 1,
			       .front_end_ns = rows->front_end_ns};

	*r = rows->run[run];
	one.n = r->to - r->from;
	r->from = 0;
	r->to = one.n;
	return one;
}

static double mean(const struct fit_rows *rows, const struct fit_times *t, enum fit_latency l,
		   bool simulated)
{
	struct fit_summary s;

	fit_summarise(rows, t, l, &s);
	return simulated ? s.simulated[FIT_MEAN] : s.measured[FIT_MEAN];
}

/* Output tokens over the time from the first arrival to the last token, as measured; of the rows
 * that count, and they are all or belong to a loop without arrivals. */
static double measured_throughput(const struct fit_rows *one)
{
	double tokens = 0, end = 0, decode = 0;

	for (size_t i = 0; i < one->n; i++) {
		if (!one->row[i].scored)
			continue;
		tokens += one->row[i].output_tokens;
		end = fmax(end, (double)one->row[i].last_ns);
		decode += (double)(one->row[i].last_ns - one->row[i].arrival_ns);
	}
	/* No arrivals: by Little's law, C requests at a time. */
	if (one->row[one->n - 1].arrival_ns == 0 && one->run->concurrency > 0)
		end = decode / one->run->concurrency;
	return tokens / end * 1e9;
}

static double simulated_throughput(const struct fit_rows *one, const struct fit_times *t)
{
	double tokens = 0, end = 0, busy = 0;

	for (size_t i = 0; i < one->n; i++) {
		if (!one->row[i].scored)
			continue;
		tokens += one->row[i].output_tokens;
		end = fmax(end, (double)t[i].last_ns);
		busy += (double)(t[i].last_ns - t[i].arrival_ns);
	}
	if (one->row[one->n - 1].arrival_ns == 0 && one->run->concurrency > 0)
		end = busy / one->run->concurrency;
	return tokens / end * 1e9;
}

static void score_once(const struct profile *p, const struct fit_rows *one,
		       struct fit_replayed *out, double ttft, double tpot, double throughput)
{
	struct err e;

	if (fit_replay(p, one, out, &e))
		die("%s", e.msg);
	hold("TTFT",
	     mean(one, out->times, FIT_OF_TTFT, true) / mean(one, out->times, FIT_OF_TTFT, false) -
		     1,
	     ttft);
	hold("TPOT",
	     mean(one, out->times, FIT_OF_TPOT, true) / mean(one, out->times, FIT_OF_TPOT, false) -
		     1,
	     tpot);
	hold("tokens/s", simulated_throughput(one, out->times) / measured_throughput(one) - 1,
	     throughput);
}

/* The machine of a run is faster or slower than that of the fitted ones, all steps alike. */
static void score_run(const struct profile *p, struct fit_rows *rows, int run,
		      const struct limits *limit)
{
	struct fit_run r;
	struct fit_rows one = only(rows, run, &r);
	struct fit_replayed out;
	struct profile scaled = *p;
	double factor;

	fit_replayed_init(&out, &one);
	printf("%-24s", r.name[0] ? strrchr(r.name, '/') ? strrchr(r.name, '/') + 1 : r.name : "");
	score_once(p, &one, &out, limit->ttft, limit->tpot, limit->throughput);
	factor = mean(&one, out.times, FIT_OF_TPOT, false) /
		 mean(&one, out.times, FIT_OF_TPOT, true);
	for (int i = 0; p->cost.type->fields[i].key; i++)
		if (p->cost.type->fields[i].unit != COST_TOKENS)
			scaled.cost.coef[i] = llround(factor * (double)p->cost.coef[i]);
	printf("   x %.3f:", factor);
	score_once(&scaled, &one, &out, limit->ttft_f, limit->tpot_f, limit->throughput_f);
	printf("\n");
	fit_replayed_release(&out);
}

/* All rows of the fitted files, also those that were not looked at. */
static void score_all(const struct profile *p, struct fit_rows *rows, const struct limits *limit)
{
	static const char *const names[FIT_N_LATENCIES] = {"TTFT", "TPOT", "E2EL"};
	struct fit_replayed out;
	struct err e;

	for (size_t i = 0; i < rows->n; i++)
		rows->row[i].scored = true;
	fit_replayed_init(&out, rows);
	if (fit_replay(p, rows, &out, &e))
		die("%s", e.msg);
	printf("all %zu rows:", rows->n);
	for (int l = 0; l < FIT_N_LATENCIES; l++) {
		struct fit_summary s;

		fit_summarise(rows, out.times, l, &s);
		printf("\n  %s", names[l]);
		hold("mean", fit_summary_error(&s, FIT_MEAN), limit->mean);
		hold("p50", fit_summary_error(&s, FIT_P50), 0);
		hold("p90", fit_summary_error(&s, FIT_P90), 0);
		hold("p99", fit_summary_error(&s, FIT_P99), limit->tail);
	}
	printf("\n  preemptions %lld\n", (long long)out.preemptions);
	fit_replayed_release(&out);
}

/* ---- the program ---- */

static enum rc begin_with(struct profile *p, const struct line *c, const struct profile_sets *sets,
			  struct err *e)
{
	char *text = xasprintf("name: x\nengine: x\ndescription: x\nsource: x\nmodel: {name: x}\n"
			       "scheduler: {policy: %s}\ncost: {affine: {step: 1ms}}\n",
			       c->policy);
	enum rc rc = profile_parse(p, "begin", text, strlen(text), sets->item, sets->n, e);

	free(text);
	return rc;
}

static void print_fit(const struct fit_result *r)
{
	struct buf text;

	buf_init(&text, 1 << 16);
	fit_report(&text, r);
	printf("%s\n", buf_cstr(&text));
	buf_release(&text);
}

static enum rc run(struct line *c, struct err *e)
{
	struct profile_sets sets = {0};
	struct fit_rows rows = {0}, others = {0};
	struct fit_result result = {0};
	struct profile p = {0};
	char *given[PROFILE_SETS_MAX + 1] = {0};
	struct fit_options o = {.given = (const char *const *)given,
				.seed = (uint64_t)c->seed,
				.intervals = c->intervals};
	enum rc rc = profile_sets_add_list(&sets, &c->sets, e);

	for (size_t i = 0; rc == RC_OK && i < c->sets.n; i++)
		given[i] = xstrndup(c->sets.item[i], strcspn(c->sets.item[i], "="));
	if (rc == RC_OK)
		rc = begin_with(&p, c, &sets, e);
	if (rc == RC_OK)
		rc = read_files(&rows, c, &c->fit, c->fit_runs, e);
	for (size_t i = 0; rc == RC_OK && c->first && i < rows.n; i++)
		rows.row[i].scored = i < (size_t)c->first;
	if (rc == RC_OK)
		rc = fit(&result, &p, &rows, &o, e);
	if (rc == RC_OK)
		print_fit(&result);
	if (rc == RC_OK && c->first)
		score_all(&p, &rows, &c->limit);
	if (rc == RC_OK && c->score.n > 0)
		rc = read_files(&others, c, &c->score, c->score_runs, e);
	if (rc == RC_OK)
		play_closed_loops(&others, c);
	for (int k = 0; rc == RC_OK && k < others.n_runs; k++) {
		struct limits limit = c->limit;

		if (c->ttft_runs && !is_listed(c->ttft_runs, others.run[k].name))
			limit.ttft = 0;
		score_run(&p, &others, k, &limit);
	}
	fit_result_release(&result);
	fit_rows_release(&rows);
	fit_rows_release(&others);
	profile_release(&p);
	profile_sets_release(&sets);
	for (size_t i = 0; given[i]; i++)
		free(given[i]);
	return rc;
}

int main(int argc, char **argv)
{
	struct line c = {.policy = "vllm-v1", .seed = 42};
	const struct opt_spec specs[] = {
		{OPT_LIST, "fit", .out = &c.fit, .arg = "FILE", .help = "to fit"},
		{OPT_LIST, "score", .out = &c.score, .arg = "FILE", .help = "to foretell"},
		{OPT_STRING, "fit-runs", .out = &c.fit_runs, .arg = "A,B", .help = "only these"},
		{OPT_STRING, "score-runs", .out = &c.score_runs, .arg = "A,B",
		 .help = "only these"},
		{OPT_STRING, "open-runs", .out = &c.open_runs, .arg = "A,B",
		 .help = "which are no closed loops"},
		{OPT_INT, "first", .out = &c.first, .arg = "N",
		 .help = "fit to the first N rows, then score all"},
		{OPT_STRING, "policy", .out = &c.policy, .arg = "NAME", .help = "vllm-v1"},
		{OPT_LIST, "set", .out = &c.sets, .arg = "KEY=VALUE", .help = "given"},
		{OPT_LIST, "columns", .out = &c.columns, .arg = "Q=COLUMN", .help = "as in fit"},
		{OPT_DURATION, "front-end", .out = &c.front_end_ns, .arg = "TIME",
		 .help = "the server takes in one request at a time, each so long"},
		{OPT_INT, "seed", .out = &c.seed, .arg = "N", .help = "42"},
		{OPT_FLAG, "intervals", .out = &c.intervals, .help = "and how sure"},
		{OPT_HEADING, .help = "Limits in per cent"},
		{OPT_NUM, "mean", .out = &c.limit.mean, .arg = "P", .help = "means of all rows"},
		{OPT_NUM, "tail", .out = &c.limit.tail, .arg = "P", .help = "p99 of all rows"},
		{OPT_NUM, "ttft", .out = &c.limit.ttft, .arg = "P", .help = "mean, each run"},
		{OPT_STRING, "ttft-runs", .out = &c.ttft_runs, .arg = "A,B",
		 .help = "only these are held to it"},
		{OPT_NUM, "tpot", .out = &c.limit.tpot, .arg = "P", .help = "likewise"},
		{OPT_NUM, "throughput", .out = &c.limit.throughput, .arg = "P", .help = "likewise"},
		{OPT_NUM, "factor-ttft", .out = &c.limit.ttft_f, .arg = "P",
		 .help = "with a speed factor a run"},
		{OPT_NUM, "factor-tpot", .out = &c.limit.tpot_f, .arg = "P", .help = "likewise"},
		{OPT_NUM, "factor-throughput", .out = &c.limit.throughput_f, .arg = "P",
		 .help = "likewise"},
		{OPT_FLAG, "help", 'h', .out = &c.help, .help = "this text"},
		{0},
	};
	struct buf help;
	struct err e;
	enum rc rc;

	die_set_program("fit_check");
	rc = opt_parse(specs, argc, argv, NULL, &e);
	if (rc == RC_OK && c.help) {
		buf_init(&help, 1 << 16);
		opt_help(&help, usage, specs, "");
		fputs(buf_cstr(&help), stdout);
		buf_release(&help);
	} else if (rc == RC_OK) {
		rc = run(&c, &e);
	}
	if (rc)
		log_error("%s", e.msg);
	opt_list_release(&c.fit);
	opt_list_release(&c.score);
	opt_list_release(&c.sets);
	opt_list_release(&c.columns);
	return rc ? EXIT_INPUT : failed;
}

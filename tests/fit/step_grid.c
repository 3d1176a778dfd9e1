/*
 * Fits a profile to a grid of measured steps (so many prompts of such a length at once, then so
 * many tokens of each) and says how far its prefill and its decode are from each of them: one fit
 * for each model, card and number of cards in the file. With limits it is a test.
 *
 * A row is a run of its own: `batch_size` requests that come together at an idle engine, all of
 * whose prompts share its first step.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/csv.h"
#include "base/die.h"
#include "base/log.h"
#include "base/opt.h"
#include "base/units.h"
#include "fakeengine/fit.h"
#include "fakeengine/fit_report.h"

#define SKIPPED	   77
#define EXIT_INPUT 2

/* Longer ones ended, nobody knows where, when the model was done: they are left out. */
#define ANSWER_TOKENS 128

static const char usage[] =
	"usage: step_grid FILE.csv [--min-cards N] [--prefill P] [--decode P] [--verbose]\n"
	"Of columns model, hardware, tensor_parallel, prompt_size, batch_size, token_size, "
	"prompt_time\nand token_time (ms). Exit 0 if all limits are kept, 1 if not, 77 if there is "
	"no such file.";

enum column { MODEL, HARDWARE, CARDS, PROMPT, BATCH, TOKENS, PREFILL_MS, DECODE_MS, N_COLUMNS };

static const char *const names[N_COLUMNS] = {
	"model",      "hardware",   "tensor_parallel", "prompt_size",
	"batch_size", "token_size", "prompt_time",     "token_time",
};

struct grid {
	struct csv_table *t;
	int col[N_COLUMNS];
};

struct line {
	int64_t min_cards;
	double prefill_limit, decode_limit; /* in per cent; 0: none */
	bool verbose, help;
};

/* The whole grid in one step, nothing that could bound it: what is fitted are costs. */
static const char begin[] = "name: x\nengine: x\ndescription: x\nsource: x\nmodel: {name: x}\n"
			    "scheduler: {policy: vllm-v1, max_num_seqs: 64, "
			    "max_num_batched_tokens: 65536, num_gpu_blocks: 65536}\n"
			    "cost: {affine: {step: 1ms}}\n";

static int64_t ms_to_ns(double ms)
{
	return llround(ms * 1e6);
}

static double cell(const struct grid *g, size_t row, enum column c)
{
	struct err e;
	double v;

	if (csv_field_num(g->t, row, g->col[c], NAN, &v, &e))
		die("%s", e.msg);
	return v;
}

static bool is_alike(const struct grid *g, size_t a, size_t b)
{
	return strcmp(csv_field(g->t, a, g->col[MODEL]), csv_field(g->t, b, g->col[MODEL])) == 0 &&
	       strcmp(csv_field(g->t, a, g->col[HARDWARE]), csv_field(g->t, b, g->col[HARDWARE])) ==
		       0 &&
	       cell(g, a, CARDS) == cell(g, b, CARDS);
}

/* The same prompts, as often: measured several times. */
static bool is_repeat(const struct grid *g, size_t a, size_t b)
{
	return is_alike(g, a, b) && cell(g, a, PROMPT) == cell(g, b, PROMPT) &&
	       cell(g, a, BATCH) == cell(g, b, BATCH) && cell(g, b, TOKENS) == ANSWER_TOKENS;
}

/* The mean of a row and its repeats, if it is the first of them. */
static void add_run(struct fit_rows *rows, const struct grid *g, size_t row)
{
	double prefill_ms = 0, decode_ms = 0, n = 0;
	struct fit_row w = {
		.prompt_tokens = (int32_t)cell(g, row, PROMPT),
		.output_tokens = ANSWER_TOKENS,
		.scored = true,
	};

	for (size_t i = 0; i < row; i++)
		if (is_repeat(g, row, i))
			return;
	for (size_t i = row; i < csv_rows(g->t); i++) {
		if (!is_repeat(g, row, i))
			continue;
		prefill_ms += cell(g, i, PREFILL_MS);
		decode_ms += cell(g, i, DECODE_MS);
		n++;
	}
	w.first_ns = ms_to_ns(prefill_ms / n);
	w.last_ns = w.first_ns + ms_to_ns(decode_ms / n) * (w.output_tokens - 1);
	fit_rows_begin(rows, "", 0);
	for (int64_t i = (int64_t)cell(g, row, BATCH); i > 0; i--)
		fit_rows_add(rows, w, "");
}

/* Mean absolute relative errors over the runs; all requests of a run are alike. */
struct errors {
	double prefill, decode;
	double worst_prefill, worst_decode;
};

static struct errors errors_of(const struct fit_model *m, bool verbose)
{
	const struct fit_rows *r = m->rows;
	struct errors e = {0};

	for (int k = 0; k < r->n_runs; k++) {
		size_t i = r->run[k].from;
		const struct fit_times *t = m->replayed.times;
		double prefill =
			fit_metric_ns(r, t, i, FIT_TTFT) / fit_metric_ns(r, NULL, i, FIT_TTFT);
		double decode =
			fit_metric_ns(r, t, i, FIT_DECODE) / fit_metric_ns(r, NULL, i, FIT_DECODE);

		e.prefill += fabs(prefill - 1) / r->n_runs;
		e.decode += fabs(decode - 1) / r->n_runs;
		e.worst_prefill = fmax(e.worst_prefill, fabs(prefill - 1));
		e.worst_decode = fmax(e.worst_decode, fabs(decode - 1));
		if (verbose)
			printf("    %5d tokens x %2zu: prefill %8.1f ms, off by %+6.1f %%; decode "
			       "%6.2f ms, %+5.1f %%\n",
			       r->row[i].prompt_tokens, r->run[k].to - i,
			       fit_metric_ns(r, NULL, i, FIT_TTFT) / 1e6, 100 * (prefill - 1),
			       fit_metric_ns(r, NULL, i, FIT_DECODE) / 1e6 /
				       (r->row[i].output_tokens - 1),
			       100 * (decode - 1));
	}
	return e;
}

static void print_numbers(const struct fit_model *m)
{
	for (int i = 0; i < m->n_params; i++) {
		double v = fit_param_get(m, i);
		char text[32];

		if (m->param[i].kind != FIT_KNOB && v > 0)
			printf(" %s=%s", strrchr(m->param[i].key, '.') + 1,
			       fit_spell(m, i, v, text));
	}
	printf("\n");
}

/* Returns whether the limits are kept. */
static bool fit_one(const struct grid *g, size_t first, const struct line *c)
{
	static const char *const given[] = {"scheduler.max_num_seqs", "scheduler.num_gpu_blocks",
					    NULL};
	const struct fit_options o = {.given = given, .seed = 42};
	struct fit_result result = {0};
	struct fit_rows rows = {0};
	struct profile p = {0};
	struct errors off;
	struct err e;
	bool ok;

	for (size_t i = first; i < csv_rows(g->t); i++)
		if (is_alike(g, first, i) && cell(g, i, TOKENS) == ANSWER_TOKENS)
			add_run(&rows, g, i);
	if (fit_rows_finish(&rows, &e) ||
	    profile_parse(&p, "begin", begin, strlen(begin), NULL, 0, &e) ||
	    fit(&result, &p, &rows, &o, &e))
		die("%s", e.msg);
	off = errors_of(&result.model, c->verbose);
	ok = (c->prefill_limit == 0 || 100 * off.prefill <= c->prefill_limit) &&
	     (c->decode_limit == 0 || 100 * off.decode <= c->decode_limit);
	printf("%s, %s x %g: prefill off by %.1f %% (at worst %.0f %%), decode by %.1f %% "
	       "(%.0f %%)%s;",
	       csv_field(g->t, first, g->col[MODEL]), csv_field(g->t, first, g->col[HARDWARE]),
	       cell(g, first, CARDS), 100 * off.prefill, 100 * off.worst_prefill, 100 * off.decode,
	       100 * off.worst_decode, ok ? "" : " (!)");
	print_numbers(&result.model);
	fflush(stdout);
	fit_result_release(&result);
	fit_rows_release(&rows);
	profile_release(&p);
	return ok;
}

static bool is_first(const struct grid *g, size_t row)
{
	for (size_t i = 0; i < row; i++)
		if (is_alike(g, i, row))
			return false;
	return true;
}

static int run(const char *path, const struct line *c)
{
	struct grid g = {0};
	struct err e;
	bool ok = true;

	if (access(path, R_OK) != 0) {
		printf("skipped: no %s\n", path);
		return SKIPPED;
	}
	if (csv_read(&g.t, path, false, &e))
		die("%s", e.msg);
	for (int i = 0; i < N_COLUMNS; i++)
		if (csv_need(g.t, names[i], &g.col[i], &e))
			die("%s", e.msg);
	for (size_t i = 0; i < csv_rows(g.t); i++)
		if (cell(&g, i, CARDS) >= (double)c->min_cards && is_first(&g, i))
			ok &= fit_one(&g, i, c);
	csv_table_free(g.t);
	return !ok;
}

int main(int argc, char **argv)
{
	struct line c = {.min_cards = 1};
	const struct opt_spec specs[] = {
		{OPT_INT, "min-cards", .out = &c.min_cards, .arg = "N",
		 .help = "leave out what ran on fewer", .min = 1, .max = 1024},
		{OPT_NUM, "prefill", .out = &c.prefill_limit, .arg = "P",
		 .help = "limit of its mean error, in per cent"},
		{OPT_NUM, "decode", .out = &c.decode_limit, .arg = "P", .help = "likewise"},
		{OPT_FLAG, "verbose", .out = &c.verbose, .help = "each row's error"},
		{OPT_FLAG, "help", 'h', .out = &c.help, .help = "this text"},
		{0},
	};
	struct opt_list operands = {0};
	struct buf help;
	struct err e;
	int code = EXIT_INPUT;

	die_set_program("step_grid");
	buf_init(&help, 1 << 16);
	if (opt_parse(specs, argc, argv, &operands, &e)) {
		log_error("%s", e.msg);
	} else if (c.help) {
		opt_help(&help, usage, specs, "");
		fputs(buf_cstr(&help), stdout);
		code = EXIT_SUCCESS;
	} else if (operands.n != 1) {
		log_error("want one file");
	} else {
		code = run(operands.item[0], &c);
	}
	buf_release(&help);
	opt_list_release(&operands);
	return code;
}

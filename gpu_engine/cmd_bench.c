/*
 * Owns the speed of a model on this machine: prompts and answers through the whole engine,
 * scheduler included, each beside the roof that the device's memory sets: a decode step has to read
 * all weights once, whatever the batch. Main thread.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "asking.h"
#include "base/check.h"
#include "base/die.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/units.h"
#include "commands.h"

#define HELP_MAX_BYTES (1 << 16)
#define MAX_BATCHES    16
#define START_TOKENS   16 /* of a prompt whose answer is what counts */

struct bench {
	struct session *s;
	struct asking asking;
	struct rng rng;
	double roof_bytes_per_s;
	int32_t prompt, output;
	bool csv;
};

struct measured {
	double tokens_per_s;
	double step_s; /* decode: of one step */
};

static struct genreq *random_request(struct bench *b, int32_t n_prompt, int32_t n_output)
{
	int32_t n_vocab = b->s->model->config.n_vocab;
	int32_t *tokens = xcalloc((size_t)n_prompt, sizeof(*tokens));
	struct genreq *r;

	for (int32_t i = 0; i < n_prompt; i++)
		tokens[i] = (int32_t)rng_below(&b->rng, (uint64_t)n_vocab);
	r = genreq_new(0, "bench", tokens, n_prompt, n_output);
	r->ignore_eos = true;
	free(tokens);
	return r;
}

/* `batch` requests at once, to their ends; the caller frees them. */
static enum rc run_batch(struct bench *b, struct genreq **r, int32_t batch, int32_t n_prompt,
			 int32_t n_output, struct err *e)
{
	enum rc rc = RC_OK;

	for (int32_t i = 0; i < batch && rc == RC_OK; i++) {
		r[i] = random_request(b, n_prompt, n_output);
		rc = asking_submit(&b->asking, r[i], e);
	}
	asking_wait(&b->asking);
	for (int32_t i = 0; i < batch && rc == RC_OK; i++)
		if (r[i]->finish == FINISH_ERROR)
			rc = err_set(e, RC_IO, "the engine failed");
	return rc;
}

/* Between the first step that all share and the last of them. */
static enum rc measure_decode(struct bench *b, int32_t batch, struct measured *out, struct err *e)
{
	struct genreq **r = xcalloc((size_t)batch, sizeof(struct genreq *));
	enum rc rc = run_batch(b, r, batch, START_TOKENS, b->output, e);
	int64_t start_ns = 0, end_ns = INT64_MAX, tokens = 0;

	for (int32_t i = 0; i < batch && rc == RC_OK; i++) {
		if (r[i]->first_token_ns > start_ns)
			start_ns = r[i]->first_token_ns;
		if (r[i]->last_token_ns < end_ns)
			end_ns = r[i]->last_token_ns;
	}
	for (int32_t i = 0; i < batch && rc == RC_OK; i++) {
		/* its tokens in the common span, by its own even pace */
		double span = ns_to_s(r[i]->last_token_ns - r[i]->first_token_ns);

		tokens += (int64_t)((double)(b->output - 1) * ns_to_s(end_ns - start_ns) / span +
				    0.5);
	}
	if (rc == RC_OK) {
		out->tokens_per_s = (double)tokens / ns_to_s(end_ns - start_ns);
		out->step_s = (double)batch / out->tokens_per_s;
	}
	for (int32_t i = 0; i < batch; i++)
		genreq_free(r[i]);
	free(r);
	return rc;
}

static enum rc measure_prefill(struct bench *b, struct measured *out, struct err *e)
{
	struct genreq *r = NULL;
	enum rc rc = run_batch(b, &r, 1, b->prompt, 1, e);

	if (rc == RC_OK) {
		out->step_s = ns_to_s(r->first_token_ns - r->first_scheduled_ns);
		out->tokens_per_s = (double)b->prompt / out->step_s;
	}
	genreq_free(r);
	return rc;
}

static void put_row(const struct bench *b, const char *what, int32_t batch,
		    const struct measured *m, bool decode)
{
	double bytes_per_s = (double)b->s->plan.weight_bytes / m->step_s;
	double roof = b->roof_bytes_per_s / (double)b->s->plan.weight_bytes * batch;

	if (b->csv)
		printf("%s,%d,%.2f,%.3f,", what, batch, m->tokens_per_s, m->step_s * 1e3);
	else
		printf("%-10s %6d %10.1f %12.3f", what, batch, m->tokens_per_s, m->step_s * 1e3);
	if (decode && b->csv)
		printf("%.3f,%.3f", bytes_per_s / 1e9, m->tokens_per_s / roof);
	else if (decode)
		printf(" %8.2f %8.1f %%", bytes_per_s / 1e9, 100 * m->tokens_per_s / roof);
	else if (b->csv)
		printf(",");
	putchar('\n');
	fflush(stdout);
}

static enum rc measure(struct bench *b, const int32_t *batch, int n_batches, struct err *e)
{
	struct measured m;
	enum rc rc = measure_prefill(b, &m, e); /* the first one warms up */

	if (rc == RC_OK)
		rc = measure_prefill(b, &m, e);
	if (rc)
		return rc;
	if (b->csv)
		puts("what,batch,tokens_per_s,step_ms,weights_gb_per_s,share_of_roof");
	else
		puts("what        batch      tok/s      step ms     GB/s    of roof");
	put_row(b, "prefill", 1, &m, false);
	for (int i = 0; i < n_batches && rc == RC_OK; i++) {
		rc = measure_decode(b, batch[i], &m, e);
		if (rc == RC_OK)
			put_row(b, "decode", batch[i], &m, true);
	}
	return rc;
}

/* "1,8,32" */
static enum rc read_batches(const char *text, int32_t *batch, int *n, int64_t max, struct err *e)
{
	char *copy = xstrdup(text), *rest = copy, *item;
	enum rc rc = RC_OK;
	int64_t v;

	*n = 0;
	while (rc == RC_OK && (item = strsep(&rest, ","))) {
		rc = *n < MAX_BATCHES
			     ? parse_int(item, 1, max, &v, e)
			     : err_set(e, RC_INPUT, "more than %d batch sizes", MAX_BATCHES);
		if (rc == RC_OK)
			batch[(*n)++] = (int32_t)v;
	}
	free(copy);
	return rc ? err_prefix(e, "--batch: "), rc : RC_OK;
}

static enum rc bench(struct session *s, const char *batches, int64_t prompt, int64_t output,
		     bool csv, struct err *e)
{
	struct bench b = {.s = s, .prompt = (int32_t)prompt, .output = (int32_t)output, .csv = csv};
	int32_t batch[MAX_BATCHES];
	char roof[32], weights[32];
	int n = 0;
	enum rc rc = read_batches(batches, batch, &n, s->wish.max_seqs, e);

	if (rc == RC_OK && (prompt >= s->wish.max_len || output + START_TOKENS > s->wish.max_len))
		rc = err_set(e, RC_INPUT,
			     "--prompt-tokens and --tokens: the context holds %d tokens",
			     s->wish.max_len);
	if (rc)
		return rc;
	rng_init(&b.rng, s->wish.seed, "bench", 0);
	b.roof_bytes_per_s = s->plan.device->read_bytes_per_s(&s->plan);
	rc = asking_open(&b.asking, s, e);
	if (rc == RC_OK) {
		log_info("%s on %s; memory gives %s/s, weights are %s", s->model->config.name,
			 s->plan.where, format_bytes(roof, sizeof(roof), b.roof_bytes_per_s),
			 format_bytes(weights, sizeof(weights), (double)s->plan.weight_bytes));
		rc = measure(&b, batch, n, e);
	}
	asking_close(&b.asking);
	return rc;
}

int command_bench(int argc, char *const *argv)
{
	struct session_options o = session_defaults;
	struct opt_spec specs[SESSION_SPECS + 8];
	const char *batches = "1,8,32";
	int64_t prompt = 512, output = 64;
	bool help = false, csv = false;
	const struct opt_spec own[] = {
		SESSION_MAX_SEQS(&o),
		SESSION_SEED(&o),
		{OPT_STRING, "batch", .out = &batches, .arg = "LIST",
		 .help = "answers at once, as in 1,8,32 (that)"},
		{OPT_INT, "prompt-tokens", .out = &prompt, .arg = "N", .min = 1, .max = 1 << 20,
		 .help = "of the prefill (512)"},
		{OPT_INT, "tokens", 'n', .out = &output, .arg = "N", .min = 2, .max = 1 << 20,
		 .help = "of each answer (64)"},
		{OPT_FLAG, "csv", .out = &csv, .help = "as CSV"},
		{OPT_FLAG, "help", 'h', .out = &help, .help = "this text"},
		{0},
	};
	struct session s = {0};
	struct err e;
	enum rc rc;

	session_specs(specs, &o);
	memcpy(specs + SESSION_SPECS, own, sizeof(own));
	rc = opt_parse(specs, argc, argv, NULL, &e);
	if (rc == RC_OK && help) {
		struct buf b;

		buf_init(&b, HELP_MAX_BYTES);
		opt_help(&b,
			 "usage: gpu_engine bench -m MODEL [options]   its speed, beside what "
			 "memory gives",
			 specs, "Example:\n  gpu_engine bench -m smollm2.gguf --batch 1,8,16\n");
		return print_out(&b);
	}
	if (rc == RC_OK)
		rc = session_open(&s, &o, false, &e);
	if (rc == RC_OK)
		rc = bench(&s, batches, prompt, output, csv, &e);
	session_close(&s);
	return rc ? complain(&e) : EXIT_SUCCESS;
}

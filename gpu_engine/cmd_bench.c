/*
 * Owns the speed of a model on this machine: prompts and answers through the whole engine,
 * scheduler included, each beside the roof that the device's memory sets: a decode step has to read
 * all weights once, whatever the batch. Main thread.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/log.h"
#include "base/units.h"
#include "commands.h"
#include "speed.h"

#define HELP_MAX_BYTES (1 << 16)
#define MAX_BATCHES    16

struct bench {
	struct session *s;
	struct speed speed;
	double roof_bytes_per_s;
	int32_t prompt, output;
	bool csv;
};

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
	enum rc rc = speed_prefill(&b->speed, b->prompt, &m, e); /* the first one warms up */

	if (rc == RC_OK)
		rc = speed_prefill(&b->speed, b->prompt, &m, e);
	if (rc)
		return rc;
	if (b->csv)
		puts("what,batch,tokens_per_s,step_ms,weights_gb_per_s,share_of_roof");
	else
		puts("what        batch      tok/s      step ms     GB/s    of roof");
	put_row(b, "prefill", 1, &m, false);
	for (int i = 0; i < n_batches && rc == RC_OK; i++) {
		rc = speed_decode(&b->speed, batch[i], b->output, &m, e);
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

	if (rc == RC_OK &&
	    (prompt >= s->wish.max_len || output + SPEED_START_TOKENS > s->wish.max_len))
		rc = err_set(e, RC_INPUT,
			     "--prompt-tokens and --tokens: the context holds %d tokens",
			     s->wish.max_len);
	if (rc)
		return rc;
	b.roof_bytes_per_s = s->plan.device->read_bytes_per_s(&s->plan);
	rc = speed_open(&b.speed, s, e);
	if (rc == RC_OK) {
		log_info("%s on %s; memory gives %s/s, weights are %s", s->model->config.name,
			 s->plan.where, format_bytes(roof, sizeof(roof), b.roof_bytes_per_s),
			 format_bytes(weights, sizeof(weights), (double)s->plan.weight_bytes));
		rc = measure(&b, batch, n, e);
	}
	speed_close(&b.speed);
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

/*
 * The engine without a front end, for comparing it with others token by token.
 *
 *   greedy MODEL N       each line of stdin is a prompt in token ids: prints the N likeliest next
 *                        tokens, one after the other; all prompts share the batch
 *   greedy MODEL truth   each line is "prompt : a b": prints the logits of tokens a and b after the
 *                        prompt as the double-precision reference has them, and its likeliest token
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/cpu_engine.h"
#include "../support/ref_forward.h"
#include "base/check.h"
#include "base/die.h"
#include "cpu/executor_cpu.h"
#include "model/model.h"

enum { MAX_PROMPTS = 256, MAX_IDS = 4096 };

/* The numbers of a line up to its end or a colon; *rest stands behind that. */
static int32_t read_ids(char *line, int32_t *ids, char **rest)
{
	int32_t n = 0;
	char *end;

	for (;; line = end) {
		long id = strtol(line, &end, 10);

		if (end == line || n == MAX_IDS)
			break;
		ids[n++] = (int32_t)id;
	}
	while (*line == ' ' || *line == ':')
		line++;
	*rest = line;
	return n;
}

static void generate(const struct model *m, const struct model_file *f, int32_t n_tokens)
{
	static int32_t ids[MAX_IDS];
	struct answer answer[MAX_PROMPTS];
	const struct cpu_engine_opts opts = {.num_blocks = 2048};
	struct cpu_engine g;
	size_t cap = 0;
	char *line = NULL, *rest;
	int n = 0;
	struct err e;

	if (cpu_engine_open(&g, m, f, &opts, &e) != RC_OK)
		die("%s", e.msg);
	while (n < MAX_PROMPTS && getline(&line, &cap, stdin) > 0) {
		int32_t n_prompt = read_ids(line, ids, &rest);

		if (n_prompt == 0)
			continue;
		cpu_engine_ask(&g, genreq_new((uint64_t)n, NULL, ids, n_prompt, n_tokens),
			       &answer[n]);
		n++;
	}
	cpu_engine_wait(&g);
	for (int i = 0; i < n; i++) {
		for (int32_t k = 0; k < answer[i].n; k++)
			printf("%d%c", answer[i].token[k], k + 1 < answer[i].n ? ' ' : '\n');
		answer_release(&answer[i]);
	}
	cpu_engine_close(&g);
	free(line);
}

static void truth(const struct model *m)
{
	static int32_t ids[MAX_IDS];
	int32_t n_vocab = m->config.n_vocab;
	size_t cap = 0;
	char *line = NULL, *rest;

	while (getline(&line, &cap, stdin) > 0) {
		int32_t n = read_ids(line, ids, &rest), ab[MAX_IDS], best = 0;
		double *logits, *last;

		if (n == 0 || read_ids(rest, ab, &rest) != 2)
			die("want \"prompt : a b\"");
		logits = xcalloc((size_t)n * (size_t)n_vocab, sizeof(*logits));
		ref_forward(m, ids, n, logits);
		last = logits + (size_t)(n - 1) * (size_t)n_vocab;
		for (int32_t i = 0; i < n_vocab; i++)
			if (last[i] > last[best])
				best = i;
		printf("%.4f %.4f %d\n", last[ab[0]], last[ab[1]], best);
		free(logits);
	}
	free(line);
}

int main(int argc, char **argv)
{
	struct model_file *f;
	struct model *m;
	struct err e;

	die_set_program("greedy");
	if (argc != 3)
		die("usage: greedy MODEL N|truth < prompts");
	if (model_file_open(&f, argv[1], &e) != RC_OK || model_load(&m, f, &e) != RC_OK)
		die("%s", e.msg);
	if (strcmp(argv[2], "truth") == 0)
		truth(m);
	else
		generate(m, f, atoi(argv[2]));
	model_free(m);
	model_file_close(f);
	return 0;
}

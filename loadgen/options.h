/*
 * The command line as plain data: one struct a subcommand, and the one-point scenario that `run
 * --base-url` stands for. Checks what can be checked without a scenario. Prints nothing but --help
 * and --version.
 */
#ifndef LOADGEN_OPTIONS_H
#define LOADGEN_OPTIONS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/opt.h"
#include "progress.h"

struct run_options {
	const char *scenario; /* a file; NULL: `one_point` holds the text of one */
	struct buf one_point;
	struct opt_list sets; /* path=value, `--seed` and `--clock` included */
	struct opt_list targets;
	const char *out_dir; /* or NULL */
	enum progress_mode progress;
	int jobs; /* 0: one a core */
	bool strict, plots, preflight, detailed;
	bool vllm_console; /* vLLM's block for each point instead of the tables */
	char *seed_set, *clock_set, *workers_set; /* back the "seed=N" and so on in sets */
};

struct plan_options {
	const char *scenario;
	struct opt_list sets;
	bool csv, openai_batch;
};

struct report_options {
	const char *dir;
	bool plots, html, detailed, vllm_console;
};

struct compare_options {
	struct opt_list operands; /* DIR or DIR:TARGET */
	const char *out_dir;
	bool plots;
};

/* argv[0] is the subcommand. *help set: --help was asked for and is on stdout; nothing else is
 * filled in. RC_INPUT as opt_parse(). Release also after an error. */
enum rc run_options_parse(struct run_options *o, int argc, char *const *argv, bool *help,
			  struct err *e);
enum rc plan_options_parse(struct plan_options *o, int argc, char *const *argv, bool *help,
			   struct err *e);
enum rc report_options_parse(struct report_options *o, int argc, char *const *argv, bool *help,
			     struct err *e);
void run_options_release(struct run_options *o);
enum rc compare_options_parse(struct compare_options *o, int argc, char *const *argv, bool *help,
			      struct err *e);
/* self-test takes nothing but how progress is shown. */
enum rc self_test_options_parse(enum progress_mode *mode, int argc, char *const *argv, bool *help,
				struct err *e);
void compare_options_release(struct compare_options *o);
void plan_options_release(struct plan_options *o);

#endif

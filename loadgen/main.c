/*
 * The story in one screen: read the command line, load the scenario, run it, report it, say how it
 * went in an exit code.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/log.h"
#include "loadgen/compare.h"
#include "loadgen/expect.h"
#include "loadgen/file_limit.h"
#include "loadgen/options.h"
#include "loadgen/plan.h"
#include "loadgen/report.h"
#include "loadgen/results.h"
#include "loadgen/run.h"
#include "loadgen/scenario.h"
#include "loadgen/self_test.h"

enum { EXIT_FAILED = 1, EXIT_INPUT = 2, EXIT_NOT_TRUSTED = 3, EXIT_INTERRUPTED = 130 };

static int complain(const struct err *e)
{
	log_error("%s", e->msg);
	return EXIT_INPUT;
}

/* A warning a line. */
static void warn_each(struct buf *lines)
{
	for (const char *l = buf_cstr(lines); *l;) {
		size_t n = strcspn(l, "\n");

		log_warn("%.*s", (int)n, l);
		l += n + (l[n] == '\n');
	}
}

/* Tables to stdout, files to the results folder. */
static enum rc report(const struct report_input *in, bool vllm_console, bool detailed, bool plots,
		      bool html, struct err *e)
{
	struct buf text, note;
	enum rc rc;

	buf_init(&text, 64u << 20);
	buf_init(&note, 1u << 20);
	if (vllm_console)
		for (size_t i = 0; i < in->n_points; i++)
			report_vllm_console(in, &in->points[i], &text);
	else
		report_text(in, &text);
	fwrite(buf_head(&text), 1, buf_size(&text), stdout);
	rc = report_summary(in, detailed, e);
	if (!rc && plots)
		rc = report_plots(in, &note, e);
	if (!rc && html)
		rc = report_html(in, e);
	warn_each(&note);
	buf_release(&text);
	buf_release(&note);
	return rc;
}

static int verdict_code(const struct run_done *d, bool strict)
{
	int64_t planned = 0, ok = 0;
	bool trusted = true;

	for (size_t i = 0; i < d->n_points; i++) {
		planned += d->points[i].planned;
		ok += d->points[i].ok;
		trusted &= point_trusted(&d->points[i]);
	}
	if (strcmp(d->ended, "interrupted") == 0)
		return EXIT_INTERRUPTED;
	if (ok < planned) {
		log_warn("%lld of %lld requests did not succeed", (long long)(planned - ok),
			 (long long)planned);
		return EXIT_FAILED;
	}
	if (strcmp(d->ended, "complete") != 0)
		return EXIT_FAILED;
	return strict && !trusted ? EXIT_NOT_TRUSTED : 0;
}

static void tell_missed(void *arg, const char *words)
{
	(void)arg;
	log_warn("%s", words);
}

static int run_and_report(struct scenario *s, const struct expectations *x,
			  const struct run_options *o)
{
	struct run_opts how = {o->out_dir, o->progress, o->preflight, o->jobs};
	struct run_done done;
	struct err e;
	int code;

	if (run_scenario(s, &how, &done, &e) != RC_OK) {
		code = complain(&e);
	} else {
		struct report_input in = {
			.scenario = s,
			.points = done.points,
			.n_points = done.n_points,
			.records = done.records,
			.n_records = done.n_records,
			.dir = done.dir,
			.started_utc = done.started_utc,
			.ended = done.ended,
		};

		code = verdict_code(&done, o->strict);
		if (report(&in, o->vllm_console, o->detailed, o->plots, true, &e) != RC_OK)
			code = complain(&e);
		fprintf(stdout, "\nResults: %s\n", done.dir);
		fflush(stdout);
		if (expect_judge(x, done.points, done.n_points, tell_missed, NULL) && !code)
			code = EXIT_FAILED;
	}
	run_done_release(&done);
	return code;
}

static int cmd_run(int argc, char **argv)
{
	struct expectations *x = NULL;
	struct scenario *s = NULL;
	struct run_options o;
	struct err e;
	enum rc rc;
	bool help;
	int code;

	rc = run_options_parse(&o, argc, argv, &help, &e);
	if (!rc && !help && o.scenario)
		rc = scenario_load(&s, o.scenario, &o.sets, &o.targets, &e);
	else if (!rc && !help)
		rc = scenario_parse(&s, "command line", buf_head(&o.one_point),
				    buf_size(&o.one_point), &o.sets, &o.targets, &e);
	if (!rc && !help)
		rc = expect_new(&x, s, &e);
	code = rc ? complain(&e) : help ? 0 : run_and_report(s, x, &o);
	expect_free(x);
	scenario_free(s);
	run_options_release(&o);
	return code;
}

static int cmd_plan(int argc, char **argv)
{
	struct expectations *x = NULL;
	struct scenario *s = NULL;
	struct plan_options o;
	struct err e;
	enum rc rc;
	bool help;

	rc = plan_options_parse(&o, argc, argv, &help, &e);
	if (!rc && !help)
		rc = scenario_load(&s, o.scenario, &o.sets, &(struct opt_list){0}, &e);
	if (!rc && !help)
		rc = expect_new(&x, s, &e);
	if (!rc && !help)
		rc = o.csv	      ? plan_csv(s, "/dev/stdout", &e)
		     : o.openai_batch ? plan_openai_batch(s, stdout, &e)
				      : plan_print(s, stdout, &e);
	expect_free(x);
	scenario_free(s);
	plan_options_release(&o);
	return rc ? complain(&e) : 0;
}

static int cmd_report(int argc, char **argv)
{
	struct loaded_run *l = NULL;
	struct report_options o;
	struct err e;
	enum rc rc;
	bool help;

	rc = report_options_parse(&o, argc, argv, &help, &e);
	if (!rc && !help)
		rc = results_load(&l, o.dir, &e);
	if (!rc && !help) {
		struct report_input in = {
			.scenario = l->scenario,
			.points = l->points,
			.n_points = l->n_points,
			.records = l->records,
			.n_records = l->n_records,
			.dir = l->dir,
			.started_utc = l->started_utc,
			.ended = l->ended,
		};

		rc = report(&in, o.vllm_console, o.detailed, o.plots, o.html, &e);
	}
	loaded_run_free(l);
	return rc ? complain(&e) : 0;
}

static int cmd_compare(int argc, char **argv)
{
	struct comparison *c = NULL;
	struct compare_options o;
	struct buf text, note;
	struct err e;
	enum rc rc;
	bool help;

	buf_init(&text, 64u << 20);
	buf_init(&note, 1u << 20);
	rc = compare_options_parse(&o, argc, argv, &help, &e);
	if (!rc && !help)
		rc = comparison_load(&c, o.operands.item, o.operands.n, o.out_dir, &e);
	if (!rc && !help)
		rc = compare_write(c, o.plots, &note, &e);
	if (!rc && !help) {
		compare_text(c, &text);
		fwrite(buf_head(&text), 1, buf_size(&text), stdout);
		printf("\nWritten: %s\n", o.out_dir);
	}
	warn_each(&note);
	comparison_free(c);
	compare_options_release(&o);
	buf_release(&text);
	buf_release(&note);
	return rc ? complain(&e) : 0;
}

static int cmd_self_test(int argc, char **argv)
{
	enum progress_mode progress;
	struct buf text;
	struct err e;
	enum rc rc;
	bool help;

	buf_init(&text, 1u << 20);
	rc = self_test_options_parse(&progress, argc, argv, &help, &e);
	if (!rc && !help)
		rc = self_test(progress, &text, &e);
	fwrite(buf_head(&text), 1, buf_size(&text), stdout);
	buf_release(&text);
	return rc ? complain(&e) : 0;
}

static int cmd_help(int argc, char **argv);

static const struct command {
	const char *name, *help;
	int (*run)(int argc, char **argv);
} commands[] = {
	{"run", "replay a scenario against its targets, measure every token", cmd_run},
	{"plan", "show what a scenario would send, send nothing", cmd_plan},
	{"report", "tables and figures again from a results folder", cmd_report},
	{"compare", "several results folders laid on each other, with a verdict", cmd_compare},
	{"self-test", "what loadgen can honestly measure on this machine", cmd_self_test},
	{"help", "this text, or that of a command", cmd_help},
};

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(name, commands[i].name) == 0)
			return &commands[i];
	return NULL;
}

static int unknown_command(const char *name)
{
	log_error("%s: no such command; want run, plan, report, compare, self-test or help", name);
	return EXIT_INPUT;
}

static int cmd_help(int argc, char **argv)
{
	char *ask[] = {argc > 1 ? argv[1] : NULL, (char *)"--help", NULL};
	const struct command *c;

	if (argc > 1 && strncmp(argv[1], "--", 2) != 0) {
		c = find_command(argv[1]);
		return c ? c->run(2, ask) : unknown_command(argv[1]);
	}
	printf("usage: loadgen COMMAND ...\n\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].help);
	printf("\nEvery command has --help with an example. `loadgen --version` says what this "
	       "is.\n");
	return 0;
}

int main(int argc, char **argv)
{
	const struct command *c;

	die_set_program(argv[0]);
	signal(SIGXFSZ, SIG_IGN); /* a file at its limit is a write that fails, as on a full disk */
	file_limit_raise();
	if (argc < 2) {
		cmd_help(1, argv);
		return EXIT_INPUT;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("loadgen %s\n", PROJECT_VERSION);
		return 0;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return cmd_help(1, argv);
	c = find_command(argv[1]);
	return c ? c->run(argc - 1, argv + 1) : unknown_command(argv[1]);
}

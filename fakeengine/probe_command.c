/*
 * Owns the command line of `fakeengine probe` and the loadgen that it starts. Blocks until both,
 * load and fit, are done. Must not know what a load is, nor how a fit is done: the one is a
 * scenario that travels inside this program, the other is `fakeengine fit`, told the same words as
 * a person would tell it.
 */
#include "probe_command.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/die.h"
#include "base/embedded.h"
#include "base/log.h"
#include "base/opt.h"
#include "fit_command.h"

#define TEXT_MAX_BYTES (1u << 20)

enum { EXIT_SOME_FAILED = 1, EXIT_INPUT = 2, EXIT_INTERRUPTED = 130, EXIT_NOT_STARTED = 127 };

extern const struct embedded builtin_probe[];

struct probe_line {
	const char *url, *model, *dialect, *api_key_env; /* of the server */
	const char *out, *policy, *dir, *seed;
	struct opt_list sets, loads;
	bool no_intervals, help;
};

static const char usage[] =
	"usage: fakeengine probe --base-url URL [-o PROFILE.yaml] [options]   measures a server "
	"with\n       the load that tells its costs apart (about five minutes), and fits a profile "
	"to it";
static const char examples[] =
	"Without -o it measures, and says how to fit. The load is that of scenarios/probe.yaml, "
	"run by the\nloadgen beside this program, or in PATH.\n\n"
	"Examples:\n"
	"  fakeengine probe --base-url http://127.0.0.1:8000 -o mine.yaml\n"
	"  fakeengine probe --base-url http://127.0.0.1:8000 --load limits.timeout=60s --set "
	"scheduler.num_gpu_blocks=2588 -o mine.yaml\n"
	"Exit codes: 0 measured (and fitted); 2 bad input, or too little to fit; 130 "
	"interrupted.\n";

#define N_SPECS 16

static void make_specs(struct opt_spec specs[N_SPECS], struct probe_line *c)
{
	const struct opt_spec all[N_SPECS] = {
		{OPT_HEADING, .help = "The server"},
		{OPT_STRING, "base-url", .out = &c->url, .arg = "URL",
		 .help = "http://host:port[/prefix], https://..., unix:/path"},
		{OPT_STRING, "model", .out = &c->model, .arg = "NAME",
		 .help = "default: the first that the server lists"},
		{OPT_STRING, "dialect", .out = &c->dialect, .arg = "DIALECT",
		 .help = "how it is spoken to (openai-chat)"},
		{OPT_STRING, "api-key-env", .out = &c->api_key_env, .arg = "VAR",
		 .help = "environment variable that holds the key"},
		{OPT_HEADING, .help = "The load"},
		{OPT_STRING, "out", .out = &c->dir, .arg = "DIR",
		 .help = "results folder (results/probe-TIME)"},
		{OPT_LIST, "load", .out = &c->loads, .arg = "PATH=VALUE",
		 .help = "override a key of its scenario"},
		{OPT_HEADING, .help = "The profile"},
		{OPT_STRING, "output", 'o', .out = &c->out, .arg = "FILE", .help = "a YAML file"},
		{OPT_STRING, "policy", .out = &c->policy, .arg = "NAME",
		 .help = "the server's scheduler (vllm-v1)"},
		{OPT_LIST, "set", .out = &c->sets, .arg = "KEY=VALUE",
		 .help = "a key of the profile that is given, not fitted"},
		{OPT_STRING, "seed", .out = &c->seed, .arg = "N",
		 .help = "of the resamples behind the intervals (42)"},
		{OPT_FLAG, "no-intervals", .out = &c->no_intervals,
		 .help = "only the numbers, not how sure they are"},
		{OPT_FLAG, "help", 'h', .out = &c->help, .help = "this text"},
		{0},
	};

	memcpy(specs, all, sizeof(all));
}

static enum rc check_line(const struct probe_line *c, struct err *e)
{
	if (!c->url)
		return err_set(e, RC_INPUT, "probe: which server? --base-url URL");
	if (!c->out && (c->policy || c->sets.n || c->seed || c->no_intervals))
		return err_set(e, RC_INPUT,
			       "probe: --policy, --set, --seed and --no-intervals are for a fit, "
			       "and without -o PROFILE.yaml there is none");
	return RC_OK;
}

/* ---- words for a program ---- */

struct words {
	char **word; /* ends with NULL */
	size_t n;
};

static void add_taken(struct words *w, char *word)
{
	w->word = xreallocarray(w->word, w->n + 2, sizeof(*w->word));
	w->word[w->n++] = word;
	w->word[w->n] = NULL;
}

static void add(struct words *w, const char *word)
{
	add_taken(w, xstrdup(word));
}

/* Both, or if there is no value neither. */
static void add_option(struct words *w, const char *option, const char *value)
{
	if (!value)
		return;
	add(w, option);
	add(w, value);
}

/* A key of the target; the value in quotes, as it is no YAML. */
static void add_target_key(struct words *w, const char *key, const char *value)
{
	struct buf b;

	if (!value)
		return;
	buf_init(&b, TEXT_MAX_BYTES);
	buf_printf(&b, "targets[0].%s='", key);
	for (; *value; value++) {
		if (*value == '\'')
			buf_putc(&b, '\'');
		buf_putc(&b, *value);
	}
	buf_puts(&b, "'");
	add(w, "--set");
	add_taken(w, buf_take(&b));
}

static void words_release(struct words *w)
{
	for (size_t i = 0; i < w->n; i++)
		free(w->word[i]);
	free(w->word);
}

/* ---- the load ---- */

static char *default_dir(void)
{
	time_t now = time(NULL);
	struct tm t;
	char stamp[32];

	gmtime_r(&now, &t);
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &t);
	return xasprintf("results/probe-%s", stamp);
}

/* The scenario as a file that a child may read, or -1. */
static int scenario_fd(struct err *e)
{
	const struct embedded *s = &builtin_probe[0];
	int fd = memfd_create("probe.yaml", 0);

	if (fd >= 0 && write(fd, s->text, s->len) == (ssize_t)s->len)
		return fd;
	err_set(e, RC_IO, "probe: no memory file: %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

/* loadgen beside this program; else as PATH finds it. */
static char *loadgen_path(void)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash, *path;

	self[n > 0 ? n : 0] = '\0';
	slash = strrchr(self, '/');
	if (!slash)
		return xstrdup("loadgen");
	path = xasprintf("%.*s/loadgen", (int)(slash - self), self);
	if (access(path, X_OK) == 0)
		return path;
	free(path);
	return xstrdup("loadgen");
}

/* Waits for it with Ctrl-C left to it: it ends its load in order. Its exit code, or 128 + signal.
 */
static int run_program(const struct words *w)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
	int status = 0;
	pid_t child;

	fflush(stdout);
	sigaction(SIGINT, &ignore, &before);
	child = fork();
	if (child == 0) {
		sigaction(SIGINT, &before, NULL);
		execvp(w->word[0], w->word);
		_exit(EXIT_NOT_STARTED);
	}
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	sigaction(SIGINT, &before, NULL);
	if (child < 0)
		return EXIT_NOT_STARTED;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* 0: there are rows to fit, be it that some requests failed: the fit says how many. */
static int put_load(const struct probe_line *c, const char *dir)
{
	struct words w = {0};
	struct err e;
	int fd = scenario_fd(&e), code;

	if (fd < 0) {
		log_error("%s", e.msg);
		return EXIT_INPUT;
	}
	add_taken(&w, loadgen_path());
	add(&w, "run");
	add_taken(&w, xasprintf("/dev/fd/%d", fd));
	add_option(&w, "--out", dir);
	add_target_key(&w, "url", c->url);
	add_target_key(&w, "model", c->model);
	add_target_key(&w, "dialect", c->dialect);
	add_target_key(&w, "api_key_env", c->api_key_env);
	for (size_t i = 0; i < c->loads.n; i++)
		add_option(&w, "--set", c->loads.item[i]);
	code = run_program(&w);
	if (code == EXIT_NOT_STARTED)
		log_error("probe: %s: no such program beside this one or in PATH", w.word[0]);
	words_release(&w);
	close(fd);
	if (code == 0 || code == EXIT_SOME_FAILED)
		return 0;
	return code == EXIT_INTERRUPTED ? code : EXIT_INPUT;
}

/* ---- the fit ---- */

static void print_fit(const struct words *w, bool placeholder)
{
	printf("\nTo fit a profile to these rows%s:\n  fakeengine", placeholder ? "" : " again");
	for (size_t i = 0; i < w->n; i++) {
		bool plain = w->word[i][strspn(w->word[i],
					       "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXY"
					       "Z0123456789._-/=:,+")] == '\0';

		printf(plain ? " %s" : " '%s'", w->word[i]);
	}
	printf("%s\n", placeholder ? " -o PROFILE.yaml" : "");
}

static int fit_or_tell(const struct probe_line *c, const char *dir)
{
	struct words w = {0};
	int code = 0;

	add(&w, "fit");
	add(&w, dir);
	add_option(&w, "-o", c->out);
	add_option(&w, "--policy", c->policy);
	add_option(&w, "--seed", c->seed);
	for (size_t i = 0; i < c->sets.n; i++)
		add_option(&w, "--set", c->sets.item[i]);
	if (c->no_intervals)
		add(&w, "--no-intervals");
	if (c->out)
		code = fit_command((int)w.n, w.word);
	print_fit(&w, !c->out);
	words_release(&w);
	return code;
}

/* ---- the command ---- */

static int run(const struct probe_line *c)
{
	char *dir = c->dir ? xstrdup(c->dir) : default_dir();
	int code = put_load(c, dir);

	if (code == 0)
		code = fit_or_tell(c, dir);
	else if (code == EXIT_INTERRUPTED)
		log_warn("interrupted; what was measured until then is in %s", dir);
	free(dir);
	return code;
}

int probe_command(int argc, char *const *argv)
{
	struct probe_line c = {0};
	struct opt_spec specs[N_SPECS];
	struct buf text;
	struct err e;
	enum rc rc;
	int code = EXIT_INPUT;

	make_specs(specs, &c);
	rc = opt_parse(specs, argc, argv, NULL, &e);
	if (rc == RC_OK && !c.help)
		rc = check_line(&c, &e);
	if (rc) {
		log_error("%s", e.msg);
	} else if (c.help) {
		buf_init(&text, TEXT_MAX_BYTES);
		opt_help(&text, usage, specs, examples);
		fwrite(buf_head(&text), 1, buf_size(&text), stdout);
		buf_release(&text);
		code = 0;
	} else {
		code = run(&c);
	}
	opt_list_release(&c.sets);
	opt_list_release(&c.loads);
	return code;
}

/*
 * Owns the command line of `fakeengine fit`: reads rows, begins with a profile, tells the result.
 * Blocks until it is done; says on stderr how far it is.
 */
#include "fit_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/log.h"
#include "fit.h"
#include "fit_profile.h"
#include "fit_read.h"
#include "fit_report.h"
#include "options.h"

#define TEXT_MAX_BYTES (1u << 20)
#define EXIT_INPUT     2
#define SAY_EVERY_NS   (2 * NS_PER_S)

struct fit_line {
	const char *out, *profile, *policy, *name;
	struct fit_source source;
	struct opt_list sets, columns, operands;
	int64_t seed, concurrency;
	bool no_intervals, help;
};

#define N_SPECS 16

static void make_specs(struct opt_spec specs[N_SPECS], struct fit_line *c)
{
	const struct opt_spec all[N_SPECS] = {
		{OPT_HEADING, .help = "What comes out"},
		{OPT_STRING, "output", 'o', .out = &c->out, .arg = "FILE",
		 .help = "the profile, a YAML file"},
		{OPT_STRING, "name", .out = &c->name, .arg = "NAME",
		 .help = "what the profile calls itself (the file's name)"},
		{OPT_FLAG, "no-intervals", .out = &c->no_intervals,
		 .help = "only the numbers, not how sure they are"},
		{OPT_HEADING, .help = "What is begun with"},
		{OPT_STRING, "policy", .out = &c->policy, .arg = "NAME",
		 .help = "the scheduler of the measured engine, its limits are looked for "
			 "(vllm-v1)"},
		{OPT_STRING, "profile", .out = &c->profile, .arg = "NAME|FILE",
		 .help = "model, card, policy and its knobs as this has them; only costs are "
			 "fitted"},
		{OPT_LIST, "set", .out = &c->sets, .arg = "KEY=VALUE",
		 .help = "a key of the profile that is given, not fitted "
			 "(scheduler.num_gpu_blocks=2588)"},
		{OPT_INT, "seed", .out = &c->seed, .arg = "N", .min = 0, .max = 9007199254740992.0,
		 .help = "of the resamples behind the intervals (42)"},
		{OPT_HEADING, .help = "How the rows are read"},
		{OPT_STRING, "target", .out = &c->source.target, .arg = "NAME",
		 .help = "of a results folder that holds several"},
		{OPT_STRING, "point", .out = &c->source.points, .arg = "N[,N...]",
		 .help = "of a results folder: only these (points.csv has the numbers)"},
		{OPT_LIST, "columns", .out = &c->columns, .arg = "QUANTITY=COLUMN,...",
		 .help = "what a file's names mean; below is a list"},
		{OPT_INT, "concurrency", .out = &c->concurrency, .arg = "N", .min = 1,
		 .max = 1000000,
		 .help = "clients of the closed loop, for rows that do not tell when they were "
			 "sent"},
		{OPT_FLAG, "help", 'h', .out = &c->help, .help = "this text"},
		{0},
	};

	memcpy(specs, all, sizeof(all));
}

static const char usage[] =
	"usage: fakeengine fit RESULTS|FILE... -o PROFILE.yaml [options]   a profile that answers "
	"as\n       the measured engine did; several folders or files are runs of the same engine";

static void print_help(struct buf *b)
{
	struct fit_line c = {.seed = 42};
	struct opt_spec specs[N_SPECS];

	make_specs(specs, &c);
	opt_help(b, usage, specs,
		 "Examples:\n"
		 "  loadgen run scenarios/probe.yaml --out results/probe && fakeengine fit "
		 "results/probe -o mine.yaml\n"
		 "  fakeengine fit bench.json --policy sglang --set "
		 "scheduler.max_total_tokens=440000 "
		 "-o sglang.yaml\n"
		 "  fakeengine fit rows.csv --columns "
		 "arrival=ts:ms,prompt_tokens=in,output_tokens=out,"
		 "ttft=ttft:ms,latency=total:ms -o x.yaml\n");
	fit_read_help(b);
}

/* ---- what is begun with ---- */

/* The engine's name is its policy's: nobody said another. */
static char *bare_profile(const char *policy)
{
	return xasprintf("name: fitted\nengine: %s\ndescription: fitted to a measured run\n"
			 "source: a measured run\nmodel: {name: model}\n"
			 "scheduler: {policy: %s}\ncost: {affine: {step: 1ms}}\n",
			 policy, policy);
}

/* The text of a profile by name or path, to be written again with other numbers. */
static enum rc profile_text(struct buf *out, const char *what, struct err *e)
{
	for (const struct embedded *b = builtin_profiles; b->name; b++)
		if (strcmp(b->name, what) == 0)
			return buf_append(out, b->text, b->len) ? RC_OK : RC_LIMIT;
	return (enum rc)buf_read_file(out, what, e);
}

static enum rc load_base(const struct fit_line *c, const struct profile_sets *sets,
			 struct profile *p, struct ydoc **doc, struct err *e)
{
	const char *what = c->profile ? c->profile : "--policy";
	struct buf text;
	char *bare = NULL;
	enum rc rc = RC_OK;

	buf_init(&text, TEXT_MAX_BYTES);
	if (c->profile) {
		rc = profile_load(p, c->profile, sets->item, sets->n, e);
		if (rc == RC_OK)
			rc = profile_text(&text, c->profile, e);
	} else {
		bare = bare_profile(c->policy ? c->policy : "vllm-v1");
		buf_puts(&text, bare);
		rc = profile_parse(p, what, bare, strlen(bare), sets->item, sets->n, e);
	}
	if (rc == RC_OK)
		rc = yaml_parse(doc, what, buf_head(&text), buf_size(&text), e);
	for (size_t i = 0; rc == RC_OK && i < sets->n; i++)
		rc = ydoc_set(*doc, sets->item[i].assignment, sets->item[i].origin, e);
	free(bare);
	buf_release(&text);
	return rc;
}

/* "scheduler.max_num_seqs" of "scheduler.max_num_seqs=8"; ends with NULL. */
static char **given_keys(const struct opt_list *sets)
{
	char **keys = xcalloc(sets->n + 1, sizeof(*keys));

	for (size_t i = 0; i < sets->n; i++)
		keys[i] = xstrndup(sets->item[i], strcspn(sets->item[i], "="));
	return keys;
}

/* ---- how far it is ---- */

struct teller {
	int64_t next_ns;
};

static void say(void *arg, const char *what, double objective, long replays)
{
	struct teller *t = arg;
	int64_t now_ns = monotonic_now_ns();

	if (now_ns < t->next_ns)
		return;
	t->next_ns = now_ns + SAY_EVERY_NS;
	log_info("%s: mean error %.2f %%, %ld replays", what, 100 * objective, replays);
}

/* ---- the result ---- */

static enum rc write_file(const char *path, const struct buf *text, struct err *e)
{
	FILE *f = fopen(path, "w");
	bool ok;

	if (!f)
		return err_set(e, RC_IO, "%s: cannot be written", path);
	ok = fwrite(buf_head(text), 1, buf_size(text), f) == buf_size(text);
	ok &= fclose(f) == 0;
	return ok ? RC_OK : err_set(e, RC_IO, "%s: cannot be written whole", path);
}

static void print_warnings(const struct fit_result *r)
{
	struct buf text;

	buf_init(&text, TEXT_MAX_BYTES);
	fit_warnings(&text, r);
	for (const char *line = buf_cstr(&text); *line;) {
		size_t n = strcspn(line, "\n");

		log_warn("%.*s", (int)n, line);
		line += n + (line[n] == '\n');
	}
	buf_release(&text);
}

static char *profile_name(const struct fit_line *c)
{
	const char *slash = strrchr(c->out, '/'), *base = slash ? slash + 1 : c->out;
	const char *dot = strrchr(base, '.');

	if (c->name)
		return xstrdup(c->name);
	return dot && dot > base ? xstrndup(base, (size_t)(dot - base)) : xstrdup(base);
}

static char *source_words(const struct fit_line *c)
{
	struct buf b;

	buf_init(&b, TEXT_MAX_BYTES);
	buf_puts(&b, "fitted to ");
	for (size_t i = 0; i < c->operands.n; i++)
		buf_printf(&b, "%s%s", i ? ", " : "", c->operands.item[i]);
	if (c->source.target)
		buf_printf(&b, ", target %s", c->source.target);
	if (c->source.points)
		buf_printf(&b, ", points %s", c->source.points);
	return buf_take(&b);
}

static enum rc tell(const struct fit_line *c, const struct fit_result *r, struct ydoc *base,
		    struct err *e)
{
	char *name = profile_name(c), *source = source_words(c);
	struct buf text;
	enum rc rc;

	buf_init(&text, TEXT_MAX_BYTES);
	fit_report(&text, r);
	fwrite(buf_head(&text), 1, buf_size(&text), stdout);
	buf_clear(&text);
	rc = fit_profile_write(&text, r, base, name, source, e);
	if (rc == RC_OK)
		rc = write_file(c->out, &text, e);
	if (rc == RC_OK)
		printf("\nwritten: %s\n", c->out);
	print_warnings(r);
	buf_release(&text);
	free(name);
	free(source);
	return rc;
}

/* ---- the command ---- */

static enum rc check_line(const struct fit_line *c, struct err *e)
{
	if (c->operands.n == 0)
		return err_set(e, RC_INPUT,
			       "fit: want a results folder of loadgen, or a file of "
			       "another tool's rows (`fakeengine fit --help`)");
	if (!c->out)
		return err_set(e, RC_INPUT, "fit: where to? -o PROFILE.yaml");
	if (c->policy && c->profile)
		return err_set(e, RC_INPUT, "--policy: the profile says that already");
	return RC_OK;
}

static enum rc read_all(const struct fit_line *c, struct fit_rows *rows, struct err *e)
{
	enum rc rc = RC_OK;

	for (size_t i = 0; rc == RC_OK && i < c->operands.n; i++)
		rc = fit_read(rows, c->operands.item[i], &c->source, e);
	return rc ? rc : fit_rows_finish(rows, e);
}

static enum rc run(struct fit_line *c, struct err *e)
{
	struct teller teller = {monotonic_now_ns() + SAY_EVERY_NS};
	struct fit_progress progress = {say, &teller};
	char **given = given_keys(&c->sets);
	struct fit_options o = {
		.given = (const char *const *)given,
		.knobs_given = c->profile != NULL,
		.seed = (uint64_t)c->seed,
		.intervals = !c->no_intervals,
		.progress = &progress,
	};
	struct profile_sets sets = {0};
	struct fit_rows rows = {0};
	struct fit_result result = {0};
	struct profile p = {0};
	struct ydoc *base = NULL;
	enum rc rc;

	c->source.columns = &c->columns;
	c->source.concurrency = (int32_t)c->concurrency;
	rc = check_line(c, e);
	if (rc == RC_OK)
		rc = profile_sets_add_list(&sets, &c->sets, e);
	if (rc == RC_OK)
		rc = load_base(c, &sets, &p, &base, e);
	if (rc == RC_OK)
		rc = read_all(c, &rows, e);
	if (rc == RC_OK)
		rc = fit(&result, &p, &rows, &o, e);
	if (rc == RC_OK)
		rc = tell(c, &result, base, e);
	fit_result_release(&result);
	fit_rows_release(&rows);
	profile_release(&p);
	ydoc_free(base);
	profile_sets_release(&sets);
	for (char **k = given; *k; k++)
		free(*k);
	free(given);
	return rc;
}

int fit_command(int argc, char *const *argv)
{
	struct fit_line c = {.seed = 42};
	struct opt_spec specs[N_SPECS];
	struct buf text;
	struct err e;
	enum rc rc;

	make_specs(specs, &c);
	rc = opt_parse(specs, argc, argv, &c.operands, &e);
	if (rc == RC_OK && c.help) {
		buf_init(&text, TEXT_MAX_BYTES);
		print_help(&text);
		fwrite(buf_head(&text), 1, buf_size(&text), stdout);
		buf_release(&text);
	} else if (rc == RC_OK) {
		rc = run(&c, &e);
	}
	if (rc)
		log_error("%s", e.msg);
	opt_list_release(&c.operands);
	opt_list_release(&c.columns);
	opt_list_release(&c.sets);
	return rc ? EXIT_INPUT : EXIT_SUCCESS;
}

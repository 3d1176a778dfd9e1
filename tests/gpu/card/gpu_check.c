/*
 * gpu-check: whether the CUDA executor is right and fast on the card of whoever runs it. Phases, a
 * line of progress each on stderr, one JSON report. The phases that need the card run in processes
 * of their own (children.h), this one never touches it. Must not know what a phase looks at.
 */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "base/log.h"
#include "base/opt.h"
#include "base/units.h"
#include "check.h"
#include "children.h"

#define HELP_MAX_BYTES (1 << 16)
#define REPORT_BYTES   (16U << 20)
#define EXIT_NO_CARD   2 /* or wrong input */

struct options {
	const char *model, *output, *sanitizer, *only;
	int64_t limit_ns;
	bool help;
};

static const struct phase {
	const char *name;
	cJSON *(*run)(const struct check *c);
	bool in_child; /* else it starts its own processes */
} phases[] = {
	{"card", check_card, true},
	{"kernels", check_kernels, false},
	{"tokens", check_tokens, true},
	{"invariance", check_invariance, true},
	{"times", check_times, true},
	{"speed", check_speed, true},
	{"sanitizer", check_sanitizer, false},
};

/* ---- the command line ---- */

static void make_specs(struct opt_spec specs[7], struct options *o)
{
	const struct opt_spec all[7] = {
		{OPT_STRING, "model", 'm', .out = &o->model, .arg = "FILE|FOLDER",
		 .help = "one more for tokens and speed: a GGUF, or a folder with safetensors"},
		{OPT_STRING, "output", 'o', .out = &o->output, .arg = "FILE",
		 .help = "the report (stdout)"},
		{OPT_STRING, "sanitizer", .out = &o->sanitizer, .arg = "PATH",
		 .help = "of compute-sanitizer, which then watches the kernels' tests"},
		{OPT_STRING, "only", .out = &o->only, .arg = "LIST",
		 .help = "phases, as in kernels,times (card kernels tokens invariance times speed "
			 "sanitizer)"},
		{OPT_DURATION, "limit", .out = &o->limit_ns, .arg = "TIME",
		 .help = "what has not ended by then is given up, and is wrong (10m)"},
		{OPT_FLAG, "help", 'h', .out = &o->help, .help = "this text"},
		{0},
	};

	memcpy(specs, all, sizeof(all));
}

static int help(const struct opt_spec *specs)
{
	struct buf b;

	buf_init(&b, HELP_MAX_BYTES);
	opt_help(
		&b,
		"usage: gpu_check [options]   proves gpu_engine's CUDA executor on this machine's "
		"card",
		specs,
		"Never run on a card so far: it was written and tested on a stand-in for the "
		"driver\n"
		"that interprets PTX (ENGINE_LIBCUDA names it), where times mean nothing.\n\n"
		"What it does: every kernel against plain C in double, over odd shapes; tokens of\n"
		"the card and of the processor; answers alone and in a batch; each kernel's time\n"
		"and the engine's speed beside the card's limits. One JSON report; exit code 0 if\n"
		"nothing is wrong and no goal is missed, 1 if something is, 2 if it can not "
		"run.\n");
	fwrite(buf_head(&b), 1, buf_size(&b), stdout);
	buf_release(&b);
	return EXIT_SUCCESS;
}

/* ---- the report ---- */

static double number_of(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItem(o, key);

	return cJSON_IsNumber(v) ? v->valuedouble : 0;
}

static void keep_card(struct check *c, const cJSON *card)
{
	c->emulated = cJSON_IsTrue(cJSON_GetObjectItem(card, "emulated"));
	c->peak_bytes_per_s = c->emulated ? 0 : number_of(card, "peak_bytes_per_s");
	c->read_bytes_per_s = c->emulated ? 0 : number_of(card, "read_bytes_per_s");
	c->peak_flops = c->emulated ? 0 : number_of(card, "peak_flops");
	c->l2_bytes = (int64_t)number_of(card, "l2_bytes");
	c->free_bytes = (int64_t)number_of(card, "free_bytes");
}

/* A phase's lines join those of the whole, under its name. */
static int collect(cJSON *all, const cJSON *phase, const char *name, const char *list)
{
	cJSON *to = cJSON_GetObjectItem(all, list);
	const cJSON *line;

	cJSON_ArrayForEach(line, cJSON_GetObjectItem(phase, list))
	{
		char *text = xasprintf("%s: %s", name, line->valuestring);

		cJSON_AddItemToArray(to, cJSON_CreateString(text));
		free(text);
	}
	return cJSON_GetArraySize(to);
}

/* The card can not be reached: nothing else has anything to say. */
static bool is_hopeless(const cJSON *card)
{
	return !cJSON_GetObjectItem(card, "name");
}

/* Whether name is in "a,b,c". */
static bool is_listed(const char *list, const char *name)
{
	size_t n = strlen(name);

	for (const char *at = list; (at = strstr(at, name)); at += n)
		if ((at == list || at[-1] == ',') && (at[n] == ',' || !at[n]))
			return true;
	return false;
}

static enum rc check_list(const char *list, struct err *e)
{
	char *copy = xstrdup(list), *rest = copy, *item;

	e->rc = RC_OK;
	while (!e->rc && (item = strsep(&rest, ","))) {
		bool known = false;

		for (size_t i = 0; i < ARRAY_LEN(phases); i++)
			known |= strcmp(item, phases[i].name) == 0;
		if (!known)
			err_set(e, RC_INPUT, "--only: '%s' is no phase", item);
	}
	free(copy);
	return e->rc;
}

/* The first, the card, is what the others build on. */
static int run_phases(struct check *c, cJSON *report, const char *only)
{
	int n_wrong = 0, n_slow = 0;

	for (size_t i = 0; i < ARRAY_LEN(phases); i++) {
		const struct phase *p = &phases[i];
		cJSON *o;

		if (i > 0 && only && !is_listed(only, p->name))
			continue;
		log_info("%s", p->name);
		o = p->in_child ? child_phase(p->run, c) : p->run(c);
		cJSON_AddItemToObject(report, p->name, o);
		n_wrong = collect(report, o, p->name, "wrong");
		n_slow = collect(report, o, p->name, "slow");
		if (i == 0 && is_hopeless(o))
			return EXIT_NO_CARD;
		if (i == 0)
			keep_card(c, o);
	}
	return n_wrong + n_slow > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static cJSON *new_report(void)
{
	cJSON *report = object_new();
	time_t now = time(NULL);
	struct tm utc;
	char text[32];

	gmtime_r(&now, &utc);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &utc);
	cJSON_AddStringToObject(report, "program", "gpu_check " PROJECT_VERSION);
	cJSON_AddStringToObject(report, "started", text);
	return report;
}

static void put_report(const cJSON *report, const char *path)
{
	FILE *f = path ? fopen(path, "w") : stdout;
	struct buf b;

	buf_init(&b, REPORT_BYTES);
	json_print(&b, report, true);
	buf_putc(&b, '\n');
	if (!f || fwrite(buf_head(&b), 1, buf_size(&b), f) != buf_size(&b) || fflush(f) != 0)
		die("%s: can not be written", path ? path : "stdout");
	if (path)
		fclose(f);
	buf_release(&b);
}

static int check_all(const struct options *o)
{
	int64_t start_ns = monotonic_now_ns();
	char self[PATH_MAX] = "";
	struct check c = {
		.model = o->model, .sanitizer = o->sanitizer, .end_ns = start_ns + o->limit_ns};
	cJSON *report = new_report();
	int code;

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0)
		die("/proc/self/exe can not be read");
	c.folder = dirname(self);
	code = run_phases(&c, report, o->only);
	json_add_number(report, "took_s", (double)(monotonic_now_ns() - start_ns) / NS_PER_S);
	add_note(&c, report);
	cJSON_AddStringToObject(report, "verdict",
				code == EXIT_SUCCESS   ? "passed"
				: code == EXIT_FAILURE ? "failed"
						       : "no card");
	put_report(report, o->output);
	log_info("%s: %d wrong, %d slow", code == EXIT_SUCCESS ? "passed" : "failed",
		 cJSON_GetArraySize(cJSON_GetObjectItem(report, "wrong")),
		 cJSON_GetArraySize(cJSON_GetObjectItem(report, "slow")));
	cJSON_Delete(report);
	return code;
}

int main(int argc, char **argv)
{
	struct options o = {.limit_ns = 600 * NS_PER_S};
	struct opt_spec specs[7];
	struct err e;

	die_set_program("gpu_check");
	make_specs(specs, &o);
	if (opt_parse(specs, argc, argv, NULL, &e) != RC_OK ||
	    (o.only && check_list(o.only, &e) != RC_OK)) {
		log_error("%s", e.msg);
		return EXIT_NO_CARD;
	}
	return o.help ? help(specs) : check_all(&o);
}

/*
 * Owns the command line of the serving engine. Runs at start, prints nothing. Must not know what a
 * profile's keys mean: a flag about the profile becomes a `--set` and is checked where the file is.
 */
#include "options.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"

#define SEED_PROFILE "seed-vllm"

/* A flag that is short for a --set. */
struct shortcut {
	const char *flag, *path;
	const char *value; /* or NULL: not given */
	bool text;	   /* quoted, so that "on" or "a: b" stays what it is */
	bool seed_only;	   /* it describes the seed's engine; with --profile it would contradict the
			      file */
};

enum { ENGINE_NAME, MODEL, WIRE, TEXT, PREFILL_MS, PER_TOKEN_MS, TOKENS, N_SHORTCUTS };

struct command_line {
	struct shortcut shortcut[N_SHORTCUTS];
	struct opt_list sets, faults;
	int64_t port, seed;
	const char *host, *uds, *truth, *profile, *api_key_env;
	bool port_given, help, version;
};

static const struct command_line defaults = {
	.shortcut =
		{
			[ENGINE_NAME] = {"--engine-name", "engine", NULL, true, false},
			[MODEL] = {"--model", "model.name", NULL, true, false},
			[WIRE] = {"--wire", "wire", NULL, true, false},
			[TEXT] = {"--text", "text", NULL, true, false},
			[PREFILL_MS] = {"--prefill-ms", "cost.constant.prefill_ms", NULL, false,
					true},
			[PER_TOKEN_MS] = {"--per-token-ms", "cost.constant.per_token_ms", NULL,
					  false, true},
			[TOKENS] = {"--tokens", "output.forced_tokens", NULL, false, true},
		},
	.port = 8000,
	.seed = 42,
};

#define N_SPECS 22

static void make_specs(struct opt_spec specs[N_SPECS], struct command_line *c)
{
	struct shortcut *s = c->shortcut;
	const struct opt_spec all[N_SPECS] = {
		{OPT_HEADING, .help = "The engine"},
		{OPT_STRING, "profile", .out = &c->profile, .arg = "NAME|FILE",
		 .help = "what to play: a name that `fakeengine profiles` lists, or a YAML file"},
		{OPT_LIST, "set", .out = &c->sets, .arg = "KEY=VALUE",
		 .help = "another value for a key of the profile (scheduler.max_num_seqs=8)"},
		{OPT_STRING, "engine-name", .out = &s[ENGINE_NAME].value, .arg = "NAME",
		 .help = "what it calls itself"},
		{OPT_STRING, "model", .out = &s[MODEL].value, .arg = "NAME",
		 .help = "the model it serves"},
		{OPT_STRING, "wire", .out = &s[WIRE].value, .arg = "SERVER",
		 .help = "whose habits it has on the wire; below is a list (own)"},
		{OPT_STRING, "text", .out = &s[TEXT].value, .arg = "KIND",
		 .help = "what its answers say: words, echo (what was said last), or "
			 "reference=FILE (the answer that a prompt set in LIMA's format holds; "
			 "words)"},
		{OPT_LIST, "fault", .out = &c->faults, .arg = "SPEC",
		 .help = "what goes wrong on purpose, KIND[=VALUE][@TOKEN][:RATE]; below is a "
			 "list"},
		{OPT_INT, "seed", .out = &c->seed, .arg = "N", .min = 0, .max = 9007199254740992.0,
		 .help = "of jitter, words, lengths and faults (42)"},
		{OPT_HEADING, .help = "Without a profile: constant service time, endless capacity"},
		{OPT_STRING, "prefill-ms", .out = &s[PREFILL_MS].value, .arg = "MS",
		 .help = "before the tokens (80)"},
		{OPT_STRING, "per-token-ms", .out = &s[PER_TOKEN_MS].value, .arg = "MS",
		 .help = "each token (4)"},
		{OPT_STRING, "tokens", .out = &s[TOKENS].value, .arg = "N",
		 .help = "tokens of every answer, whatever is asked (128)"},
		{OPT_HEADING, .help = "The server"},
		{OPT_STRING, "host", .out = &c->host, .arg = "ADDRESS",
		 .help = "where it listens (127.0.0.1)"},
		{OPT_INT, "port", .out = &c->port, .arg = "N", .min = 0, .max = 65535,
		 .seen = &c->port_given,
		 .help = "0 takes a free one; the line \"listening on\" says which (8000)"},
		{OPT_STRING, "uds", .out = &c->uds, .arg = "PATH",
		 .help = "a unix socket instead of a port"},
		{OPT_STRING, "api-key-env", .out = &c->api_key_env, .arg = "VARIABLE",
		 .help = "ask clients for the key that this environment variable holds"},
		{OPT_STRING, "truth", .out = &c->truth, .arg = "FILE",
		 .help = "CSV of each token: when the model says it leaves, when it left"},
		{OPT_FLAG, "version", .out = &c->version, .help = "say which version this is"},
		{OPT_FLAG, "help", 'h', .out = &c->help, .help = "this text"},
		{0},
	};

	memcpy(specs, all, sizeof(all));
}

void options_help(struct buf *b)
{
	struct command_line c = defaults;
	struct opt_spec specs[N_SPECS];

	make_specs(specs, &c);
	opt_help(b,
		 "usage: fakeengine [--profile NAME|FILE] [options]   serve an OpenAI-compatible "
		 "API\n"
		 "       fakeengine profiles                          what there is to play\n"
		 "       fakeengine explain NAME|FILE                 a profile in words\n"
		 "       fakeengine fit RESULTS|FILE... -o FILE       a profile from a measured "
		 "run\n"
		 "       fakeengine probe --base-url URL -o FILE      measures a server for it "
		 "first",
		 specs,
		 "Examples:\n"
		 "  fakeengine --port 8000 --engine-name vLLM --prefill-ms 80 --per-token-ms 4 "
		 "--tokens 128\n"
		 "  fakeengine --profile kind-vllm-a100 --set scheduler.max_num_seqs=8 --port 0\n"
		 "  fakeengine --wire llamacpp --fault 429=5s:0.05 --fault cut_rst@10:0.01\n");
	buf_puts(b, "\nServers that --wire plays:\n");
	for (size_t i = 0; wire_habits[i]; i++)
		buf_printf(b, "  %-16s %s (%s)\n", wire_habits[i]->name, wire_habits[i]->help,
			   wire_habits[i]->basis);
	buf_puts(b, "\nFaults; a request forces one by the header X-Fault: SPEC\n");
	fault_help(b);
}

/* ---- values for the profile ---- */

static char *own(struct profile_sets *s, char *text)
{
	CHECK(s->n_owned < sizeof(s->owned) / sizeof(s->owned[0]));
	s->owned[s->n_owned++] = text;
	return text;
}

static enum rc add_set(struct profile_sets *s, const char *assignment, const char *origin,
		       struct err *e)
{
	if (s->n == PROFILE_SETS_MAX)
		return err_set(e, RC_LIMIT, "--set: more than %d of them; write a profile file",
			       PROFILE_SETS_MAX);
	s->item[s->n++] = (struct profile_set){assignment, origin};
	return RC_OK;
}

enum rc profile_sets_add_list(struct profile_sets *s, const struct opt_list *assignments,
			      struct err *e)
{
	enum rc rc = RC_OK;

	for (size_t i = 0; rc == RC_OK && i < assignments->n; i++) {
		const char *text = assignments->item[i];
		char *origin = xasprintf("--set %.*s", (int)strcspn(text, "="), text);

		rc = add_set(s, text, origin, e);
		if (rc)
			free(origin);
		else
			own(s, origin);
	}
	return rc;
}

/* 'value', with the quotes in it doubled, as YAML has it. */
static char *quote(const char *value)
{
	struct buf b;

	buf_init(&b, SIZE_MAX);
	buf_putc(&b, '\'');
	for (; *value; value++) {
		if (*value == '\'')
			buf_putc(&b, '\'');
		buf_putc(&b, *value);
	}
	buf_putc(&b, '\'');
	return buf_take(&b);
}

static enum rc add_shortcut(struct profile_sets *s, const struct shortcut *c, struct err *e)
{
	char *value = c->text ? quote(c->value) : xstrdup(c->value);
	char *assignment = own(s, xasprintf("%s=%s", c->path, value));

	free(value);
	return add_set(s, assignment, c->flag, e);
}

void profile_sets_release(struct profile_sets *s)
{
	while (s->n_owned > 0)
		free(s->owned[--s->n_owned]);
	s->n = 0;
}

/* ---- the command line ---- */

static enum rc check_contradictions(const struct command_line *c, struct err *e)
{
	for (size_t i = 0; c->profile && i < N_SHORTCUTS; i++)
		if (c->shortcut[i].seed_only && c->shortcut[i].value)
			return err_set(e, RC_INPUT,
				       "%s: the profile says that already; change it there, or by "
				       "--set (`fakeengine explain "
				       "%s` shows its keys)",
				       c->shortcut[i].flag, c->profile);
	if (c->uds && c->port_given)
		return err_set(e, RC_INPUT,
			       "--uds: it listens on a unix socket or on a --port, not on both");
	if (c->uds && c->host)
		return err_set(e, RC_INPUT, "--uds: a unix socket has no --host");
	return RC_OK;
}

static enum rc read_api_key(struct options *o, const char *variable, struct err *e)
{
	if (!variable)
		return RC_OK;
	o->api_key = getenv(variable);
	if (!o->api_key || !*o->api_key)
		return err_set(e, RC_INPUT,
			       "--api-key-env: the environment has no variable %s, or an empty one",
			       variable);
	return RC_OK;
}

enum rc options_read(struct options *o, int argc, char *const *argv, struct err *e)
{
	struct command_line c = defaults;
	struct opt_spec specs[N_SPECS];
	enum rc rc;

	make_specs(specs, &c);
	*o = (struct options){0};
	rc = opt_parse(specs, argc, argv, NULL, e);
	o->help = c.help;
	o->version = c.version;
	if (rc || c.help || c.version)
		goto out;
	o->host = c.host ? c.host : "127.0.0.1";
	o->port = (int)c.port;
	o->uds = c.uds;
	o->truth = c.truth;
	o->seed = (uint64_t)c.seed;
	o->profile = c.profile ? c.profile : SEED_PROFILE;
	rc = check_contradictions(&c, e);
	if (rc == RC_OK)
		rc = read_api_key(o, c.api_key_env, e);
	for (size_t i = 0; rc == RC_OK && i < N_SHORTCUTS; i++)
		if (c.shortcut[i].value)
			rc = add_shortcut(&o->sets, &c.shortcut[i], e);
	if (rc == RC_OK)
		rc = profile_sets_add_list(&o->sets, &c.sets, e);
	for (size_t i = 0; rc == RC_OK && i < c.faults.n; i++)
		rc = fault_list_add(&o->faults, c.faults.item[i], e);
out:
	opt_list_release(&c.faults);
	opt_list_release(&c.sets);
	return rc;
}

void options_release(struct options *o)
{
	profile_sets_release(&o->sets);
	fault_list_release(&o->faults);
}

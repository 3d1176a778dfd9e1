/*
 * An engine that exists only as a profile, behind the same front end and the same scheduler as a
 * real one: the command line says which profile, the profile becomes an executor, serve_main() does
 * the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "base/evloop.h"
#include "base/log.h"
#include "base/opt.h"
#include "fakeengine/answers.h"
#include "fakeengine/executor_sim.h"
#include "fakeengine/explain.h"
#include "fakeengine/fault.h"
#include "fakeengine/fit_command.h"
#include "fakeengine/options.h"
#include "fakeengine/probe_command.h"
#include "fakeengine/profile.h"
#include "fakeengine/wordcodec.h"
#include "serve/serve_main.h"
#include "serve/truth.h"

#define DRAIN_NS       (10 * NS_PER_S)
#define TEXT_MAX_BYTES (1 << 20)
#define EXIT_INPUT     2

static int complain(const struct err *e)
{
	log_error("%s", e->msg);
	return EXIT_INPUT;
}

static int print_out(struct buf *b)
{
	fwrite(buf_head(b), 1, buf_size(b), stdout);
	buf_release(b);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_INPUT;
}

/* ---- serve ---- */

static void loop_timer_set(void *arg, struct timer *t, int64_t at_ns)
{
	evloop_timer(arg, t, at_ns);
}

static void loop_timer_cancel(void *arg, struct timer *t)
{
	evloop_timer_cancel(arg, t);
}

static int serve(const struct options *o, const struct profile *p, struct answers *answers,
		 struct truth_log *truth)
{
	struct evloop *loop = evloop_new();
	struct faults *faults = faults_new(&p->faults, o->seed, loop);
	const char *const *models = (const char *const *)p->models;
	const struct sim_config sim = {
		.cost = &p->cost,
		.noise = p->noise,
		.seed = o->seed,
		.timers = {loop_timer_set, loop_timer_cancel, loop},
		.drafter = &p->drafter,
	};
	struct serve_config c = {
		.loop = loop,
		.host = o->host,
		.port = o->port,
		.uds = o->uds,
		.engine_name = p->engine,
		.models = models,
		.version = PROJECT_VERSION,
		.api_key = o->api_key,
		.drain_ns = DRAIN_NS,
		.codec = &wordcodec,
		.engine =
			{
				.policy = p->policy,
				.executor = &executor_sim,
				.executor_config = &sim,
				.eos_token = wordcodec.eos_token,
				.ingest_ns = p->ingest_ns,
				.egress_ns = p->egress_ns,
				.truth = truth,
				.adapters = models + 1,
			},
		.default_max_tokens = (int32_t)p->output.default_max_tokens,
		.forced_tokens = (int32_t)p->output.forced_tokens,
		.seed = o->seed,
		.prepare = answers_plan,
		.prepare_arg = answers,
		.keep_said = p->text.kind != TEXT_WORDS,
		.wire = p->wire,
		.admit = faults_admit,
		.admit_arg = faults,
	};
	int code;

	memcpy(c.engine.knobs, p->knobs, sizeof(c.engine.knobs));
	code = serve_main(&c);
	faults_free(faults);
	evloop_free(loop);
	return code;
}

/* One process answers for one engine. */
static enum rc refuse_fleet(const struct profile *p, struct err *e)
{
	if (!profile_is_fleet(p))
		return RC_OK;
	return err_set(e, RC_INPUT,
		       "%s: %s: a fleet is played in virtual time only (`loadgen run` with `clock: "
		       "virtual`)",
		       p->name,
		       p->disaggregated.decode_replicas > 0 ? "disaggregated" : "replicas");
}

/* --help, --version */
static int print_about(bool help)
{
	struct buf text;

	buf_init(&text, TEXT_MAX_BYTES);
	if (help)
		options_help(&text);
	else
		buf_puts(&text, "fakeengine " PROJECT_VERSION "\n");
	return print_out(&text);
}

static int command_serve(int argc, char *const *argv)
{
	struct truth_log *truth = NULL;
	struct answers *answers = NULL;
	struct profile p = {0};
	struct options o;
	struct err e;
	enum rc rc = options_read(&o, argc, argv, &e);
	int code;

	if (rc == RC_OK && (o.help || o.version))
		return print_about(o.help);
	if (rc == RC_OK)
		rc = profile_load(&p, o.profile, o.sets.item, o.sets.n, &e);
	if (rc == RC_OK)
		rc = refuse_fleet(&p, &e);
	if (rc == RC_OK)
		fault_list_move(&p.faults, &o.faults);
	if (rc == RC_OK)
		rc = answers_open(&answers, &p, o.seed, &e);
	if (rc == RC_OK && o.truth)
		rc = truth_open(&truth, o.truth, &e);
	code = rc ? complain(&e) : serve(&o, &p, answers, truth);
	truth_close(truth);
	answers_free(answers);
	profile_release(&p);
	options_release(&o);
	return code;
}

/* ---- profiles, explain ---- */

static int command_profiles(int argc, char *const *argv)
{
	bool help = false;
	const struct opt_spec specs[] = {{OPT_FLAG, "help", 'h', .out = &help, .help = "this text"},
					 {0}};
	struct buf text;
	struct err e;

	if (opt_parse(specs, argc, argv, NULL, &e))
		return complain(&e);
	buf_init(&text, TEXT_MAX_BYTES);
	if (help) {
		opt_help(&text,
			 "usage: fakeengine profiles   the engines that can be played, a line "
			 "each\n",
			 specs, "Example:\n  fakeengine profiles | grep lima\n");
	} else if (explain_list(&text, &e)) {
		buf_release(&text);
		return complain(&e);
	}
	return print_out(&text);
}

static enum rc explain_operand(struct buf *text, const struct opt_list *operands,
			       const struct opt_list *sets, int32_t prompt, int32_t output,
			       struct err *e)
{
	struct profile_sets values = {0};
	struct profile p = {0};
	enum rc rc;

	if (operands->n != 1)
		return err_set(e, RC_INPUT,
			       "explain: want the name of one profile, or a file; `fakeengine "
			       "profiles` lists them");
	rc = profile_sets_add_list(&values, sets, e);
	if (rc == RC_OK)
		rc = profile_load(&p, operands->item[0], values.item, values.n, e);
	if (rc == RC_OK && output && p.output.forced_tokens)
		rc = err_set(e, RC_INPUT,
			     "--output-tokens: this profile's answers have %lld tokens, whatever "
			     "is asked",
			     (long long)p.output.forced_tokens);
	if (rc == RC_OK)
		explain(text, &p, prompt, output ? output : EXPLAIN_OUTPUT_TOKENS);
	profile_release(&p);
	profile_sets_release(&values);
	return rc;
}

static const char explain_usage[] =
	"usage: fakeengine explain NAME|FILE [options]   a profile in words: its numbers and "
	"where\n"
	"       they come from, memory, limits of the hardware, predicted speed under load";
static const char explain_example[] =
	"Example:\n  fakeengine explain kind-vllm-a100 --set card.count=2\n";

static int command_explain(int argc, char *const *argv)
{
	int64_t prompt = EXPLAIN_PROMPT_TOKENS, output = 0;
	struct opt_list sets = {0}, operands = {0};
	bool help = false;
	const struct opt_spec specs[] = {
		{OPT_LIST, "set", .out = &sets, .arg = "KEY=VALUE",
		 .help = "another value for a key of the profile"},
		{OPT_INT, "prompt-tokens", .out = &prompt, .arg = "N", .min = 1, .max = 100000,
		 .help = "prompt of the table of predictions (64)"},
		{OPT_INT, "output-tokens", .out = &output, .arg = "N", .min = 1, .max = 100000,
		 .help = "answer of the table of predictions (128)"},
		{OPT_FLAG, "help", 'h', .out = &help, .help = "this text"},
		{0},
	};
	struct buf text;
	struct err e;
	enum rc rc = opt_parse(specs, argc, argv, &operands, &e);
	int code;

	buf_init(&text, TEXT_MAX_BYTES);
	if (rc == RC_OK && help)
		opt_help(&text, explain_usage, specs, explain_example);
	else if (rc == RC_OK)
		rc = explain_operand(&text, &operands, &sets, (int32_t)prompt, (int32_t)output, &e);
	code = rc ? complain(&e) : print_out(&text);
	buf_release(&text);
	opt_list_release(&operands);
	opt_list_release(&sets);
	return code;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char *const *argv);
	} command[] = {
		{"profiles", command_profiles},
		{"explain", command_explain},
		{"fit", fit_command},
		{"probe", probe_command},
	};

	die_set_program("fakeengine");
	for (size_t i = 0; argc > 1 && i < ARRAY_LEN(command); i++)
		if (strcmp(argv[1], command[i].name) == 0)
			return command[i].run(argc - 1, argv + 1);
	return command_serve(argc, argv);
}

/*
 * Owns the serving command: from the command line to serve_main(). Must not know the API.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/log.h"
#include "base/units.h"
#include "commands.h"
#include "serve/serve_main.h"
#include "serve/truth.h"
#include "session.h"

#define DRAIN_NS       (10 * NS_PER_S)
#define HELP_MAX_BYTES (1 << 16)

struct serve_options {
	struct session_options session;
	const char *host, *uds, *api_key_env, *name, *truth;
	int64_t port, max_queue;
	bool port_given, help, version;
	char *api_key;
};

#define N_SPECS (SESSION_SPECS + 17)

static void make_specs(struct opt_spec *specs, struct serve_options *o)
{
	const struct opt_spec server[] = {
		SESSION_MAX_SEQS(&o->session),
		SESSION_CHAT_TEMPLATE(&o->session),
		SESSION_SEED(&o->session),
		{OPT_HEADING, .help = "The server"},
		{OPT_STRING, "host", .out = &o->host, .arg = "ADDRESS",
		 .help = "where it listens (127.0.0.1)"},
		{OPT_INT, "port", .out = &o->port, .arg = "N", .min = 0, .max = 65535,
		 .seen = &o->port_given,
		 .help = "0 takes a free one; the line \"listening on\" says which (8001)"},
		{OPT_STRING, "uds", .out = &o->uds, .arg = "PATH",
		 .help = "a unix socket instead of a port"},
		{OPT_STRING, "served-model-name", .out = &o->name, .arg = "NAME",
		 .help = "what clients call the model (its file's name)"},
		{OPT_INT, "max-queue", .out = &o->max_queue, .arg = "N", .min = 1, .max = 1 << 20,
		 .help = "requests in the engine; the next one gets 429 (1024)"},
		{OPT_STRING, "api-key-env", .out = &o->api_key_env, .arg = "VARIABLE",
		 .help = "ask clients for the key that this environment variable holds"},
		{OPT_STRING, "truth", .out = &o->truth, .arg = "FILE",
		 .help = "CSV of each token: when its step ended, when it left"},
		{OPT_FLAG, "version", .out = &o->version, .help = "say which version this is"},
		{OPT_FLAG, "help", 'h', .out = &o->help, .help = "this text"},
		{0},
	};

	specs[0] = (struct opt_spec){OPT_HEADING, .help = "The model"};
	session_specs(specs + 1, &o->session);
	memcpy(specs + 1 + SESSION_SPECS, server, sizeof(server));
}

static int help(void)
{
	struct serve_options o = {.session = session_defaults};
	struct opt_spec specs[N_SPECS];
	struct buf b;

	make_specs(specs, &o);
	buf_init(&b, HELP_MAX_BYTES);
	opt_help(&b,
		 "usage: gpu_engine -m MODEL [options]             serve an OpenAI-compatible API\n"
		 "       gpu_engine run -m MODEL -p TEXT [...]     one answer on the terminal\n"
		 "       gpu_engine bench -m MODEL [...]           its speed, beside what memory "
		 "gives\n"
		 "       gpu_engine perplexity -m MODEL -f FILE    how well it foresees a text\n"
		 "       gpu_engine info -m MODEL                  what is in the file",
		 specs,
		 "Examples:\n"
		 "  gpu_engine -m smollm2.gguf --port 8001\n"
		 "  gpu_engine -m model/ --port 0 --max-num-seqs 32 --kv-cache 2GiB\n");
	put_devices(&b);
	return print_out(&b);
}

static enum rc read_options(struct serve_options *o, int argc, char *const *argv, struct err *e)
{
	struct opt_spec specs[N_SPECS];
	const char *key;
	enum rc rc;

	*o = (struct serve_options){
		.session = session_defaults, .host = "127.0.0.1", .port = 8001, .max_queue = 1024};
	make_specs(specs, o);
	rc = opt_parse(specs, argc, argv, NULL, e);
	if (rc || o->help || o->version)
		return rc;
	if (o->uds && o->port_given)
		return err_set(e, RC_INPUT, "--uds and --port: one of them");
	if (o->api_key_env) {
		key = getenv(o->api_key_env);
		if (!key || !*key)
			return err_set(e, RC_INPUT,
				       "--api-key-env: the environment variable %s is not set",
				       o->api_key_env);
		o->api_key = xstrdup(key);
	}
	return RC_OK;
}

static void announce(const struct session *s)
{
	char weights[32], kv[32], took[32];

	log_info("%s (%s) on %s: weights %s, KV cache %s for %d tokens; read in %s",
		 s->model->config.name, s->model->config.arch, s->plan.where,
		 format_bytes(weights, sizeof(weights), (double)s->plan.weight_bytes),
		 format_bytes(kv, sizeof(kv), (double)s->plan.kv_bytes),
		 (s->plan.num_blocks - 1) * s->wish.block_size,
		 format_duration(took, sizeof(took), s->load_ns));
}

static void put_metrics(struct buf *b, void *arg)
{
	const struct session *s = arg;

	s->plan.device->put_metrics(&s->plan, b);
}

/* Where a machine tells what it does, that stands in /metrics. */
static void watch_machine(struct session *s, struct serve_config *c)
{
	struct err e;

	if (!s->plan.device->watch)
		return;
	if (s->plan.device->watch(&s->plan, &e) != RC_OK) {
		log_info("%s", e.msg);
		return;
	}
	c->more_metrics = put_metrics;
	c->more_metrics_arg = s;
}

static int serve(struct session *s, const struct serve_options *o, struct truth_log *truth)
{
	const char *const models[] = {o->name ? o->name : s->model->config.name, NULL};
	struct serve_config c = {
		.loop = s->loop,
		.host = o->host,
		.port = (int)o->port,
		.uds = o->uds,
		.engine_name = "gpu_engine",
		.models = models,
		.version = PROJECT_VERSION,
		.api_key = o->api_key,
		.drain_ns = DRAIN_NS,
		.codec = tokenizer_codec(s->tokenizer),
		.engine = s->engine,
		.seed = s->wish.seed,
	};

	announce(s);
	c.engine.max_queue = (int32_t)o->max_queue;
	c.engine.truth = truth;
	watch_machine(s, &c);
	return serve_main(&c);
}

int command_serve(int argc, char *const *argv)
{
	struct truth_log *truth = NULL;
	struct session s = {0};
	struct serve_options o;
	struct err e;
	enum rc rc = read_options(&o, argc, argv, &e);
	int code;

	if (rc == RC_OK && o.help)
		return help();
	if (rc == RC_OK && o.version) {
		struct buf b;

		buf_init(&b, HELP_MAX_BYTES);
		buf_puts(&b, "gpu_engine " PROJECT_VERSION "\n");
		return print_out(&b);
	}
	if (rc == RC_OK)
		rc = session_open(&s, &o.session, true, &e);
	if (rc == RC_OK && o.truth)
		rc = truth_open(&truth, o.truth, &e);
	code = rc ? complain(&e) : serve(&s, &o, truth);
	truth_close(truth);
	session_close(&s);
	free(o.api_key);
	return code;
}

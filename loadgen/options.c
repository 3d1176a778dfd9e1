/*
 * Owns the flags of every subcommand and their --help. Main thread, before anything is opened. Must
 * not know how a scenario is checked: a one-point run becomes the text of one and goes the way of
 * any other.
 */
#include "options.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/die.h"
#include "base/jsonx.h"
#include "base/units.h"

#define MAX_SCENARIO_BYTES (1u << 20)

/* The flags of vLLM's `bench serve` that have a meaning here; the rest of that tool's are unknown
 * options. */
struct one_point {
	const char *base_url, *dialect, *endpoint, *model, *dataset, *request_rate, *api_key_env,
		*extra_body;
	struct opt_list headers, goodput;
	int64_t num_prompts, input_len, output_len, max_concurrency;
	double burstiness, temperature;
	bool ignore_eos, no_stream;
	bool seen_input_len, seen_output_len, seen_burstiness, seen_temperature;
};

static bool help_wanted(int argc, char *const *argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return true;
	return false;
}

/* A caller of --help wants all of it on stdout, whatever else stands on the line. */
static void print_help(const char *usage, const struct opt_spec *specs, const char *tail)
{
	struct buf b;

	buf_init(&b, MAX_SCENARIO_BYTES);
	opt_help(&b, usage, specs, tail);
	fwrite(buf_head(&b), 1, buf_size(&b), stdout);
	buf_release(&b);
}

static enum rc one_operand(const struct opt_list *operands, const char *what, const char **out,
			   struct err *e)
{
	if (operands->n == 0)
		return err_set(e, RC_INPUT, "%s is missing (see --help)", what);
	if (operands->n > 1)
		return err_set(e, RC_INPUT, "%s: one %s at a time", operands->item[1], what);
	*out = operands->item[0];
	return RC_OK;
}

/* "key: value" with the value quoted as YAML takes it: JSON strings are YAML strings. */
static void put_text(struct buf *b, const char *key, const char *value)
{
	if (!value)
		return;
	buf_printf(b, "%s: ", key);
	json_quote(b, value);
	buf_putc(b, '\n');
}

static enum rc put_headers(struct buf *b, const struct opt_list *headers, struct err *e)
{
	if (headers->n)
		buf_puts(b, "    headers:\n");
	for (size_t i = 0; i < headers->n; i++) {
		const char *h = headers->item[i];
		size_t name = strcspn(h, ":=");

		if (!name || !h[name])
			return err_set(e, RC_INPUT, "--header: got \"%s\", want NAME=VALUE", h);
		buf_puts(b, "      \"");
		json_escape(b, h, name);
		buf_puts(b, "\": ");
		json_quote(b, h + name + 1 + strspn(h + name + 1, " "));
		buf_putc(b, '\n');
	}
	return RC_OK;
}

/* "ttft:200" in ms, as vLLM has it. */
static enum rc put_slo(struct buf *b, const struct opt_list *goodput, struct err *e)
{
	static const char *const names[] = {"ttft", "tpot", "e2el"};

	if (goodput->n)
		buf_puts(b, "slo:\n");
	for (size_t i = 0; i < goodput->n; i++) {
		const char *g = goodput->item[i], *colon = strchr(g, ':');
		bool known = false;
		double ms;

		for (size_t k = 0; colon && k < 3; k++)
			known |= strlen(names[k]) == (size_t)(colon - g) &&
				 strncmp(names[k], g, (size_t)(colon - g)) == 0;
		if (!known || parse_double(colon + 1, 0.001, 1e9, &ms, NULL) != RC_OK)
			return err_set(e, RC_INPUT,
				       "--goodput: got \"%s\", want ttft:MS, tpot:MS or e2el:MS",
				       g);
		buf_printf(b, "  %.*s: %sms\n", (int)(colon - g), g, colon + 1);
	}
	return RC_OK;
}

static enum rc put_load(struct buf *b, const struct one_point *p, struct err *e)
{
	double rate = HUGE_VAL;

	if (p->request_rate && parse_rate(p->request_rate, &rate, e) != RC_OK)
		return err_prefix(e, "--request-rate: ");
	if (p->seen_burstiness && isinf(rate))
		return err_set(e, RC_INPUT,
			       "--burstiness shapes a finite --request-rate; none is given");
	if (isinf(rate) && p->max_concurrency > 0) {
		buf_printf(b, "load:\n  closed: {concurrency: %lld, requests: %lld}\n",
			   (long long)p->max_concurrency, (long long)p->num_prompts);
		return RC_OK;
	}
	buf_printf(b, "load:\n  open:\n    rate: %s\n    requests: %lld\n",
		   isinf(rate) ? "inf" : p->request_rate, (long long)p->num_prompts);
	if (p->max_concurrency > 0)
		buf_printf(b, "    max_concurrency: %lld\n", (long long)p->max_concurrency);
	if (!isinf(rate))
		buf_printf(b, "    arrival: {gamma: {burstiness: %.17g}}\n", p->burstiness);
	return RC_OK;
}

static enum rc put_prompts(struct buf *b, const struct one_point *p, struct err *e)
{
	char *absolute;

	buf_puts(b, "workload:\n  prompts:\n");
	if (p->dataset && p->seen_input_len)
		return err_set(e, RC_INPUT, "--dataset and --random-input-len: only one of them");
	if (p->dataset) {
		absolute = realpath(p->dataset, NULL);
		put_text(b, "    file", absolute ? absolute : p->dataset);
		free(absolute);
	} else {
		buf_printf(b, "    synthetic: {input_tokens: %lld}\n", (long long)p->input_len);
	}
	if (p->dataset && !p->seen_output_len)
		buf_puts(b, "  output_tokens: reference\n");
	else
		buf_printf(b, "  output_tokens: %lld\n", (long long)p->output_len);
	buf_printf(b, "  request:\n    stream: %s\n    ignore_eos: %s\n",
		   p->no_stream ? "false" : "true", p->ignore_eos ? "true" : "false");
	if (p->seen_temperature)
		buf_printf(b, "    temperature: %.17g\n", p->temperature);
	if (p->extra_body)
		buf_printf(b, "    extra: %s\n", p->extra_body);
	return RC_OK;
}

static enum rc one_point_text(struct buf *b, const struct one_point *p, struct err *e)
{
	cJSON *extra = NULL;
	enum rc rc;

	if (p->extra_body) {
		rc = json_parse(&extra, p->extra_body, strlen(p->extra_body), e);
		if (!rc && !cJSON_IsObject(extra))
			rc = err_set(e, RC_INPUT, "want a JSON object");
		cJSON_Delete(extra);
		if (rc)
			return err_prefix(e, "--extra-body: ");
	}
	buf_puts(b, "name: one-point\ntargets:\n");
	put_text(b, "  - name", p->model ? p->model : "target");
	put_text(b, "    url", p->base_url);
	put_text(b, "    dialect", p->dialect);
	put_text(b, "    endpoint", p->endpoint);
	put_text(b, "    model", p->model);
	put_text(b, "    api_key_env", p->api_key_env);
	rc = put_headers(b, &p->headers, e);
	if (!rc)
		rc = put_prompts(b, p, e);
	if (!rc)
		rc = put_load(b, p, e);
	if (!rc)
		rc = put_slo(b, &p->goodput, e);
	return rc;
}

static enum rc parse_progress(const char *name, enum progress_mode *out, struct err *e)
{
	static const struct {
		const char *name;
		enum progress_mode mode;
	} row[] = {{"auto", PROGRESS_AUTO}, {"plain", PROGRESS_PLAIN}, {"none", PROGRESS_NONE}};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		if (strcmp(name, row[i].name) == 0) {
			*out = row[i].mode;
			return RC_OK;
		}
	}
	return err_set(e, RC_INPUT, "--progress: got \"%s\", want auto, plain or none", name);
}

static enum rc parse_console(const char *name, bool *vllm, struct err *e)
{
	if (strcmp(name, "vllm") != 0 && strcmp(name, "table") != 0)
		return err_set(e, RC_INPUT, "--console: got \"%s\", want table or vllm", name);
	*vllm = strcmp(name, "vllm") == 0;
	return RC_OK;
}

static const char run_usage[] =
	"usage: loadgen run SCENARIO.yaml [options]\n"
	"       loadgen run --base-url URL --model M --num-prompts N [options]\n"
	"\n"
	"Replays a scenario against its targets and writes rows, tables and figures.";
static const char run_examples[] =
	"Examples:\n"
	"  loadgen run scenarios/demo.yaml\n"
	"  loadgen run scenarios/demo.yaml --set load.concurrency=[1,4] --target 'vLLM (fake)'\n"
	"  loadgen run scenarios/open-loop-slo.yaml --clock virtual\n"
	"  loadgen run --base-url http://127.0.0.1:8000 --model m --num-prompts 200 "
	"--max-concurrency 16\n"
	"\n"
	"Cards of this machine are sampled by libnvidia-ml.so.1 while an engine on it is under "
	"load;\n"
	"LOADGEN_LIBNVML names another file. Where there is none, run.json has a note.\n"
	"Ctrl-C once ends the run in order and keeps what was measured; twice leaves at once.\n"
	"Exit codes: 0 all requests succeeded; 1 some failed; 2 bad input, nothing was sent;\n"
	"3 with --strict, the client could not be trusted; 130 interrupted.\n";

/* A flag that is short for a --set. */
static void add_set(struct run_options *o, char **backing, char *assignment)
{
	*backing = assignment;
	o->sets.item = xreallocarray(o->sets.item, o->sets.n + 1, sizeof(*o->sets.item));
	o->sets.item[o->sets.n++] = assignment;
}

enum rc run_options_parse(struct run_options *o, int argc, char *const *argv, bool *help,
			  struct err *e)
{
	struct one_point p = {
		.input_len = 1024, .output_len = 128, .num_prompts = 0, .burstiness = 1};
	bool no_plots = false, no_preflight = false, has_seed = false, has_prompts = false;
	const char *progress = "auto", *console = "table", *clock = NULL;
	struct opt_list operands = {0};
	int64_t seed = 0, workers = 0, jobs = 0;
	const struct opt_spec specs[] = {
		{OPT_LIST, "set", 0, &o->sets, "PATH=VALUE", "override a key of the scenario", 0, 0,
		 NULL},
		{OPT_LIST, "target", 0, &o->targets, "NAME", "only this target (again for more)", 0,
		 0, NULL},
		{OPT_STRING, "out", 'o', &o->out_dir, "DIR",
		 "results folder (default results/NAME-TIME)", 0, 0, NULL},
		{OPT_INT, "seed", 0, &seed, "N", "override the scenario's seed", 0, 9e15,
		 &has_seed},
		{OPT_STRING, "clock", 0, &clock, "CLOCK",
		 "real, or virtual: profiles run in process, without waiting", 0, 0, NULL},
		{OPT_INT, "workers", 0, &workers, "N",
		 "processes that share the load, beyond one's file limit or core", 1, 64, NULL},
		{OPT_INT, "jobs", 0, &jobs, "N",
		 "processes that share the targets in virtual time (default: one a core)", 1, 64,
		 NULL},
		{OPT_FLAG, "strict", 0, &o->strict, NULL,
		 "exit 3 if the client was saturated or late, or samples few", 0, 0, NULL},
		{OPT_FLAG, "no-preflight", 0, &no_preflight, NULL,
		 "send the load without looking at the targets first", 0, 0, NULL},
		{OPT_HEADING, NULL, 0, NULL, NULL, "Output", 0, 0, NULL},
		{OPT_STRING, "progress", 0, &progress, "WHEN", "auto, plain or none", 0, 0, NULL},
		{OPT_STRING, "console", 0, &console, "STYLE",
		 "table, or vllm for the block of vLLM's bench", 0, 0, NULL},
		{OPT_FLAG, "no-plots", 0, &no_plots, NULL, "draw no figures", 0, 0, NULL},
		{OPT_FLAG, "detailed", 0, &o->detailed, NULL, "per-request arrays in summary.json",
		 0, 0, NULL},
		{OPT_HEADING, NULL, 0, NULL, NULL,
		 "One point without a scenario (names as in vLLM's bench)", 0, 0, NULL},
		{OPT_STRING, "base-url", 0, &p.base_url, "URL",
		 "http://host:port[/prefix], https://..., unix:/path", 0, 0, NULL},
		{OPT_STRING, "backend", 0, &p.dialect, "DIALECT",
		 "openai-chat (default) or openai-completions", 0, 0, NULL},
		{OPT_STRING, "endpoint", 0, &p.endpoint, "PATH",
		 "instead of the dialect's own path", 0, 0, NULL},
		{OPT_STRING, "model", 0, &p.model, "NAME",
		 "default: the first that the server lists", 0, 0, NULL},
		{OPT_STRING, "api-key-env", 0, &p.api_key_env, "VAR",
		 "environment variable that holds the key", 0, 0, NULL},
		{OPT_LIST, "header", 0, &p.headers, "NAME=VALUE",
		 "sent with each request (again for more)", 0, 0, NULL},
		{OPT_STRING, "dataset", 0, &p.dataset, "FILE",
		 "prompts: ShareGPT, LIMA, MT-bench, OpenAI batch, custom JSONL, CSV, lines", 0, 0,
		 NULL},
		{OPT_INT, "random-input-len", 0, &p.input_len, "N",
		 "synthetic prompts of N tokens (default 1024)", 1, 1e7, &p.seen_input_len},
		{OPT_INT, "output-len", 0, &p.output_len, "N",
		 "tokens to ask for (default 128, or the dataset's)", 1, 1e7, &p.seen_output_len},
		{OPT_INT, "num-prompts", 0, &p.num_prompts, "N", "requests to send", 1, 9999999,
		 &has_prompts},
		{OPT_INT, "max-concurrency", 0, &p.max_concurrency, "N",
		 "requests in flight at most", 1, 1000000, NULL},
		{OPT_STRING, "request-rate", 0, &p.request_rate, "R",
		 "requests per second, or inf (default)", 0, 0, NULL},
		{OPT_NUM, "burstiness", 0, &p.burstiness, "B",
		 "gamma shape of the gaps; 1 = Poisson (default)", 1e-3, 1e6, &p.seen_burstiness},
		{OPT_NUM, "temperature", 0, &p.temperature, "T", "sent with each request", 0, 100,
		 &p.seen_temperature},
		{OPT_FLAG, "ignore-eos", 0, &p.ignore_eos, NULL,
		 "ask for exactly the planned lengths", 0, 0, NULL},
		{OPT_FLAG, "no-stream", 0, &p.no_stream, NULL, "ask for whole answers", 0, 0, NULL},
		{OPT_STRING, "extra-body", 0, &p.extra_body, "JSON",
		 "members for each request's body", 0, 0, NULL},
		{OPT_LIST, "goodput", 0, &p.goodput, "SLO",
		 "ttft:MS, tpot:MS, e2el:MS (again for more)", 0, 0, NULL},
		{0},
	};
	enum rc rc;

	memset(o, 0, sizeof(*o));
	buf_init(&o->one_point, MAX_SCENARIO_BYTES);
	*help = help_wanted(argc, argv);
	if (*help) {
		print_help(run_usage, specs, run_examples);
		return RC_OK;
	}
	rc = opt_parse(specs, argc, argv, &operands, e);
	if (!rc)
		rc = parse_progress(progress, &o->progress, e);
	if (!rc)
		rc = parse_console(console, &o->vllm_console, e);
	if (!rc && !p.base_url) {
		rc = one_operand(&operands, "SCENARIO.yaml", &o->scenario, e);
		if (!rc && (has_prompts || p.model || p.dataset || p.request_rate ||
			    p.max_concurrency || p.goodput.n))
			rc = err_set(e, RC_INPUT,
				     "flags of a one-point run need --base-url; in a scenario use "
				     "--set PATH=VALUE");
	} else if (!rc && operands.n) {
		rc = err_set(e, RC_INPUT, "%s: either a scenario or --base-url", operands.item[0]);
	} else if (!rc && !has_prompts) {
		rc = err_set(e, RC_INPUT, "--num-prompts is missing");
	} else if (!rc) {
		rc = one_point_text(&o->one_point, &p, e);
	}
	if (has_seed)
		add_set(o, &o->seed_set, xasprintf("seed=%lld", (long long)seed));
	if (clock)
		add_set(o, &o->clock_set, xasprintf("clock=%s", clock));
	if (workers)
		add_set(o, &o->workers_set, xasprintf("workers=%lld", (long long)workers));
	o->jobs = (int)jobs;
	o->plots = !no_plots;
	o->preflight = !no_preflight;
	opt_list_release(&operands);
	opt_list_release(&p.headers);
	opt_list_release(&p.goodput);
	return rc;
}

void run_options_release(struct run_options *o)
{
	opt_list_release(&o->sets);
	opt_list_release(&o->targets);
	buf_release(&o->one_point);
	free(o->seed_set);
	free(o->clock_set);
	free(o->workers_set);
}

enum rc plan_options_parse(struct plan_options *o, int argc, char *const *argv, bool *help,
			   struct err *e)
{
	const struct opt_spec specs[] = {
		{OPT_LIST, "set", 0, &o->sets, "PATH=VALUE", "override a key of the scenario", 0, 0,
		 NULL},
		{OPT_FLAG, "csv", 0, &o->csv, NULL,
		 "the timetable alone, with whole prompts, as CSV (a trace for load.open.trace)", 0,
		 0, NULL},
		{OPT_FLAG, "openai-batch", 0, &o->openai_batch, NULL,
		 "the first target's requests as an OpenAI batch file", 0, 0, NULL},
		{0},
	};
	struct opt_list operands = {0};
	enum rc rc;

	memset(o, 0, sizeof(*o));
	*help = help_wanted(argc, argv);
	if (*help) {
		print_help("usage: loadgen plan SCENARIO.yaml [options]\n\n"
			   "Shows the effective scenario and every request it would send. Sends "
			   "nothing.",
			   specs,
			   "Example:\n  loadgen plan scenarios/demo.yaml --set "
			   "load.concurrency=4 | less\n");
		return RC_OK;
	}
	rc = opt_parse(specs, argc, argv, &operands, e);
	if (!rc)
		rc = one_operand(&operands, "SCENARIO.yaml", &o->scenario, e);
	if (!rc && o->csv && o->openai_batch)
		rc = err_set(e, RC_INPUT, "--csv and --openai-batch: only one of them");
	opt_list_release(&operands);
	return rc;
}

void plan_options_release(struct plan_options *o)
{
	opt_list_release(&o->sets);
}

enum rc report_options_parse(struct report_options *o, int argc, char *const *argv, bool *help,
			     struct err *e)
{
	bool no_plots = false;
	const char *console = "table";
	const struct opt_spec specs[] = {
		{OPT_STRING, "console", 0, &console, "STYLE",
		 "table, or vllm for the block of vLLM's bench", 0, 0, NULL},
		{OPT_FLAG, "no-plots", 0, &no_plots, NULL, "draw no figures", 0, 0, NULL},
		{OPT_FLAG, "html", 0, &o->html, NULL, "write report.html as well", 0, 0, NULL},
		{OPT_FLAG, "detailed", 0, &o->detailed, NULL, "per-request arrays in summary.json",
		 0, 0, NULL},
		{0},
	};
	struct opt_list operands = {0};
	enum rc rc;

	memset(o, 0, sizeof(*o));
	*help = help_wanted(argc, argv);
	if (*help) {
		print_help("usage: loadgen report DIR [options]\n\n"
			   "Tables, figures and summary.json again from the rows of a "
			   "run, also of one that\n"
			   "was killed.",
			   specs, "Example:\n  loadgen report results/demo-20260101T120000Z\n");
		return RC_OK;
	}
	rc = opt_parse(specs, argc, argv, &operands, e);
	if (!rc)
		rc = parse_console(console, &o->vllm_console, e);
	if (!rc)
		rc = one_operand(&operands, "DIR", &o->dir, e);
	o->plots = !no_plots;
	opt_list_release(&operands);
	return rc;
}

enum rc compare_options_parse(struct compare_options *o, int argc, char *const *argv, bool *help,
			      struct err *e)
{
	bool no_plots = false;
	const struct opt_spec specs[] = {
		{OPT_STRING, "out", 0, &o->out_dir, "DIR",
		 "where figures, compare.json and report.html go (default: compare)", 0, 0, NULL},
		{OPT_FLAG, "no-plots", 0, &no_plots, NULL, "draw no figures", 0, 0, NULL},
		{0},
	};
	enum rc rc;

	memset(o, 0, sizeof(*o));
	o->out_dir = "compare";
	*help = help_wanted(argc, argv);
	if (*help) {
		print_help(
			"usage: loadgen compare DIR|DIR:TARGET|TABLE.csv ... [options]\n\n"
			"Lays runs on each other: curves in one figure, ratios to the first "
			"target at equal\nload with 95 % intervals, and who meets the SLO at the "
			"highest load. Works on killed\nruns too. TABLE.csv: means that "
			"somebody published, of a closed loop each row: concurrency,\nttft_ms, "
			"itl_ms, output_tokens, output_tokens_per_s.",
			specs,
			"Example:\n  loadgen compare results/monday results/tuesday:'vLLM "
			"(fake)' --out both\n");
		return RC_OK;
	}
	rc = opt_parse(specs, argc, argv, &o->operands, e);
	if (!rc && !o->operands.n)
		rc = err_set(e, RC_INPUT, "DIR is missing (see --help)");
	o->plots = !no_plots;
	return rc;
}

void compare_options_release(struct compare_options *o)
{
	opt_list_release(&o->operands);
}

enum rc self_test_options_parse(enum progress_mode *mode, int argc, char *const *argv, bool *help,
				struct err *e)
{
	const char *progress = "auto";
	const struct opt_spec specs[] = {
		{OPT_STRING, "progress", 0, &progress, "MODE", "auto, plain or none", 0, 0, NULL},
		{0},
	};
	enum rc rc;

	*help = help_wanted(argc, argv);
	if (*help) {
		print_help("usage: loadgen self-test [options]\n\n"
			   "Measures its own fakeengine over loopback at rising loads, sets that "
			   "beside what the\nengine did, and says up to which load it is to be "
			   "believed on this machine. Takes\nabout a minute; other work on the "
			   "machine shows.",
			   specs, "Example:\n  loadgen self-test\n");
		return RC_OK;
	}
	rc = opt_parse(specs, argc, argv, NULL, e);
	return rc ? rc : parse_progress(progress, mode, e);
}

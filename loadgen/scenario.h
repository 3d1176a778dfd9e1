/*
 * The whole experiment as plain data: every value checked, every unit resolved, every path made
 * absolute. scenario*.c turn YAML (or the flags of a one-point run) into it and are the only place
 * that knows the keys; all else reads this. interface.md section 3 is the format. Owned by the
 * struct; scenario_free releases all.
 */
#ifndef LOADGEN_SCENARIO_H
#define LOADGEN_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dist.h"
#include "base/err.h"
#include "base/opt.h"
#include "base/yamlx.h"

enum load_kind { LOAD_CLOSED, LOAD_OPEN, LOAD_SERIAL };
const char *load_kind_name(enum load_kind k); /* "closed" ... as in requests.csv */

enum arrival_kind { ARRIVAL_CONSTANT, ARRIVAL_POISSON, ARRIVAL_GAMMA };

/* One load level: what every target is put through once a repeat. */
struct level {
	enum load_kind kind;
	int concurrency;   /* closed; serial has 1; open: cap on requests in flight, 0 = none */
	double rate_per_s; /* open; HUGE_VAL = all at once */
	double burstiness; /* gamma shape as vLLM has it; 1 = Poisson */
	enum arrival_kind arrival;
	/* true: a plain renewal process; false: gaps rescaled, so that the last of N comes at
	 * N/rate */
	bool renewal;
	int64_t requests;    /* 0 = by duration */
	int64_t duration_ns; /* 0 = by requests; with both, what comes first */
};

enum url_scheme { URL_HTTP, URL_HTTPS, URL_UNIX };

struct header {
	char *name, *value;
};

/* What goes into each request's body. Unset members are left out of it. */
struct request_opts {
	bool stream;	 /* default true */
	bool ignore_eos; /* default true: lengths are then the planned ones */
	bool has_temperature;
	double temperature;
	char *extra_json; /* `extra:`, a JSON object whose members go into the body; or NULL */
};

struct launch_spec {
	char *program;	    /* a path, a name beside loadgen's own binary, or a name in PATH */
	char **args;	    /* NULL-terminated */
	char *ready;	    /* path to poll with GET until 200; default "/health" */
	int64_t timeout_ns; /* to become ready; default 60 s */
};

struct target {
	char *name;
	/* Where. url is NULL when a launched engine's "listening on" line tells it; the parts are
	 * filled by target_set_url(). */
	char *url;
	enum url_scheme scheme;
	char *host; /* or the path of the unix socket */
	int port;
	char *prefix;	/* path prefix without a final slash and without a final /v1; may be "" */
	char *endpoint; /* overrides the dialect's path, or NULL */
	char *dialect;	/* "openai-chat" */
	char *model;	/* NULL: the first one that /v1/models lists */
	char *api_key;	/* resolved from api_key_env or api_key_file; never written anywhere */
	struct header *headers;
	int n_headers;
	struct launch_spec *launch;  /* or NULL; `profile:` becomes one of fakeengine --profile */
	struct request_opts request; /* the workload's, overridden by the target's own `request:` */
	const struct ynode *node;    /* its place in scenario.doc */

	/* For tables that set what was measured beside what was published. */
	char *row, *column;	       /* or NULL */
	double published_tokens_per_s; /* single stream, as in the source; 0 = none */

	double cost_per_hour;	    /* what it costs to keep, in whatever money; 0 = not said */
	const struct ynode *expect; /* `expect:`, or NULL (expect.h) */
};

enum prompt_format { PROMPTS_AUTO, PROMPTS_LIMA, PROMPTS_PLAIN };
enum prompt_pick { PICK_SHUFFLE, PICK_SEQUENTIAL };

struct workload_spec {
	char *file; /* one of file, text, synthetic */
	enum prompt_format format;
	enum prompt_pick pick;
	int64_t limit; /* use only the first so many records; 0 = all */
	char **text;   /* NULL-terminated, or NULL */
	bool synthetic;
	struct dist input_tokens;  /* synthetic only */
	bool output_reference;	   /* output_tokens: reference */
	int64_t output_cap;	   /* `output_tokens: {reference: {max: N}}`; 0 = none */
	struct dist output_tokens; /* otherwise; default 128, as vLLM's bench has it */
};

struct slo {
	int64_t ttft_ns, tpot_ns, e2el_ns; /* 0 = not asked */
	double share;			   /* of the requests sent, for a load to meet it; 0.9 */
};

struct limits {
	int64_t connect_ns;   /* 10 s */
	int64_t timeout_ns;   /* whole request, from send; 600 s */
	int64_t idle_ns;      /* no byte for so long; 60 s */
	int64_t grace_ns;     /* for what is in flight when a level's time is over; 30 s */
	int64_t max_failures; /* the run stops when passed; 0 = never */
};

struct output_spec {
	bool events;	   /* events.bin; default true */
	char **plots;	   /* names, NULL-terminated; default: throughput latency cdf timeline */
	int64_t scrape_ns; /* how often /metrics is read; 0 = not; default 500 ms */
};

struct scenario {
	char *path;		  /* of the file; "command line" for a one-point run */
	char *folder;		  /* of that file, absolute: relative paths start here */
	char *name, *description; /* description "" when there is none */
	uint64_t seed;
	struct target *targets;
	int n_targets;
	struct workload_spec workload;
	struct level *levels;
	int n_levels;
	bool interleave; /* all targets at once, level by level, with equal arrivals */
	bool find;	 /* levels are a grid of rising loads to be searched, not walked (find.h) */
	int64_t warmup_requests; /* one at a time per target; recorded as "warmup", in no figure */
	int repeats;
	struct slo slo;
	struct limits limits;
	struct output_spec output;
	const struct ynode *expect; /* of all targets, or NULL (expect.h) */
	/* The matrix of the targets' labels, each NULL-terminated and in order: as `matrix:` lists
	 * them, so that a cell without a target shows, else as the targets name them. NULL when no
	 * target has labels. */
	char **rows, **columns;
	struct ydoc *doc; /* the effective tree, `--set` applied */
};

/* sets: "path=value" assignments of --set; `load.KEY=...` stands for the one load kind's KEY. only:
 * names of --target, or empty for all: the others are checked, but for their environment, and left
 * out of targets and of scenario_emit(). Errors: RC_INPUT with file:line:col. Reads prompt files'
 * existence, not their content. */
enum rc scenario_load(struct scenario **out, const char *path, const struct opt_list *sets,
		      const struct opt_list *only, struct err *e);
enum rc scenario_parse(struct scenario **out, const char *name, const char *text, size_t len,
		       const struct opt_list *sets, const struct opt_list *only, struct err *e);
/* The scenario.yaml of a results folder: the environment it was run in and the files it names need
 * not be here any more. Targets then have no key, and a url that holds ${NAME} is kept as text,
 * without its parts. */
enum rc scenario_load_archived(struct scenario **out, const char *path, struct err *e);
void scenario_free(struct scenario *s);

/* Splits url ("http://h:1/p", "https://...", "unix:/path.sock") into the parts of t. Also used for
 * a launched engine. */
enum rc target_set_url(struct target *t, const char *url, struct err *e);

/* The effective scenario as YAML: paths absolute, header values that may be secret (by the header's
 * name, or because they came from the environment) replaced by "[redacted]". API keys are not in
 * the tree. False at the cap of out. */
bool scenario_emit(const struct scenario *s, struct buf *out);

#endif

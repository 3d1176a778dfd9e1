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

enum load_kind { LOAD_CLOSED, LOAD_OPEN, LOAD_SERIAL, LOAD_SESSIONS, LOAD_BATCH };
const char *load_kind_name(enum load_kind k); /* "closed" ... as in requests.csv */

enum arrival_kind {
	ARRIVAL_CONSTANT,
	ARRIVAL_POISSON,
	ARRIVAL_GAMMA,
	ARRIVAL_RAMP,  /* Poisson, of a rate that goes evenly from one to another */
	ARRIVAL_TRACE, /* as recorded */
};

/* Requests that are given up on purpose, as impatient users do. */
struct cancel_spec {
	double share;		  /* of all but warm-ups; 0 = none */
	struct dist after_tokens; /* so many have come when one is cancelled */
};

/* A level ends early, and higher ones are not tried, when a target has more to do than it can. */
struct stop_spec {
	int64_t ttft_ns; /* first tokens later than this, several in a row; 0 = not asked */
	int64_t waiting; /* more in the engine's own queue, by its metrics; 0 = not asked */
};

/* One load level: what every target is put through once a repeat. */
struct level {
	enum load_kind kind;
	/* closed; serial has 1; sessions: users; open: cap on requests in flight, 0 = none */
	int concurrency;
	double rate_per_s; /* open; HUGE_VAL = all at once; of a ramp its mean, of a trace NaN */
	double burstiness; /* gamma shape as vLLM has it; 1 = Poisson */
	enum arrival_kind arrival;
	double from_per_s, to_per_s; /* ramp */
	double speed;		     /* trace: twice as fast is 2 */
	int64_t span_ns;   /* trace: only the first so much, in the trace's own time; 0 = all */
	int64_t spread_ns; /* trace: stamps are whole multiples of so much; 0 = they are exact */
	/* true: a plain renewal process; false: gaps rescaled, so that the last of N comes at
	 * N/rate */
	bool renewal;
	int batch;	       /* batch: prompts a request, one request at a time; else 0 */
	int64_t conversations; /* sessions, instead of requests; 0 = by duration */
	int64_t turns;	       /* sessions: at most so many of a conversation; 0 = all it has */
	struct dist think_ns;  /* sessions: from the end of an answer to the user's next request */
	int64_t requests;      /* 0 = by duration */
	int64_t duration_ns;   /* 0 = by requests; with both, what comes first; a trace may have
				* neither and ends with its last row */
};

/* URL_PROFILE: no address but an engine that exists only as a profile, in process. */
enum url_scheme { URL_HTTP, URL_HTTPS, URL_UNIX, URL_PROFILE };

/* Whose time a run is in: the world's, or that of a simulation, which does not wait. */
enum run_clock { RUN_CLOCK_REAL, RUN_CLOCK_VIRTUAL };

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
	char *profile;	     /* or NULL: a built-in engine's name, or the path of a file */
	char **profile_sets; /* "key=value", NULL-terminated, or NULL */
	/* Or NULL. A profile becomes fakeengine --profile, but under the virtual clock it runs in
	 * process (URL_PROFILE). */
	struct launch_spec *launch;
	struct request_opts request; /* the workload's, overridden by the target's own `request:` */
	const struct ynode *node;    /* its place in scenario.doc */

	/* For tables that set what was measured beside what was published. */
	char *row, *column;	       /* or NULL */
	double published_tokens_per_s; /* single stream, as in the source; 0 = none */
	bool table; /* no engine, but a published table of means: without requests, without a client
		     */

	/* Connections to a loopback address leave from 127.0.0.(1 + this) on: a worker has ports of
	 * its own. */
	int first_source;

	double cost_per_hour;	    /* what it costs to keep, in whatever money; 0 = not said */
	const struct ynode *expect; /* `expect:`, or NULL (expect.h) */
};

enum prompt_format {
	PROMPTS_AUTO, /* by what the file holds; prompts.h says how each looks */
	PROMPTS_LIMA,
	PROMPTS_SHAREGPT,
	PROMPTS_MT_BENCH,
	PROMPTS_OPENAI_BATCH,
	PROMPTS_CUSTOM,
	PROMPTS_CSV,
	PROMPTS_PLAIN,
};
enum prompt_pick { PICK_SHUFFLE, PICK_SEQUENTIAL };

struct workload_spec {
	char *file; /* one of file, text, synthetic, from_trace */
	enum prompt_format format;
	enum prompt_pick pick;
	int64_t limit; /* use only the first so many records; 0 = all */
	char **text;   /* NULL-terminated, or NULL */
	bool synthetic;
	struct dist input_tokens;  /* synthetic only: of the words behind the shared prefix */
	int64_t prefix_tokens;	   /* synthetic only: what each prompt begins with; 0 = nothing */
	int64_t prefix_groups;	   /* so many different ones, drawn alike often */
	bool from_trace;	   /* `prompts: trace`: as long as load.open.trace has them */
	bool output_trace;	   /* and no output_tokens: answers too */
	bool output_reference;	   /* output_tokens: reference */
	int64_t output_cap;	   /* `output_tokens: {reference: {max: N}}`; 0 = none */
	struct dist output_tokens; /* otherwise; default 128, as vLLM's bench has it */
	/* NULL-terminated: each request's model is one of them, drawn alike often; NULL: the
	 * target's own. As vLLM's bench has it. */
	char **lora_modules;
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
	bool rows;	   /* requests.csv, and all that is drawn from it; default true */
	bool events;	   /* events.bin; default true, false without rows */
	char **plots;	   /* names, NULL-terminated; default: throughput latency cdf timeline */
	int64_t scrape_ns; /* how often /metrics is read; 0 = not; default 500 ms */
};

/* `sweep:`: every target once for each value, or with several axes for each place of the grid.
 * `find:`: the same places, of which a search tries some. */
struct sweep_axis {
	char *key;     /* of the profile: "scheduler.max_num_seqs" */
	char **values; /* n of them, as written, or those of a range */
	int n;
	bool rising; /* they are numbers, each above the one before it */
};
#define SEARCH_KEYS 3 /* at most, of a search */

struct scenario {
	char *path;		  /* of the file; "command line" for a one-point run */
	char *folder;		  /* of that file, absolute: relative paths start here */
	char *name, *description; /* description "" when there is none */
	uint64_t seed;
	enum run_clock clock;
	struct target *targets; /* the sweep's places of a target one after the other */
	int n_targets;
	struct sweep_axis *sweep;
	int n_sweep;
	bool search; /* the places are searched for the best, not all tried (search.h) */
	struct workload_spec workload;
	struct level *levels;
	int n_levels;
	char *trace_file; /* load.open.trace, absolute; or NULL */
	struct cancel_spec cancel;
	struct stop_spec stop_when;
	bool interleave; /* all targets at once, level by level, with equal arrivals */
	bool find;	 /* levels are a grid of rising loads to be searched, not walked (find.h) */
	int workers;	 /* processes that share each level's load; 1 = the run's own */
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

/* A sweep: an axis' key without its section, "max_num_seqs"; the index of its value at a target;
 * and how many targets each target of the file has become (1 without a sweep). */
const char *sweep_label(const struct sweep_axis *a);
int sweep_value(const struct scenario *s, int target, int axis);
int sweep_places(const struct scenario *s);

/* The effective scenario as YAML: paths absolute, header values that may be secret (by the header's
 * name, or because they came from the environment) replaced by "[redacted]". API keys are not in
 * the tree. False at the cap of out. */
bool scenario_emit(const struct scenario *s, struct buf *out);

#endif

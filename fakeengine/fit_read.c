/*
 * Owns what other tools call things: a row of mappings[] a tool. Runs at start. Must not know how a
 * cell is found (fit_table.c) nor what is fitted to the rows.
 */
#include "fit_read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/die.h"
#include "base/units.h"
#include "fit_events.h"

#define MAX_SPAN_NS  1e17 /* three years: what is longer is no run */
#define MAX_RUNS     4096
#define MAX_REQUESTS 100000 /* behind a row of means */

enum quantity {
	ARRIVAL,
	QUEUED,
	PROMPT,
	OUTPUT,
	FIRST,
	LAST,
	TTFT,
	LATENCY,
	TPOT,
	ITLS,
	SUCCESS,
	FAILURE,
	OUTCOME,
	STREAMED,
	PHASE,
	RUN,
	TARGET,
	ID,
	CONCURRENCY,
	REQUESTS,
	N_QUANTITIES,
};

static const struct {
	const char *name;
	bool is_time;
	const char *help; /* NULL: not for --columns */
} quantities[N_QUANTITIES] = {
	[ARRIVAL] = {"arrival", true, "when it was sent"},
	[QUEUED] = {"queued", true,
		    "when the server's clock saw it: the least of queued - arrival is what the "
		    "clocks differ by"},
	[PROMPT] = {"prompt_tokens", false, "a count"},
	[OUTPUT] = {"output_tokens", false, "a count"},
	[FIRST] = {"first_token", true, "when its first token came, or"},
	[TTFT] = {"ttft", true, "after how long"},
	[LAST] = {"last_token", true, "when its last token came, or"},
	[LATENCY] = {"latency", true, "after how long, or"},
	[TPOT] = {"tpot", true, "the mean gap between tokens, or"},
	[ITLS] = {"itls", true, "a list of all gaps"},
	[SUCCESS] = {"success", false, "true or 1: it was answered"},
	[FAILURE] = {"error", false, "a text that is not empty, an object, or true: it was not"},
	[OUTCOME] = {"outcome", false, NULL},
	[STREAMED] = {"streamed", false, NULL},
	[PHASE] = {"phase", false, "\"warmup\": not counted"},
	[RUN] = {"run", false, "rows with another value are another run, the server idle between"},
	[TARGET] = {"target", false, NULL},
	[ID] = {"request_id", false, NULL},
	[CONCURRENCY] = {"concurrency", false,
			 "clients of the closed loop; only used if nobody knows arrivals"},
	[REQUESTS] = {"requests", false, "the row is a mean of so many, of such a loop"},
};

struct column {
	const char *name; /* NULL: nothing */
	double unit_ns;
};

struct mapping {
	const char *tool;
	struct column of[N_QUANTITIES];
};

#define S   1e9
#define MS  1e6
#define NS  1.0
#define ONE 1.0

static const struct mapping mappings[] = {
	{"loadgen (requests.csv)",
	 {[ARRIVAL] = {"send_ns", NS},
	  [PROMPT] = {"prompt_tokens", ONE},
	  [OUTPUT] = {"output_tokens", ONE},
	  [FIRST] = {"token1_ns", NS},
	  [LAST] = {"token_last_ns", NS},
	  [OUTCOME] = {"outcome", ONE},
	  [STREAMED] = {"streamed", ONE},
	  [PHASE] = {"load_kind", ONE},
	  [RUN] = {"point", ONE},
	  [TARGET] = {"target", ONE},
	  [ID] = {"request_id", ONE}}},
	{"recordings with send_ns, first_token_ns, last_token_ns",
	 {[ARRIVAL] = {"send_ns", NS},
	  [PROMPT] = {"prompt_tokens", ONE},
	  [OUTPUT] = {"output_tokens", ONE},
	  [FIRST] = {"first_token_ns", NS},
	  [LAST] = {"last_token_ns", NS},
	  [RUN] = {"run", ONE}}},
	{"vLLM bench serve --save-detailed",
	 {[ARRIVAL] = {"start_times", S},
	  [PROMPT] = {"input_lens", ONE},
	  [OUTPUT] = {"output_lens", ONE},
	  [TTFT] = {"ttfts", S},
	  [ITLS] = {"itls", S},
	  [FAILURE] = {"errors", ONE}}},
	{"SGLang bench_serving --output-details",
	 {[PROMPT] = {"input_lens", ONE},
	  [OUTPUT] = {"output_lens", ONE},
	  [TTFT] = {"ttfts", S},
	  [ITLS] = {"itls", S},
	  [FAILURE] = {"errors", ONE},
	  [CONCURRENCY] = {"max_concurrency", ONE}}},
	{"GuideLLM (benchmarks.json)",
	 {[ARRIVAL] = {"info.timings.request_start", S},
	  [PROMPT] = {"prompt_tokens", ONE},
	  [OUTPUT] = {"output_tokens", ONE},
	  [FIRST] = {"info.timings.first_token_iteration", S},
	  [LAST] = {"info.timings.last_token_iteration", S},
	  [FAILURE] = {"info.error", ONE}}},
	{"GuideLLM (before its timings had a place of their own)",
	 {[ARRIVAL] = {"start_time", S},
	  [PROMPT] = {"prompt_tokens", ONE},
	  [OUTPUT] = {"output_tokens", ONE},
	  [FIRST] = {"first_token_time", S},
	  [LAST] = {"last_token_time", S},
	  [FAILURE] = {"error", ONE}}},
	{"AIPerf (profile_export.jsonl)",
	 {[ARRIVAL] = {"metadata.request_start_ns", NS},
	  [PROMPT] = {"metrics.input_sequence_length.value", ONE},
	  [OUTPUT] = {"metrics.output_sequence_length.value", ONE},
	  [TTFT] = {"metrics.time_to_first_token.value", MS},
	  [LATENCY] = {"metrics.request_latency.value", MS},
	  [FAILURE] = {"error", ONE},
	  [PHASE] = {"metadata.benchmark_phase", ONE}}},
	{"LLMServingSim (requests.jsonl)",
	 {[ARRIVAL] = {"arrival_time", S},
	  [QUEUED] = {"queued_ts", S},
	  [PROMPT] = {"input_toks", ONE},
	  [OUTPUT] = {"output_toks", ONE},
	  [FIRST] = {"first_token_ts", S},
	  [LAST] = {"last_token_ts", S}}},
	{"LLMServingSim (its simulator's CSV)",
	 {[ARRIVAL] = {"arrival", NS},
	  [PROMPT] = {"input", ONE},
	  [OUTPUT] = {"output", ONE},
	  [TTFT] = {"TTFT", NS},
	  [LATENCY] = {"latency", NS}}},
	{"inference-bench (it says neither prompt_tokens nor concurrency)",
	 {[PROMPT] = {"prompt_tokens", ONE},
	  [OUTPUT] = {"output_tokens", ONE},
	  [TTFT] = {"ttft", S},
	  [LATENCY] = {"wall_time", S},
	  [SUCCESS] = {"success", ONE}}},
	{"the quantities under their own names, times in seconds",
	 {[ARRIVAL] = {"arrival", S},
	  [PROMPT] = {"prompt_tokens", ONE},
	  [OUTPUT] = {"output_tokens", ONE},
	  [FIRST] = {"first_token", S},
	  [LAST] = {"last_token", S},
	  [TTFT] = {"ttft", S},
	  [LATENCY] = {"latency", S},
	  [SUCCESS] = {"success", ONE},
	  [FAILURE] = {"error", ONE},
	  [RUN] = {"run", ONE}}},
	{"a published table, a row of means a level (it does not say of how many requests)",
	 {[RUN] = {"concurrency", ONE},
	  [CONCURRENCY] = {"concurrency", ONE},
	  [PROMPT] = {"prompt_tokens", ONE},
	  [OUTPUT] = {"output_tokens", ONE},
	  [TTFT] = {"ttft_ms", MS},
	  [TPOT] = {"itl_ms", MS},
	  [REQUESTS] = {"requests", ONE}}},
};

/* ---- --columns ---- */

/* What means what in one file. */
struct meaning {
	struct column of[N_QUANTITIES];
	char *owned[N_QUANTITIES];
};

static void meaning_release(struct meaning *m)
{
	for (int i = 0; i < N_QUANTITIES; i++)
		free(m->owned[i]);
}

static enum rc set_unit(struct column *c, char *unit, struct err *e)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = {{"s", S}, {"ms", MS}, {"us", 1e3}, {"ns", NS}};

	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(unit, units[i].name) == 0) {
			c->unit_ns = units[i].ns;
			return RC_OK;
		}
	}
	return err_set(e, RC_INPUT, "--columns: unit \"%s\", want s, ms, us or ns", unit);
}

/* "ttft=time_to_first:ms" */
static enum rc add_column(struct meaning *m, const char *text, size_t len, struct err *e)
{
	char *item = xstrndup(text, len), *equals = strchr(item, '='), *colon;
	enum rc rc = RC_OK;
	int q = 0;

	while (equals && q < N_QUANTITIES &&
	       (!quantities[q].help || strlen(quantities[q].name) != (size_t)(equals - item) ||
		strncmp(quantities[q].name, item, (size_t)(equals - item)) != 0))
		q++;
	if (!equals || q == N_QUANTITIES || equals[1] == '\0') {
		rc = err_set(e, RC_INPUT,
			     "--columns: \"%s\", want QUANTITY=COLUMN or QUANTITY=COLUMN:UNIT; the "
			     "quantities stand in `fakeengine fit --help`",
			     item);
		goto out;
	}
	free(m->owned[q]);
	m->owned[q] = xstrdup(equals + 1);
	m->of[q] = (struct column){m->owned[q], quantities[q].is_time ? S : ONE};
	colon = quantities[q].is_time ? strrchr(m->owned[q], ':') : NULL;
	if (colon) {
		*colon = '\0';
		rc = set_unit(&m->of[q], colon + 1, e);
	}
out:
	free(item);
	return rc;
}

static enum rc add_columns(struct meaning *m, const struct opt_list *lists, struct err *e)
{
	enum rc rc = RC_OK;

	for (size_t i = 0; rc == RC_OK && lists && i < lists->n; i++) {
		const char *at = lists->item[i];

		while (rc == RC_OK && *at) {
			size_t n = strcspn(at, ",");

			rc = add_column(m, at, n, e);
			at += n + (at[n] == ',');
		}
	}
	return rc;
}

/* ---- which tool wrote it ---- */

static bool is_there(const struct fit_table *t, const struct column *c)
{
	double ignored;

	return c->name && (fit_table_has(t, c->name) ||
			   parse_double(c->name, 0, HUGE_VAL, &ignored, NULL) == RC_OK);
}

/* What a meaning lacks, as a list for people; NULL if nothing. */
static const char *lack(const struct fit_table *t, const struct column *of)
{
	if (!is_there(t, &of[PROMPT]))
		return "prompt_tokens";
	if (!is_there(t, &of[OUTPUT]))
		return "output_tokens";
	if (!is_there(t, &of[FIRST]) && !is_there(t, &of[TTFT]))
		return "first_token or ttft";
	if (!is_there(t, &of[LAST]) && !is_there(t, &of[LATENCY]) && !is_there(t, &of[TPOT]) &&
	    !is_there(t, &of[ITLS]))
		return "last_token, latency, tpot or itls";
	return NULL;
}

/* How many of a tool's names are there. */
static int found(const struct fit_table *t, const struct mapping *m)
{
	int n = 0;

	for (int i = 0; i < N_QUANTITIES; i++)
		n += m->of[i].name && fit_table_has(t, m->of[i].name);
	return n;
}

/* The tool most of whose names are there lends the meaning, --columns goes over it. */
static enum rc find_meaning(struct meaning *m, const struct fit_table *t, const char *where,
			    const struct opt_list *columns, struct err *e)
{
	const struct mapping *best = NULL;
	const char *missing;
	struct meaning own = {0};
	struct buf names;
	int most = 0;
	enum rc rc;

	for (size_t i = 0; i < ARRAY_LEN(mappings); i++) {
		int n = found(t, &mappings[i]);

		if (n > most) {
			most = n;
			best = &mappings[i];
		}
	}
	if (best)
		memcpy(own.of, best->of, sizeof(own.of));
	rc = add_columns(&own, columns, e);
	missing = rc ? NULL : lack(t, own.of);
	if (missing) {
		buf_init(&names, 900);
		fit_table_names(t, &names);
		rc = err_set(e, RC_INPUT,
			     "%s: nothing in it says %s%s%s. It has: %s. Say which is which: "
			     "--columns %s=COLUMN (`fakeengine fit --help` has the list)",
			     where, missing, best ? "; most like " : "", best ? best->tool : "",
			     buf_cstr(&names), missing);
		buf_release(&names);
	}
	if (rc) {
		meaning_release(&own);
		return rc;
	}
	for (int i = 0; i < N_QUANTITIES; i++)
		if (!is_there(t, &own.of[i]))
			own.of[i].name = NULL;
	*m = own;
	return RC_OK;
}

/* ---- cells ---- */

/* A number in the quantity's unit; a bare number as a column's name is that number. */
static enum fit_cell number(const struct fit_table *t, size_t row, const struct column *c,
			    double *out)
{
	enum fit_cell cell;

	if (!c->name)
		return CELL_NONE;
	cell = fit_table_num(t, row, c->name, out);
	if (cell == CELL_NONE && !fit_table_has(t, c->name) &&
	    parse_double(c->name, 0, HUGE_VAL, out, NULL) == RC_OK)
		cell = CELL_OK;
	*out *= c->unit_ns;
	return cell;
}

static bool is_failure(const struct fit_table *t, size_t row, const struct meaning *m)
{
	const char *text;
	double v;

	if (m->of[OUTCOME].name && fit_table_text(t, row, m->of[OUTCOME].name, &text) == CELL_OK &&
	    strcmp(text, "ok") != 0)
		return true;
	if (number(t, row, &m->of[SUCCESS], &v) == CELL_OK && v == 0)
		return true;
	if (!m->of[FAILURE].name)
		return false;
	switch (fit_table_text(t, row, m->of[FAILURE].name, &text)) {
	case CELL_OK:
		return *text != '\0';
	case CELL_NONE:
		return false;
	case CELL_BAD: /* an object, or true */
		break;
	}
	return fit_table_num(t, row, m->of[FAILURE].name, &v) != CELL_OK || v != 0;
}

static bool is_text(const struct fit_table *t, size_t row, const struct column *c, const char *want)
{
	const char *text;

	return c->name && fit_table_text(t, row, c->name, &text) == CELL_OK &&
	       strcmp(text, want) == 0;
}

/* ---- rows ---- */

/* A row with its times in the file's own clocks. */
struct raw {
	int run;
	bool left_out;
	enum fit_reason why;
	double arrival_ns, queued_ns, first_ns, last_ns;
	double prompt, output;
	double requests; /* 1, or what it is the mean of */
	bool has_arrival, has_queued;
	double id;
};

/* When the last token came, given when the first did. */
static bool read_last(const struct fit_table *t, size_t row, const struct meaning *m, struct raw *w,
		      double ttft_ns)
{
	double v;
	size_t n;

	if (number(t, row, &m->of[LAST], &v) == CELL_OK) {
		w->last_ns = v;
	} else if (number(t, row, &m->of[LATENCY], &v) == CELL_OK) {
		w->last_ns = w->first_ns - ttft_ns + v;
	} else if (m->of[ITLS].name && fit_table_sum(t, row, m->of[ITLS].name, &v, &n) == CELL_OK) {
		w->last_ns = w->first_ns + v * m->of[ITLS].unit_ns;
	} else if (number(t, row, &m->of[TPOT], &v) == CELL_OK) {
		w->last_ns = w->first_ns + v * (w->output - 1);
	} else {
		return false;
	}
	return true;
}

/* First and last: absolute, or (`after`) from the arrival on. */
static bool read_times(const struct fit_table *t, size_t row, const struct meaning *m,
		       struct raw *w)
{
	double ttft_ns = 0;

	w->has_arrival = number(t, row, &m->of[ARRIVAL], &w->arrival_ns) == CELL_OK;
	w->has_queued = number(t, row, &m->of[QUEUED], &w->queued_ns) == CELL_OK;
	if (m->of[ARRIVAL].name && !w->has_arrival)
		return false;
	if (number(t, row, &m->of[FIRST], &w->first_ns) == CELL_OK) {
		if (!w->has_arrival)
			return false;
		ttft_ns = w->first_ns - w->arrival_ns;
	} else if (number(t, row, &m->of[TTFT], &ttft_ns) == CELL_OK) {
		w->first_ns = (w->has_arrival ? w->arrival_ns : 0) + ttft_ns;
		w->has_queued = false; /* one clock measured it all */
	} else {
		return false;
	}
	return read_last(t, row, m, w, ttft_ns);
}

static struct raw read_row(const struct fit_table *t, size_t row, const struct meaning *m)
{
	struct raw w = {.left_out = true, .why = LEFT_FAILED};
	double v;

	if (is_failure(t, row, m))
		return w;
	w.why = LEFT_MISSING;
	if (number(t, row, &m->of[STREAMED], &v) == CELL_OK && v == 0)
		return w;
	if (number(t, row, &m->of[PROMPT], &w.prompt) != CELL_OK ||
	    number(t, row, &m->of[OUTPUT], &w.output) != CELL_OK || w.prompt > INT32_MAX ||
	    w.output > INT32_MAX || w.prompt < 0 || w.output < 0 || !read_times(t, row, m, &w))
		return w;
	if (number(t, row, &m->of[ID], &w.id) != CELL_OK)
		w.id = -1;
	if (number(t, row, &m->of[REQUESTS], &w.requests) != CELL_OK)
		w.requests = 1;
	if (w.requests < 1 || w.requests > MAX_REQUESTS)
		return w;
	w.left_out = false;
	return w;
}

/* ---- runs ---- */

struct run_label {
	int part;
	char *label;
};

struct raw_table {
	struct raw *raw; /* one a row of the file */
	struct run_label *run;
	int n_runs;
	double difference_ns; /* the server's clock less the client's */
};

static char *label_of(const struct fit_table *t, size_t row, const struct column *c)
{
	const char *text;
	double v;

	if (!c->name)
		return xstrdup("");
	if (fit_table_text(t, row, c->name, &text) == CELL_OK)
		return xstrdup(text);
	return fit_table_num(t, row, c->name, &v) == CELL_OK ? xasprintf("%g", v) : xstrdup("");
}

/* RC_LIMIT: more runs than anybody makes; the column means something else. */
static enum rc find_run(struct raw_table *r, const struct fit_table *t, size_t row,
			const struct meaning *m, int *out, struct err *e)
{
	int part = fit_table_part(t, row), i = r->n_runs;
	char *label = label_of(t, row, &m->of[RUN]);

	while (i > 0 && (r->run[i - 1].part != part || strcmp(r->run[i - 1].label, label) != 0))
		i--;
	*out = i - 1;
	if (i > 0) {
		free(label);
		return RC_OK;
	}
	if (r->n_runs == MAX_RUNS) {
		free(label);
		return err_set(e, RC_LIMIT, "column \"%s\" makes more than %d runs",
			       m->of[RUN].name ? m->of[RUN].name : "", MAX_RUNS);
	}
	r->run = xreallocarray(r->run, (size_t)r->n_runs + 1, sizeof(*r->run));
	r->run[r->n_runs] = (struct run_label){part, label};
	*out = r->n_runs++;
	return RC_OK;
}

static bool in_list(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = list; *at;) {
		size_t len = strcspn(at, ",");

		if (len == n && strncmp(at, word, n) == 0)
			return true;
		at += len + (at[len] == ',');
	}
	return false;
}

/* Of a results folder: another target, another point, a warm-up. */
static bool is_passed_over(const struct fit_table *t, size_t row, const struct meaning *m,
			   const struct fit_source *s)
{
	char *label;
	bool over;

	if (is_text(t, row, &m->of[PHASE], "warmup"))
		return true;
	if (m->of[TARGET].name && s->target && !is_text(t, row, &m->of[TARGET], s->target))
		return true;
	if (!s->points)
		return false;
	label = label_of(t, row, &m->of[RUN]);
	over = !in_list(s->points, label);
	free(label);
	return over;
}

static void find_difference(struct raw_table *r, size_t n)
{
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		const struct raw *w = &r->raw[i];
		double d = w->queued_ns - w->arrival_ns;

		if (w->run < 0 || w->left_out || !w->has_queued || (any && d >= r->difference_ns))
			continue;
		r->difference_ns = d;
		any = true;
	}
}

/* One target's rows are one engine's. */
static enum rc check_target(const struct fit_table *t, const struct meaning *m,
			    const struct fit_source *s, const char *where, struct err *e)
{
	const char *first, *other;
	bool there = false;

	if (!m->of[TARGET].name || fit_table_text(t, 0, m->of[TARGET].name, &first) != CELL_OK)
		return RC_OK;
	for (size_t i = 0; i < fit_table_rows(t); i++) {
		if (fit_table_text(t, i, m->of[TARGET].name, &other) != CELL_OK)
			continue;
		if (!s->target && strcmp(first, other) != 0)
			return err_set(e, RC_INPUT,
				       "%s: holds several targets (\"%s\", \"%s\", ...); say which "
				       "one to fit: --target NAME",
				       where, first, other);
		there |= s->target && strcmp(s->target, other) == 0;
	}
	if (s->target && !there)
		return err_set(e, RC_INPUT, "%s: has no target \"%s\" (it has \"%s\")", where,
			       s->target, first);
	return RC_OK;
}

/* ---- into the rows ---- */

static int64_t since(double t_ns, double zero_ns, bool *sound)
{
	double d = t_ns - zero_ns;

	if (!(fabs(d) < MAX_SPAN_NS))
		*sound = false;
	return *sound ? (int64_t)llround(d) : 0;
}

static void add_row(struct fit_rows *out, const struct raw *w, double zero_ns, double difference_ns,
		    struct fit_events *events, const char *where)
{
	double shift = w->has_queued ? difference_ns : 0;
	struct fit_row row = {.scored = true};
	bool sound = true;

	row.arrival_ns = w->has_arrival ? since(w->arrival_ns, zero_ns, &sound) : 0;
	row.first_ns = since(w->first_ns, w->has_arrival ? zero_ns + shift : 0, &sound);
	row.last_ns = since(w->last_ns, w->has_arrival ? zero_ns + shift : 0, &sound);
	row.prompt_tokens = (int32_t)w->prompt;
	row.output_tokens = (int32_t)w->output;
	if (!sound) {
		fit_rows_leave_out(out, LEFT_SKEW, where);
		return;
	}
	if (events && w->id >= 0)
		row.event = fit_events_take(events, (int64_t)w->id, &row.n_events);
	for (int32_t i = 0; i < row.n_events; i++)
		row.event[i].t_ns -= (int64_t)zero_ns;
	fit_rows_add(out, row, where);
}

/* A row of means as the requests behind it, all alike. Before and behind them are as many as there
 * are clients, which are not counted: in a mean there is no loop that begins, and none that ends.
 */
static void add_mean(struct fit_rows *out, const struct raw *w, int32_t concurrency,
		     const char *where)
{
	size_t from = out->n + (size_t)concurrency, to = from + (size_t)w->requests;
	size_t before = out->n;

	for (size_t i = before; i < to + (size_t)concurrency; i++)
		add_row(out, w, 0, 0, NULL, where);
	for (size_t i = before; i < out->n; i++)
		out->row[i].scored = i >= from && i < to;
}

/* concurrency: 0 = arrivals are recorded. */
static void add_run(struct fit_rows *out, const struct raw_table *r, size_t n, int run,
		    int32_t concurrency, struct fit_events *events, const char *where)
{
	const struct run_label *l = &r->run[run];
	char *name = *l->label ? xasprintf("%s %s", where, l->label) : xstrdup(where);
	double zero_ns = HUGE_VAL;

	fit_rows_begin(out, name, concurrency);
	for (size_t i = 0; i < n; i++)
		if (r->raw[i].run == run && !r->raw[i].left_out && r->raw[i].has_arrival)
			zero_ns = fmin(zero_ns, r->raw[i].arrival_ns);
	for (size_t i = 0; i < n; i++) {
		char *place;

		if (r->raw[i].run != run)
			continue;
		place = xasprintf("%s row %zu", where, i + 1);
		if (r->raw[i].left_out)
			fit_rows_leave_out(out, r->raw[i].why, place);
		else if (r->raw[i].requests > 1)
			add_mean(out, &r->raw[i], concurrency, place);
		else
			add_row(out, &r->raw[i], zero_ns, r->difference_ns, events, place);
		free(place);
	}
	free(name);
}

static enum rc add_table(struct fit_rows *out, const struct fit_table *t, const char *where,
			 const struct meaning *m, const struct fit_source *s,
			 struct fit_events *events, struct err *e)
{
	struct raw_table r = {0};
	size_t n = fit_table_rows(t);
	double v;
	enum rc rc = RC_OK;

	r.raw = xcalloc(n, sizeof(*r.raw));
	for (size_t i = 0; rc == RC_OK && i < n; i++) {
		if (is_passed_over(t, i, m, s)) {
			r.raw[i].run = -1;
			continue;
		}
		r.raw[i] = read_row(t, i, m);
		rc = find_run(&r, t, i, m, &r.raw[i].run, e);
	}
	find_difference(&r, n);
	for (int k = 0; rc == RC_OK && k < r.n_runs; k++) {
		int32_t concurrency = 0;
		size_t first = 0;

		while (r.raw[first].run != k)
			first++;
		if (!m->of[ARRIVAL].name) {
			concurrency = s->concurrency;
			if (concurrency == 0 &&
			    number(t, first, &m->of[CONCURRENCY], &v) == CELL_OK && v >= 1 &&
			    v <= INT32_MAX)
				concurrency = (int32_t)v;
			if (concurrency == 0)
				rc = err_set(
					e, RC_INPUT,
					"%s: nothing in it says when requests were sent; if it "
					"was a closed loop, say of how many: --concurrency N; "
					"else --columns arrival=COLUMN",
					where);
		}
		if (rc == RC_OK)
			add_run(out, &r, n, k, concurrency, events, where);
	}
	for (int k = 0; k < r.n_runs; k++)
		free(r.run[k].label);
	free(r.run);
	free(r.raw);
	return rc;
}

static enum rc read_table(struct fit_rows *out, const struct fit_table *t, const char *where,
			  const struct fit_source *s, struct fit_events *events, struct err *e)
{
	struct meaning m;
	enum rc rc = find_meaning(&m, t, where, s->columns, e);

	if (rc)
		return rc;
	rc = check_target(t, &m, s, where, e);
	if (rc == RC_OK && s->target && !m.of[TARGET].name)
		rc = err_set(e, RC_INPUT, "--target: %s does not tell targets apart", where);
	if (rc == RC_OK && s->points && !m.of[RUN].name)
		rc = err_set(e, RC_INPUT, "--point: %s does not tell points apart", where);
	if (rc == RC_OK && s->concurrency && m.of[ARRIVAL].name)
		rc = err_set(e, RC_INPUT, "--concurrency: %s says when requests were sent (%s)",
			     where, m.of[ARRIVAL].name);
	if (rc == RC_OK && m.of[REQUESTS].name && m.of[ARRIVAL].name)
		rc = err_set(e, RC_INPUT,
			     "--columns requests: %s says when each was sent (%s): its rows are no "
			     "means",
			     where, m.of[ARRIVAL].name);
	if (rc == RC_OK)
		rc = add_table(out, t, where, &m, s, events, e);
	meaning_release(&m);
	return rc;
}

enum rc fit_read_table(struct fit_rows *out, const struct fit_table *t, const char *where,
		       const struct fit_source *s, struct err *e)
{
	return read_table(out, t, where, s, NULL, e);
}

enum rc fit_read(struct fit_rows *out, const char *path, const struct fit_source *s, struct err *e)
{
	char *file = NULL, *events_path = NULL;
	struct fit_events *events = NULL;
	struct fit_table *t = NULL;
	struct stat st;
	enum rc rc = RC_OK;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		file = xasprintf("%s/requests.csv", path);
		events_path = xasprintf("%s/events.bin", path);
		rc = fit_events_read(&events, events_path, e);
	}
	if (rc == RC_OK)
		rc = fit_table_read(&t, file ? file : path, e);
	if (rc == RC_OK)
		rc = read_table(out, t, path, s, events, e);
	fit_table_free(t);
	fit_events_free(events);
	free(events_path);
	free(file);
	return rc;
}

void fit_read_help(struct buf *b)
{
	buf_puts(b, "\nFiles whose names for things are known:\n");
	for (size_t i = 0; i < ARRAY_LEN(mappings); i++)
		buf_printf(b, "  %s\n", mappings[i].tool);
	buf_puts(b, "\nQuantities of --columns; a time takes a unit behind a colon: s (if there is "
		    "none), ms, us, ns;\na bare number instead of a column is that for all rows\n");
	for (int i = 0; i < N_QUANTITIES; i++)
		if (quantities[i].help)
			buf_printf(b, "  %-15s %s\n", quantities[i].name, quantities[i].help);
}

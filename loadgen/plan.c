/*
 * Owns the printed forms of a timetable. Main thread; reads prompts, opens no socket.
 */
#include "plan.h"

#include <math.h>
#include <stdlib.h>

#include "arrival.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/csv.h"
#include "base/jsonx.h"
#include "base/units.h"
#include "curve.h"
#include "dialect.h"
#include "find.h"
#include "phases.h"
#include "request.h"
#include "workload.h"

#define PROMPT_COLUMNS 56
#define MAX_LINE_BYTES (1u << 30)

/* One phase's requests, in order; n 0: as many as fit in its time. */
struct timetable {
	struct level level;
	int64_t *arrival_ns; /* open loads only */
	int64_t n;
	/* Sessions: where the walk is. */
	int64_t session;
	int turn, turns;
};

static struct timetable timetable_of(const struct scenario *s, const struct phase *p,
				     struct workload *w)
{
	struct timetable t = {.level = phase_level(s, p), .session = -1};

	if (t.level.kind == LOAD_OPEN)
		t.arrival_ns = arrival_times(&t.level, workload_trace(w), s->seed, p->level,
					     p->repeat, &t.n);
	else if (t.level.duration_ns == 0)
		t.n = t.level.requests;
	for (int64_t i = 0; i < t.level.conversations && t.level.duration_ns == 0; i++)
		t.n += workload_turns(w, p->level, p->repeat, i, t.level.turns);
	return t;
}

/* Request k, after k - 1. */
static void timetable_next(struct timetable *t, const struct phase *p, struct workload *w,
			   int64_t k, struct planned_request *out)
{
	if (t->level.batch) {
		workload_plan_batch(w, p->level, p->repeat, k, t->level.batch, out);
		return;
	}
	if (t->level.kind != LOAD_SESSIONS) {
		workload_plan(w, p->level, p->repeat, k, out);
		return;
	}
	if (k == 0)
		t->session = -1;
	if (k == 0 || ++t->turn == t->turns) {
		t->session++;
		t->turn = 0;
		t->turns = workload_turns(w, p->level, p->repeat, t->session, t->level.turns);
	}
	workload_plan_turn(w, p->level, p->repeat, t->session, t->turn, k, out);
}

/* The prompt's beginning on one line of bounded width. Cuts between UTF-8 characters. */
static void print_prompt(FILE *out, const char *text, size_t len)
{
	int columns = 0;
	size_t i = 0;

	for (; i < len && columns < PROMPT_COLUMNS; columns++) {
		unsigned char c = (unsigned char)text[i];

		fputc(c < 0x20 || c == 0x7f ? ' ' : c, out);
		for (i++; i < len && ((unsigned char)text[i] & 0xc0) == 0x80; i++)
			fputc(text[i], out);
	}
	fputs(i < len ? "...\n" : "\n", out);
}

static void print_heading(const struct scenario *s, const struct phase *p,
			  const struct timetable *t, FILE *out)
{
	const struct level *l = &t->level;
	char duration[32], label[64];

	level_label(l, label, sizeof(label));
	fprintf(out, "\n# ");
	if (p->level < 0)
		fprintf(out, "warm-up");
	else
		fprintf(out, "%s", label);
	if (s->repeats > 1 && p->level >= 0)
		fprintf(out, ", repeat %d of %d", p->repeat + 1, s->repeats);
	if (l->duration_ns)
		fprintf(out, ", for %s",
			format_duration(duration, sizeof(duration), l->duration_ns));
	fprintf(out, ", target%s ", p->n_targets > 1 ? "s" : "");
	for (int i = 0; i < p->n_targets; i++)
		fprintf(out, "%s%s", i ? ", " : "", s->targets[p->first_target + i].name);
	fputc('\n', out);
	if (p->n_targets > 1)
		fprintf(out, "(ids of %s; those of the others are %lld apart)\n",
			s->targets[p->first_target].name,
			(long long)(p->level < 0 ? s->warmup_requests : PHASE_ID_STRIDE));
	if (!t->n)
		fprintf(out, "(as many as fit in that time, in this order; the first ones:)\n");
	fprintf(out, "%12s %12s %8s %7s %7s  %s\n", "id", "when_ms", "prompt", "in", "out", "text");
}

enum rc plan_print(const struct scenario *s, FILE *out, struct err *e)
{
	struct workload *w = NULL;
	enum rc rc = workload_new(&w, s, e);
	struct phase *phases;
	struct buf yaml;
	int n_phases;

	if (rc)
		return rc;
	buf_init(&yaml, 16u << 20);
	scenario_emit(s, &yaml);
	fwrite(buf_head(&yaml), 1, buf_size(&yaml), out);
	buf_release(&yaml);
	if (s->find)
		fprintf(out,
			"\n# A search: of the %d loads below each target is put under %d at most, "
			"which "
			"ones\n# what is measured decides.\n",
			s->n_levels, find_probes(s));
	if (s->search)
		fprintf(out,
			"\n# A search: of %d settings of a target some are tried, which ones what "
			"is "
			"measured\n# decides; each is put under the loads below, those of the "
			"first "
			"one.\n",
			sweep_places(s));
	phases = phases_new(s, &n_phases);
	for (int i = 0; i < n_phases; i++) {
		const struct phase *p = &phases[i];
		struct timetable t;
		int64_t n;

		if (s->search && p->first_target % sweep_places(s))
			continue;
		t = timetable_of(s, p, w);
		n = t.n ? t.n : 10;
		print_heading(s, p, &t, out);
		for (int64_t k = 0; k < n; k++) {
			struct planned_request r;
			char when[32] = "free slot", in[32] = "?";

			timetable_next(&t, p, w, k, &r);
			if (t.turn > 0)
				snprintf(when, sizeof(when), "then");
			if (t.arrival_ns)
				snprintf(when, sizeof(when), "%.3f", ns_to_ms(t.arrival_ns[k]));
			if (r.input_tokens >= 0)
				snprintf(in, sizeof(in), "%d", r.input_tokens);
			fprintf(out, "%12lld %12s %8lld %7s %7d  ",
				(long long)phase_request_id(s, p, p->first_target, k), when,
				(long long)r.prompt_id, in, r.output_tokens);
			print_prompt(out, r.text, r.len);
		}
		free(t.arrival_ns);
	}
	free(phases);
	workload_free(w);
	return RC_OK;
}

static const char *const columns[] = {"request_id", "target",	   "point",	   "repeat",
				      "load_kind",  "concurrency", "rate",	   "index",
				      "sched_ms",   "prompt_id",   "input_tokens", "output_tokens",
				      "prompt",	    "session",	   "turn",	   NULL};

static enum rc csv_phase(struct csv_writer *csv, const struct scenario *s, const struct phase *p,
			 struct workload *w, struct err *e)
{
	struct timetable t = timetable_of(s, p, w);
	enum rc rc = RC_OK;

	for (int i = p->first_target; i < p->first_target + p->n_targets; i++) {
		for (int64_t k = 0; k < t.n && !rc; k++) {
			struct planned_request r;

			timetable_next(&t, p, w, k, &r);
			csv_int(csv, phase_request_id(s, p, i, k));
			csv_str(csv, s->targets[i].name);
			csv_int(csv, p->level < 0 ? -1 : p->first_point + i - p->first_target);
			csv_int(csv, p->repeat);
			csv_str(csv, p->level < 0 ? "warmup" : load_kind_name(t.level.kind));
			if (t.level.concurrency)
				csv_int(csv, t.level.concurrency);
			else
				csv_empty(csv);
			csv_num(csv, t.level.kind == LOAD_OPEN ? t.level.rate_per_s : NAN, 6);
			csv_int(csv, k);
			csv_num(csv, t.arrival_ns ? ns_to_ms(t.arrival_ns[k]) : NAN, 6);
			csv_int(csv, r.prompt_id);
			if (r.input_tokens >= 0)
				csv_int(csv, r.input_tokens);
			else
				csv_empty(csv);
			csv_int(csv, r.output_tokens);
			csv_str(csv, r.text);
			if (t.level.kind == LOAD_SESSIONS) {
				csv_int(csv, t.session);
				csv_int(csv, t.turn);
			} else {
				csv_empty(csv);
				csv_empty(csv);
			}
			rc = csv_end(csv, e);
		}
	}
	free(t.arrival_ns);
	return rc;
}

enum rc plan_csv(const struct scenario *s, const char *path, struct err *e)
{
	struct csv_writer *csv = NULL;
	struct workload *w = NULL;
	struct phase *phases;
	enum rc rc, closed;
	int n_phases;

	rc = workload_new(&w, s, e);
	if (rc)
		return rc;
	phases = phases_new(s, &n_phases);
	rc = csv_create(&csv, path, columns, e);
	if (!rc)
		csv_set_buffered(csv, true);
	for (int i = 0; i < n_phases && !rc; i++)
		rc = csv_phase(csv, s, &phases[i], w, e);
	closed = csv_close(csv, rc ? NULL : e);
	free(phases);
	workload_free(w);
	return rc ? rc : closed;
}

static enum rc batch_line(const struct target *t, int64_t request_id,
			  const struct planned_request *r, struct buf *line, struct err *e)
{
	const struct dialect *d = dialect_find(t->dialect);
	struct request_opts opts = t->request;
	struct ask ask = {
		.model = r->model ? r->model : t->model,
		.prompt = r->text,
		.prompt_len = r->len,
		.output_tokens = r->output_tokens,
		.opts = &opts,
		.before = r->before,
		.n_before = r->n_before,
		.also = r->also,
		.n_also = r->n_also,
	};
	char name[32];
	bool ok;

	opts.stream = false;
	request_name(name, request_id);
	buf_clear(line);
	ok = buf_printf(line, "{\"custom_id\":\"%s\",\"method\":\"POST\",\"url\":", name) &&
	     json_quote(line, t->endpoint ? t->endpoint : d->path) &&
	     buf_puts(line, ",\"body\":") && d->build(&ask, line) && buf_puts(line, "}\n");
	return ok ? RC_OK : err_set(e, RC_LIMIT, "%s: more than 1 GiB", name);
}

static enum rc batch_phase(const struct scenario *s, const struct phase *p, struct workload *w,
			   struct buf *line, FILE *out, int64_t *lines, struct err *e)
{
	struct timetable t = timetable_of(s, p, w);
	enum rc rc = RC_OK;

	for (int64_t k = 0; k < t.n && !rc; k++) {
		struct planned_request r;

		timetable_next(&t, p, w, k, &r);
		if (t.turn > 0)
			continue;
		rc = batch_line(&s->targets[0], phase_request_id(s, p, 0, k), &r, line, e);
		if (!rc)
			fwrite(buf_head(line), 1, buf_size(line), out);
		++*lines;
	}
	free(t.arrival_ns);
	return rc;
}

enum rc plan_openai_batch(const struct scenario *s, FILE *out, struct err *e)
{
	struct workload *w = NULL;
	struct phase *phases = NULL;
	int64_t lines = 0;
	int n_phases = 0;
	struct buf line;
	enum rc rc;

	buf_init(&line, MAX_LINE_BYTES);
	if (!s->targets[0].model)
		rc = err_set(e, RC_INPUT, "target %s: model is missing: a batch file names it",
			     s->targets[0].name);
	else
		rc = workload_new(&w, s, e);
	if (!rc)
		phases = phases_new(s, &n_phases);
	for (int i = 0; i < n_phases && !rc; i++)
		if (phases[i].level >= 0 && phases[i].first_target == 0)
			rc = batch_phase(s, &phases[i], w, &line, out, &lines, e);
	if (!rc && !lines)
		rc = err_set(
			e, RC_INPUT,
			"no request is known before the run: give the load an end by requests");
	free(phases);
	workload_free(w);
	buf_release(&line);
	return rc;
}

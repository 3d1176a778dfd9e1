/*
 * Owns the sentences of a report: do the numbers add up, is the client to be believed, what failed,
 * what was wasted, what a reader must know of the figures. Pure.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/units.h"
#include "curve.h"
#include "report_body.h"

#define MAX_LINES 20 /* of one kind; what is beyond stands in points.csv */

/* An identity that is off by more than this is a warning. Counted quantities must agree but for
 * rounding; X * TPOT takes a mean over requests where lengths and speeds may hang together. */
static const double littles_tolerance = 0.01, batch_tolerance = 0.10;

static void point_label(const struct scenario *s, const struct point *p, char *out, size_t cap)
{
	char level[32];

	level_label(&s->levels[p->level], level, sizeof(level));
	if (s->repeats > 1)
		snprintf(out, cap, "%s, %s, repeat %d", s->targets[p->target].name, level,
			 p->repeat + 1);
	else
		snprintf(out, cap, "%s, %s", s->targets[p->target].name, level);
}

/* ---- identities ---- */

static void say_counts(struct body *b, const struct report_input *in)
{
	int64_t planned = 0, ok = 0, failed = 0, dropped = 0, cancelled = 0;

	for (size_t i = 0; i < in->n_points; i++) {
		planned += in->points[i].planned;
		ok += in->points[i].ok;
		failed += in->points[i].failed;
		dropped += in->points[i].dropped;
		cancelled += in->points[i].cancelled;
	}
	body_say(b, planned == ok + failed + dropped ? BLOCK_LINE : BLOCK_WARNING,
		 "planned = ok + failed + dropped: %lld = %lld + %lld + %lld", (long long)planned,
		 (long long)ok, (long long)failed, (long long)dropped);
	if (cancelled)
		body_say(b, BLOCK_LINE, "beside them %lld were cancelled, as load.cancel asks",
			 (long long)cancelled);
}

static void say_identity(struct body *b, const struct report_input *in, const char *what,
			 size_t field, double tolerance, const char *cause)
{
	const struct point *worst = NULL;
	double off = -1;

	for (size_t i = 0; i < in->n_points; i++) {
		double v = fabs(*(const double *)((const char *)&in->points[i] + field) - 1);

		if (v > off) {
			off = v;
			worst = &in->points[i];
		}
	}
	if (!worst)
		return;
	if (off > tolerance) {
		char label[256];

		point_label(in->scenario, worst, label, sizeof(label));
		body_say(b, BLOCK_WARNING, "%s: off by %.1f %% (%s)%s", what, 100 * off, label,
			 cause);
	} else {
		body_say(b, BLOCK_LINE, "%s: off by %.1f %% at most", what, 100 * off);
	}
}

/* ---- the client ---- */

static double largest(const struct report_input *in, size_t field)
{
	double max = NAN;

	for (size_t i = 0; i < in->n_points; i++)
		max = fmax(max, *(const double *)((const char *)&in->points[i] + field));
	return max;
}

/* "1234 us", or "?" where it was never seen. */
static const char *in_us(double v, char *out, size_t cap)
{
	snprintf(out, cap, isnan(v) ? "?" : "%.0f us", v);
	return out;
}

/* Neither a simulation nor a published table has one. */
static bool has_client(const struct target *t)
{
	return t->scheme != URL_PROFILE && !t->table;
}

static void say_client(struct body *b, const struct report_input *in)
{
	char lag[32], late[32], label[256];
	size_t bad = 0, clients = 0, kept_up = 0;
	bool any_table = false;

	for (size_t i = 0; i < in->n_points; i++) {
		const struct point *p = &in->points[i];

		if (has_client(&in->scenario->targets[p->target])) {
			clients++;
			kept_up += p->verdict == VERDICT_OK;
		}
		any_table |= in->scenario->targets[p->target].table;
		if (p->verdict == VERDICT_OK || ++bad > MAX_LINES)
			continue;
		point_label(in->scenario, p, label, sizeof(label));
		body_say(b, BLOCK_WARNING, "%s: %s: %s", label, verdict_name(p->verdict),
			 p->verdict_text);
	}
	if (bad > MAX_LINES)
		body_say(b, BLOCK_WARNING, "and %zu more (points.csv, column verdict_text)",
			 bad - MAX_LINES);
	if (in->scenario->clock == RUN_CLOCK_VIRTUAL) {
		body_say(b, BLOCK_LINE,
			 "The run was simulated: nothing was sent, and no client could be late.");
		return;
	}
	if (!clients) {
		body_say(
			b, BLOCK_LINE,
			"All of it was simulated%s: nothing was sent, and no client could be late.",
			any_table ? " or published" : "");
		return;
	}
	in_us(largest(in, POINT_FIELD(self.loop_lag_p99_us)), lag, sizeof(lag));
	in_us(largest(in, POINT_FIELD(self.send_late_p99_us)), late, sizeof(late));
	if (kept_up < clients)
		snprintf(label, sizeof(label), "at %zu of %zu points", kept_up, clients);
	else
		snprintf(label, sizeof(label), "at all %zu points", clients);
	body_say(b, BLOCK_LINE,
		 "The client kept up %s: at p99 its loop at most %s late, sends at most %s after "
		 "their plan; at most "
		 "%.0f %% of a core.",
		 label, lag, late, fmax(0, 100 * largest(in, POINT_FIELD(self.cpu_share))));
}

/* ---- what went wrong, and what to know ---- */

static const struct record *example(const struct report_input *in, int target, enum outcome o)
{
	for (size_t i = 0; i < in->n_records; i++) {
		const struct record *r = &in->records[i];

		if (r->target == target && r->outcome == o && r->point >= 0)
			return r;
	}
	return NULL;
}

static void say_failures(struct body *b, const struct report_input *in)
{
	for (int target = 0; target < in->scenario->n_targets; target++) {
		for (int o = OUTCOME_OK + 1; o < OUTCOME_COUNT; o++) {
			const struct record *r;
			int64_t count = 0;

			for (size_t i = 0; i < in->n_points; i++)
				if (in->points[i].target == target)
					count += in->points[i].by_outcome[o];
			if (!count)
				continue;
			r = example(in, target, (enum outcome)o);
			body_say(b, BLOCK_WARNING, "%s: %lld x %s%s%s",
				 in->scenario->targets[target].name, (long long)count,
				 outcome_name((enum outcome)o),
				 r && *r->error ? ", for example: " : "", r ? r->error : "");
		}
	}
}

static void say_waste(struct body *b, const struct report_input *in)
{
	int64_t wasted = 0, useful = 0;

	for (size_t i = 0; i < in->n_points; i++) {
		wasted += in->points[i].wasted_tokens;
		useful += in->points[i].output_tokens;
	}
	if (wasted)
		body_say(b, BLOCK_LINE,
			 "Wasted: %lld output tokens of requests that did not end ok (%.1f %% of "
			 "all).",
			 (long long)wasted, 100 * (double)wasted / (double)(wasted + useful));
}

/* Several tokens in one event, told by usage: a gap between events is then not one between tokens.
 */
static void say_tokens_an_event(struct body *b, const char *name, int64_t tokens, int64_t events)
{
	if (events && tokens * 100 > events * 101)
		body_say(b, BLOCK_LINE,
			 "%s: %.2f tokens an event: ITL is the gap between events, TPOT that "
			 "between tokens; so is itl_per_token in points.csv, where events told "
			 "their counts.",
			 name, (double)tokens / (double)events);
}

static void say_traits(struct body *b, const struct report_input *in)
{
	for (int target = 0; target < in->scenario->n_targets; target++) {
		const char *name = in->scenario->targets[target].name;
		int64_t events = 0, merged = 0, streamed_tokens = 0, their_events = 0;
		bool by_events = false, differ = false;

		for (size_t i = 0; i < in->n_points; i++) {
			const struct point *p = &in->points[i];

			if (p->target != target)
				continue;
			events += p->events;
			merged += p->merged_events;
			if (!p->unstreamed) {
				streamed_tokens += p->output_tokens;
				their_events += p->events;
			}
			by_events |= p->tokens_by_events;
			differ |= p->tokens_differ;
		}
		if (by_events)
			body_say(b, BLOCK_LINE,
				 "%s: sent no usage: its tokens are counted by events, several in "
				 "one count as one.",
				 name);
		if (differ)
			body_say(b, BLOCK_LINE,
				 "%s: some answers had another length than asked for.", name);
		say_tokens_an_event(b, name, streamed_tokens, their_events);
		if (events && merged * 100 > events)
			body_say(b, BLOCK_LINE,
				 "%s: %.0f %% of its events came in one read with another: ITL "
				 "counts 0 ms there; "
				 "itl_per_token in points.csv spreads the gap.",
				 name, 100 * (double)merged / (double)events);
	}
}

/* Asked for more at once than ran on average: the level was too short for its concurrency. */
static void say_short_levels(struct body *b, const struct report_input *in)
{
	const struct point *worst = NULL;
	double least = 0.9;

	for (size_t i = 0; i < in->n_points; i++) {
		const struct level *l = &in->scenario->levels[in->points[i].level];
		double held =
			in->points[i].mean_running / (l->concurrency > 0 ? l->concurrency : 1);

		if (l->kind == LOAD_CLOSED && held < least) {
			least = held;
			worst = &in->points[i];
		}
	}
	if (worst) {
		char label[256];

		point_label(in->scenario, worst, label, sizeof(label));
		body_say(b, BLOCK_LINE,
			 "Short levels: %s held %.1f requests on average; "
			 "steady_output_tokens_per_s in points.csv is the "
			 "rate while all ran.",
			 label, worst->mean_running);
	}
}

void body_clients(struct body *b, const struct report_input *in)
{
	if (!in->n_points)
		return;
	body_say(b, BLOCK_HEADING, "Is the client to be believed?");
	say_client(b, in);
}

void body_words(struct body *b, const struct report_input *in, const struct report_input *shown)
{
	if (!in->n_points)
		return;
	body_say(b, BLOCK_HEADING, "Do the numbers add up?");
	say_counts(b, in);
	say_identity(b, in, "X = C x tokens / E2EL (C: mean running)", POINT_FIELD(littles_ratio),
		     littles_tolerance, "");
	say_identity(b, in, "X x TPOT = streams between first and last token",
		     POINT_FIELD(batch_ratio), batch_tolerance,
		     ": its requests went at very unequal paces, and TPOT is their plain mean");
	body_clients(b, in);
	body_say(b, BLOCK_HEADING, "What else to know");
	say_failures(b, in);
	say_waste(b, in);
	say_traits(b, in);
	say_short_levels(b, in);
	body_engines(b, shown);
	body_drop_bare_heading(b);
}

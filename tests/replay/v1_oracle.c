/*
 * Compares, request by request, with the replay engine of another project that implements vLLM V1's
 * policy: the same arrivals and lengths, a step that costs --prefill-ms if it prefills anything
 * plus --decode-ms if it decodes anything, in virtual time. Equal is a request whose admission,
 * first token and end agree within 0.0002 ms (their rounding).
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/csv.h"
#include "base/units.h"
#include "replay.h"

#define TOLERANCE_MS 0.0002

static const char usage[] =
	"usage: v1_oracle FILE.csv [--prefill-ms N] [--decode-ms N] [--allow N] [--KNOB N ...]\n"
	"Replays the requests of FILE with vllm-v1; prints how many end as recorded; exit 0 if all "
	"but --allow do, 1 if not.";

enum { ARRIVAL, PROMPT, OUTPUT, FIRST_ADMIT, TTFT, E2E, N_COLUMNS };

static const char *const names[N_COLUMNS] = {"arrival_ms",     "prompt_tokens", "output_tokens",
					     "first_admit_ms", "ttft_ms",	"e2e_ms"};

static int64_t to_ns(double ms)
{
	return llround(ms * 1e6);
}

static enum rc read_requests(struct replay *r, const struct csv_table *t, const int col[N_COLUMNS],
			     struct err *e)
{
	for (size_t row = 0; row < csv_rows(t); row++) {
		int64_t n_prompt, n_output;
		double arrival_ms;

		if (csv_field_num(t, row, col[ARRIVAL], 0, &arrival_ms, e) ||
		    csv_field_int(t, row, col[PROMPT], 0, &n_prompt, e) ||
		    csv_field_int(t, row, col[OUTPUT], 0, &n_output, e))
			return e->rc;
		replay_add(r, NULL, NULL, (int32_t)n_prompt, (int32_t)n_output, to_ns(arrival_ms));
	}
	return RC_OK;
}

/* The loop of an engine in virtual time: who has arrived when a step may start is seen by it. */
static void run(struct replay *r, int64_t prefill_ns, int64_t decode_ns)
{
	int64_t now_ns = 0;

	while (r->finished < r->n) {
		size_t visible = r->fed;

		while (visible < r->n && r->req[visible]->arrival_ns <= now_ns)
			visible++;
		replay_feed(r, visible);
		if (replay_plan(r)) {
			now_ns = r->plan.start_ns + (r->plan.prefill_tokens ? prefill_ns : 0) +
				 (r->plan.decode_seqs ? decode_ns : 0);
			replay_commit(r, now_ns);
		} else {
			CHECK(r->fed < r->n);
			now_ns = r->req[r->fed]->arrival_ns;
		}
	}
}

static enum rc compare(const struct replay *r, const struct csv_table *t, const int col[N_COLUMNS],
		       size_t *equal, struct err *e)
{
	bool told = false;

	for (size_t row = 0; row < r->n; row++) {
		const struct genreq *q = r->req[row];
		double want[3], got[3] = {ns_to_ms(q->first_scheduled_ns),
					  ns_to_ms(q->first_token_ns - q->arrival_ns),
					  ns_to_ms(q->last_token_ns - q->arrival_ns)};
		bool same = true;

		for (int i = 0; i < 3; i++) {
			if (csv_field_num(t, row, col[FIRST_ADMIT + i], NAN, &want[i], e))
				return e->rc;
			same &= fabs(want[i] - got[i]) <= TOLERANCE_MS;
		}
		*equal += same;
		if (same || told)
			continue;
		told = true;
		printf("request %zu is the first that differs\nrecorded: admitted %.4f, ttft %.4f, "
		       "e2e %.4f ms\n"
		       "replayed: admitted %.4f, ttft %.4f, e2e %.4f ms\n",
		       row, want[0], want[1], want[2], got[0], got[1], got[2]);
	}
	return RC_OK;
}

int main(int argc, char **argv)
{
	double prefill_ms = 20, decode_ms = 10;
	int64_t allow = 0;
	const struct opt_spec own[] = {
		{.kind = OPT_NUM,
		 .name = "prefill-ms",
		 .out = &prefill_ms,
		 .arg = "N",
		 .help = "cost of a step that prefills",
		 .min = 0,
		 .max = 1e6},
		{.kind = OPT_NUM,
		 .name = "decode-ms",
		 .out = &decode_ms,
		 .arg = "N",
		 .help = "cost of a step that decodes",
		 .min = 0,
		 .max = 1e6},
		{.kind = OPT_INT,
		 .name = "allow",
		 .out = &allow,
		 .arg = "N",
		 .help = "requests that may differ",
		 .min = 0,
		 .max = 1e9},
		{0},
	};
	struct csv_table *t = NULL;
	int col[N_COLUMNS], code;
	const char *path;
	struct replay r;
	size_t equal = 0;
	struct err e = {0};

	if (!replay_open(&r, &sched_vllm_v1, own, usage, argc, argv, &path, &code))
		goto out;
	code = 2;
	if (csv_read(&t, path, false, &e) != RC_OK)
		goto fail;
	for (int i = 0; i < N_COLUMNS; i++)
		if (csv_need(t, names[i], &col[i], &e) != RC_OK)
			goto fail;
	if (read_requests(&r, t, col, &e) != RC_OK)
		goto fail;
	run(&r, to_ns(prefill_ms), to_ns(decode_ms));
	if (compare(&r, t, col, &equal, &e) != RC_OK)
		goto fail;
	printf("%zu of %zu requests equal\n", equal, r.n);
	code = r.n && r.n - equal <= (size_t)allow ? 0 : 1;
	goto out;
fail:
	replay_fail(&e);
out:
	csv_table_free(t);
	replay_close(&r);
	return code;
}

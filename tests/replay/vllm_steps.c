/*
 * Plans the steps of a recorded vLLM again and compares each of them. A folder with steps.jsonl is
 * compared request by request (who, from where, how many tokens; new, resumed, preempted; queue
 * lengths; free blocks); one with steps.csv by the composition of each step. The recordings'
 * README.md files say what every column is.
 *
 * Both sides of a step become one line of text; equal steps are equal lines, and the first that
 * differ are printed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/csv.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "replay.h"

#define LINE_BYTES ((size_t)1 << 20)

static const char usage[] = "usage: vllm_steps DIR [--server NAME] [--KNOB N ...]\n"
			    "Replays the steps recorded in DIR with vllm-v1; prints how many are "
			    "equal; exit 0 if all are, 1 if not.";

/* A recorded step, as far as the replay needs to understand it. The rest is its line. */
struct recorded {
	int64_t start_ns, end_ns;
	int64_t running, waiting;
	struct buf line;
};

struct comparison {
	size_t equal, steps;
};

/* How many requests the engine had taken in follows from where they were after the step: running,
 * waiting, or done. */
static void compare(struct replay *r, const struct recorded *want,
		    void (*describe)(const struct replay *, struct buf *), struct comparison *c)
{
	struct buf got;

	buf_init(&got, LINE_BYTES);
	replay_feed(r, (size_t)(want->running + want->waiting) + r->finished);
	if (replay_plan(r)) {
		describe(r, &got);
		replay_commit(r, want->end_ns);
	} else {
		buf_puts(&got, "nothing");
	}
	c->steps++;
	if (buf_size(&got) == buf_size(&want->line) &&
	    !memcmp(buf_head(&got), buf_head(&want->line), buf_size(&got)))
		c->equal++;
	else if (c->equal == c->steps - 1)
		printf("step %zu, at %" PRId64
		       " ns, is the first that differs\nrecorded: %.*s\nplanned:  %.*s\n",
		       c->steps - 1, want->start_ns, (int)buf_size(&want->line),
		       buf_head(&want->line), (int)buf_size(&got), buf_head(&got));
	buf_release(&got);
}

/* ---- request by request: prompts.jsonl, requests.csv, steps.jsonl ---- */

struct sent {
	struct replay *replay;
	const struct csv_table *requests;
	int run, request, send_ns;
};

/* When it was sent says requests.csv, which holds the same requests in the same order. */
static enum rc add_prompt(const cJSON *v, void *arg, struct err *e)
{
	struct sent *s = arg;
	size_t row = s->replay->n;
	const cJSON *tokens = NULL, *token;
	int64_t output_tokens = 0, send_ns = 0;
	const char *id = "";
	char name[256];
	int32_t *prompt;
	int n = 0;

	if (json_get_str(v, "", "id", &id, e) ||
	    json_get_int(v, "", "output_tokens", 1, INT32_MAX, &output_tokens, e) ||
	    json_get_array(v, "", "tokens", &tokens, e))
		return e->rc;
	if (row >= csv_rows(s->requests) || !tokens || !output_tokens)
		return err_set(e, RC_INPUT, "%s: no such row in requests.csv, or a key is missing",
			       id);
	snprintf(name, sizeof(name), "%s-%s", csv_field(s->requests, row, s->run),
		 csv_field(s->requests, row, s->request));
	if (strcmp(name, id) != 0)
		return err_set(e, RC_INPUT, "%s, but row %zu of requests.csv is %s", id, row, name);
	if (csv_field_int(s->requests, row, s->send_ns, 0, &send_ns, e))
		return e->rc;
	prompt = xreallocarray(NULL, (size_t)cJSON_GetArraySize(tokens) + 1, sizeof(*prompt));
	cJSON_ArrayForEach(token, tokens) prompt[n++] = token->valueint;
	replay_add(s->replay, id, prompt, n, (int32_t)output_tokens, send_ns);
	free(prompt);
	return RC_OK;
}

static enum rc add_prompts(struct replay *r, const char *dir, struct err *e)
{
	struct sent s = {.replay = r};
	struct csv_table *t = NULL;
	char path[REPLAY_PATH_BYTES];
	enum rc rc = csv_read(&t, replay_path(path, dir, "requests.csv"), false, e);

	s.requests = t;
	if (rc == RC_OK && !csv_need(t, "run", &s.run, e) &&
	    !csv_need(t, "request", &s.request, e) && !csv_need(t, "send_ns", &s.send_ns, e))
		rc = replay_each_line(replay_path(path, dir, "prompts.jsonl"), add_prompt, &s, e);
	else
		rc = e->rc;
	csv_table_free(t);
	return rc;
}

static void describe_requests(const struct replay *r, struct buf *b)
{
	const struct step_plan *p = &r->plan;
	struct sched_stats stats;

	r->policy->stats(r->sched, &stats);
	buf_puts(b, "scheduled");
	for (int32_t i = 0; i < p->n_items; i++)
		buf_printf(b, " %s@%d+%d", p->item[i].req->name, p->item[i].computed,
			   p->item[i].n_tokens);
	for (int again = 0; again < 2; again++) {
		buf_puts(b, again ? "; resumed" : "; new");
		for (int32_t i = p->n_items - r->admitted; i < p->n_items; i++)
			if ((p->item[i].req->slot.preemptions > 0) == again)
				buf_printf(b, " %s", p->item[i].req->name);
	}
	buf_puts(b, "; preempted");
	for (int32_t i = 0; i < p->n_preempted; i++)
		buf_printf(b, " %s", p->preempted[i]->name);
	buf_printf(b, "; running %d, waiting %d, free blocks %d", stats.running, stats.waiting,
		   stats.free_blocks);
}

static bool append_names(struct buf *b, const char *what, const cJSON *names)
{
	const cJSON *name;

	buf_puts(b, what);
	cJSON_ArrayForEach(name, names)
	{
		if (!cJSON_IsString(name))
			return false;
		buf_printf(b, " %s", name->valuestring);
	}
	return true;
}

/* vLLM keeps the resumed ones in a set, so the record has them in any order: they are put into that
 * of the schedule. */
static cJSON *in_scheduled_order(const cJSON *set, const cJSON *scheduled)
{
	cJSON *sorted = cJSON_CreateArray();
	const cJSON *item, *name;

	cJSON_ArrayForEach(item, scheduled)
	{
		const char *id = cJSON_GetStringValue(cJSON_GetArrayItem(item, 0));

		cJSON_ArrayForEach(name, set)
		{
			if (cJSON_IsString(name) && strcmp(name->valuestring, id) == 0)
				cJSON_AddItemToArray(sorted, cJSON_CreateString(id));
		}
	}
	return sorted;
}

/* The same line from the record. */
static enum rc recorded_line(const cJSON *v, struct buf *b, struct err *e)
{
	static const char *const lists[] = {"new", "resumed", "preempted"};
	const cJSON *scheduled = NULL, *item, *names[3] = {0};
	int64_t running = -1, waiting = -1, free_blocks = -1;
	cJSON *resumed;
	bool sound;

	if (json_get_array(v, "", "scheduled", &scheduled, e) ||
	    json_get_int(v, "", "running", 0, INT32_MAX, &running, e) ||
	    json_get_int(v, "", "waiting", 0, INT32_MAX, &waiting, e) ||
	    json_get_int(v, "", "free_blocks", 0, INT32_MAX, &free_blocks, e))
		return e->rc;
	for (int i = 0; i < 3; i++)
		if (json_get_array(v, "", lists[i], &names[i], e))
			return e->rc;
	buf_puts(b, "scheduled");
	cJSON_ArrayForEach(item, scheduled)
	{
		const cJSON *id = cJSON_GetArrayItem(item, 0),
			    *computed = cJSON_GetArrayItem(item, 1);
		const cJSON *n = cJSON_GetArrayItem(item, 2);

		if (!cJSON_IsString(id) || !cJSON_IsNumber(computed) || !cJSON_IsNumber(n))
			return err_set(e, RC_INPUT,
				       "scheduled: want [id, tokens before, tokens now]");
		buf_printf(b, " %s@%d+%d", id->valuestring, computed->valueint, n->valueint);
	}
	resumed = in_scheduled_order(names[1], scheduled);
	sound = cJSON_GetArraySize(resumed) == cJSON_GetArraySize(names[1]) &&
		append_names(b, "; new", names[0]) && append_names(b, "; resumed", resumed) &&
		append_names(b, "; preempted", names[2]);
	cJSON_Delete(resumed);
	buf_printf(b, "; running %d, waiting %d, free blocks %d", (int)running, (int)waiting,
		   (int)free_blocks);
	return sound ? RC_OK
		     : err_set(e, RC_INPUT,
			       "new, resumed, preempted: want ids; resumed ones are scheduled, "
			       "too");
}

struct comparing {
	struct replay *replay;
	struct comparison *c;
};

static enum rc compare_json(const cJSON *v, void *arg, struct err *e)
{
	struct comparing *x = arg;
	struct recorded want = {0};
	enum rc rc;

	buf_init(&want.line, LINE_BYTES);
	rc = recorded_line(v, &want.line, e);
	if (rc == RC_OK && !json_get_int(v, "", "t0_ns", 0, INT64_MAX, &want.start_ns, e) &&
	    !json_get_int(v, "", "t1_ns", 0, INT64_MAX, &want.end_ns, e) &&
	    !json_get_int(v, "", "running", 0, INT32_MAX, &want.running, e) &&
	    !json_get_int(v, "", "waiting", 0, INT32_MAX, &want.waiting, e))
		compare(x->replay, &want, describe_requests, x->c);
	else
		rc = e->rc;
	buf_release(&want.line);
	return rc;
}

static enum rc by_request(struct replay *r, const char *dir, struct comparison *c, struct err *e)
{
	struct comparing x = {r, c};
	char path[REPLAY_PATH_BYTES];

	if (add_prompts(r, dir, e) != RC_OK)
		return e->rc;
	return replay_each_line(replay_path(path, dir, "steps.jsonl"), compare_json, &x, e);
}

/* ---- by composition: requests.csv, steps.csv ---- */

/* The sums of a step, named as the columns are. */
enum {
	PREFILL_REQS,
	PREFILL_TOKENS,
	PREFILL_CTX,
	PREFILL_ATTN,
	DECODE_SEQS,
	DECODE_KV,
	RUNNING,
	WAITING,
	TOTAL_SCHED,
	N_SUMS
};

static const char *const sums[N_SUMS] = {"prefill_reqs", "prefill_tokens", "prefill_ctx",
					 "prefill_attn", "decode_seqs",	   "decode_kv",
					 "running",	 "waiting",	   "total_sched"};

static void print_sums(const int64_t value[N_SUMS], struct buf *b)
{
	for (int i = 0; i < N_SUMS; i++)
		buf_printf(b, "%s%s %" PRId64, i ? ", " : "", sums[i], value[i]);
}

static void describe_composition(const struct replay *r, struct buf *b)
{
	const struct step_plan *p = &r->plan;
	int64_t value[N_SUMS] = {0};
	struct sched_stats stats;

	r->policy->stats(r->sched, &stats);
	for (int32_t i = 0; i < p->n_items; i++) {
		const struct step_item *it = &p->item[i];

		value[TOTAL_SCHED] += it->n_tokens;
		if (!it->prefill)
			continue;
		value[PREFILL_REQS]++;
		value[PREFILL_CTX] += it->computed;
		value[PREFILL_ATTN] += (int64_t)it->n_tokens * it->computed +
				       (int64_t)it->n_tokens * (it->n_tokens + 1) / 2;
	}
	value[PREFILL_TOKENS] = p->prefill_tokens;
	value[DECODE_SEQS] = p->decode_seqs;
	value[DECODE_KV] = p->decode_kv_tokens;
	value[RUNNING] = stats.running;
	value[WAITING] = stats.waiting;
	print_sums(value, b);
}

/* A run belongs to the server on which its steps were. */
static bool run_is_on(const struct csv_table *steps, int run_col, int server_col, const char *run,
		      const char *server)
{
	for (size_t row = 0; row < csv_rows(steps); row++)
		if (strcmp(csv_field(steps, row, run_col), run) == 0)
			return strcmp(csv_field(steps, row, server_col), server) == 0;
	return false;
}

static enum rc add_requests(struct replay *r, const struct csv_table *requests,
			    const struct csv_table *steps, const char *server, struct err *e)
{
	int run, prompt, output, send, step_run, step_server;

	if (csv_need(requests, "run", &run, e) || csv_need(requests, "prompt_tokens", &prompt, e) ||
	    csv_need(requests, "output_tokens", &output, e) ||
	    csv_need(requests, "send_ns", &send, e) || csv_need(steps, "run", &step_run, e) ||
	    csv_need(steps, "server", &step_server, e))
		return e->rc;
	for (size_t row = 0; row < csv_rows(requests); row++) {
		int64_t n_prompt, n_output, send_ns;

		if (!run_is_on(steps, step_run, step_server, csv_field(requests, row, run), server))
			continue;
		if (csv_field_int(requests, row, prompt, 0, &n_prompt, e) ||
		    csv_field_int(requests, row, output, 0, &n_output, e) ||
		    csv_field_int(requests, row, send, 0, &send_ns, e))
			return e->rc;
		replay_add(r, NULL, NULL, (int32_t)n_prompt, (int32_t)n_output, send_ns);
	}
	return RC_OK;
}

static int by_send_time(const void *a, const void *b)
{
	const struct genreq *x = *(struct genreq *const *)a, *y = *(struct genreq *const *)b;

	return (x->arrival_ns > y->arrival_ns) - (x->arrival_ns < y->arrival_ns);
}

static enum rc compare_rows(struct replay *r, const struct csv_table *steps, const char *server,
			    struct comparison *c, struct err *e)
{
	int col[N_SUMS], server_col, start, end;

	if (csv_need(steps, "server", &server_col, e) || csv_need(steps, "sched0_ns", &start, e) ||
	    csv_need(steps, "upd1_ns", &end, e))
		return e->rc;
	for (int i = 0; i < N_SUMS; i++)
		if (csv_need(steps, sums[i], &col[i], e))
			return e->rc;
	for (size_t row = 0; row < csv_rows(steps); row++) {
		struct recorded want = {0};
		int64_t value[N_SUMS];

		if (strcmp(csv_field(steps, row, server_col), server) != 0)
			continue;
		for (int i = 0; i < N_SUMS; i++)
			if (csv_field_int(steps, row, col[i], 0, &value[i], e))
				return e->rc;
		if (csv_field_int(steps, row, start, 0, &want.start_ns, e) ||
		    csv_field_int(steps, row, end, 0, &want.end_ns, e))
			return e->rc;
		want.running = value[RUNNING];
		want.waiting = value[WAITING];
		buf_init(&want.line, LINE_BYTES);
		print_sums(value, &want.line);
		compare(r, &want, describe_composition, c);
		buf_release(&want.line);
	}
	return RC_OK;
}

static enum rc by_composition(struct replay *r, const char *dir, const char *server,
			      struct comparison *c, struct err *e)
{
	struct csv_table *requests = NULL, *steps = NULL;
	char path[REPLAY_PATH_BYTES];
	enum rc rc;

	rc = csv_read(&requests, replay_path(path, dir, "requests.csv"), false, e);
	if (rc == RC_OK)
		rc = csv_read(&steps, replay_path(path, dir, "steps.csv"), false, e);
	if (rc == RC_OK)
		rc = add_requests(r, requests, steps, server, e);
	if (rc == RC_OK) {
		qsort(r->req, r->n, sizeof(struct genreq *), by_send_time);
		rc = compare_rows(r, steps, server, c, e);
	}
	csv_table_free(requests);
	csv_table_free(steps);
	return rc;
}

int main(int argc, char **argv)
{
	const char *dir, *server = "default";
	const struct opt_spec own[] = {
		{.kind = OPT_STRING,
		 .name = "server",
		 .out = &server,
		 .arg = "NAME",
		 .help = "which server of a steps.csv (default: default)"},
		{0},
	};
	struct comparison c = {0, 0};
	char path[REPLAY_PATH_BYTES];
	struct replay r;
	struct err e;
	int code;

	if (!replay_open(&r, &sched_vllm_v1, own, usage, argc, argv, &dir, &code))
		goto out;
	if ((access(replay_path(path, dir, "steps.jsonl"), R_OK) == 0
		     ? by_request(&r, dir, &c, &e)
		     : by_composition(&r, dir, server, &c, &e)) != RC_OK) {
		code = replay_fail(&e);
		goto out;
	}
	printf("%zu of %zu steps equal\n", c.equal, c.steps);
	code = c.steps && c.equal == c.steps ? 0 : 1;
out:
	replay_close(&r);
	return code;
}

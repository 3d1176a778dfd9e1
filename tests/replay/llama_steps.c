/*
 * Plans the batches of a recorded llama.cpp server again and compares each of them, slot by slot:
 * which tasks were launched before it and where, who decodes, which part of which prompt is
 * computed. tasks.csv and steps.jsonl: see the recording's README.md.
 *
 * When a task came is in its number: the server numbers tasks as they come, and takes a number for
 * itself before each batch. Nothing else of the order is taken from the recording, neither launches
 * nor slots. But a number is given before the task is put into the queue, and of two threads that
 * do so at once the later number may be queued first: --late says where that happened.
 *
 * Both sides of a batch become one line of text; the first that differ are printed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/csv.h"
#include "base/die.h"
#include "base/units.h"
#include "replay.h"

#define LINE_BYTES ((size_t)1 << 20)

static const char usage[] =
	"usage: llama_steps DIR [--late TASK ...] [--KNOB N ...]\n"
	"Replays the batches recorded in DIR with llamacpp; prints how many are equal; exit 0 if "
	"all are, 1 if not.";

struct task {
	int64_t number, slot, launched_us, prompt_tokens, output_tokens;
	bool launched; /* in the replay */
};

struct llama_run {
	struct replay *replay;
	struct task *task; /* in the order in which they were queued: as replay->req */
	int64_t *batch;	   /* the i-th queued came before this batch */
	size_t n;
	int64_t last_us; /* start of the batch before */
	int64_t batches, equal;
};

/* ---- tasks.csv ---- */

static enum rc read_tasks(struct llama_run *run, const char *path, struct err *e)
{
	static const char *const names[] = {"task", "slot", "launched_us", "prompt_tokens",
					    "output_tokens"};
	struct csv_table *t = NULL;
	int col[ARRAY_LEN(names)];
	enum rc rc = csv_read(&t, path, false, e);

	for (size_t i = 0; rc == RC_OK && i < ARRAY_LEN(names); i++)
		rc = csv_need(t, names[i], &col[i], e);
	if (rc != RC_OK)
		goto out;
	run->n = csv_rows(t);
	run->task = xcalloc(run->n + 1, sizeof(*run->task));
	run->batch = xcalloc(run->n + 1, sizeof(*run->batch));
	for (size_t i = 0; i < run->n; i++) {
		struct task *k = &run->task[i];
		int64_t *const field[] = {&k->number, &k->slot, &k->launched_us, &k->prompt_tokens,
					  &k->output_tokens};

		for (size_t f = 0; f < ARRAY_LEN(field); f++) {
			rc = csv_field_int(t, i, col[f], 0, field[f], e);
			if (rc != RC_OK)
				goto out;
		}
		run->batch[i] = k->number - (int64_t)i;
		if (i > 0 && k->number <= run->task[i - 1].number) {
			rc = err_set(e, RC_INPUT, "%s: task %" PRId64 " is not in ascending order",
				     path, k->number);
			goto out;
		}
	}
out:
	csv_table_free(t);
	return rc;
}

/* Changes places with the task numbered next. */
static enum rc queue_later(struct llama_run *run, const char *number, struct err *e)
{
	for (size_t i = 0; i + 1 < run->n; i++) {
		char text[32];

		snprintf(text, sizeof(text), "%" PRId64, run->task[i].number);
		if (strcmp(text, number) == 0) {
			struct task late = run->task[i];

			run->task[i] = run->task[i + 1];
			run->task[i + 1] = late;
			return RC_OK;
		}
	}
	return err_set(e, RC_INPUT, "--late %s: no such task with one behind it", number);
}

static void add_requests(struct llama_run *run)
{
	for (size_t i = 0; i < run->n; i++) {
		char name[32];

		snprintf(name, sizeof(name), "%" PRId64, run->task[i].number);
		replay_add(run->replay, name, NULL, (int32_t)run->task[i].prompt_tokens,
			   (int32_t)run->task[i].output_tokens, 0);
	}
}

/* ---- a batch, from both sides ---- */

static void describe_launches(struct llama_run *run, struct buf *b)
{
	buf_puts(b, "launched");
	for (size_t i = 0; i < run->n; i++) {
		const struct genreq *r = run->replay->req[i];

		if (run->task[i].launched || r->state == GENREQ_QUEUED)
			continue;
		run->task[i].launched = true;
		buf_printf(b, " %s in %d", r->name, r->slot.place);
	}
}

static void describe_plan(struct llama_run *run, struct buf *b)
{
	const struct step_plan *p = &run->replay->plan;

	describe_launches(run, b);
	for (int prefill = 0; prefill < 2; prefill++) {
		buf_puts(b, prefill ? "; prompt" : "; decode");
		for (int32_t i = 0; i < p->n_items; i++) {
			const struct step_item *it = &p->item[i];

			if (it->prefill != prefill)
				continue;
			buf_printf(b, " %d:%s@%d", it->req->slot.place, it->req->name,
				   it->computed);
			if (prefill)
				buf_printf(b, "-%d", it->computed + it->n_tokens);
		}
	}
}

static void recorded_launches(const struct llama_run *run, int64_t t_us, struct buf *b)
{
	buf_puts(b, "launched");
	for (size_t i = 0; i < run->n; i++) {
		const struct task *k = &run->task[i];

		if (k->launched_us > run->last_us && k->launched_us <= t_us)
			buf_printf(b, " %" PRId64 " in %" PRId64, k->number, k->slot);
	}
}

/* [slot, task, from] or [slot, task, from, to]. */
static bool recorded_items(const cJSON *items, const char *what, int fields, struct buf *b)
{
	const cJSON *item;

	buf_puts(b, what);
	cJSON_ArrayForEach(item, items)
	{
		if (cJSON_GetArraySize(item) != fields)
			return false;
		for (int f = 0; f < fields; f++) {
			const cJSON *v = cJSON_GetArrayItem(item, f);

			if (!cJSON_IsNumber(v))
				return false;
			buf_printf(b, "%c%d", " :@-"[f], v -> valueint);
		}
	}
	return true;
}

static void compare(struct llama_run *run, const struct buf *want, int64_t t_us)
{
	struct replay *r = run->replay;
	size_t visible = r->fed;
	struct buf got;

	buf_init(&got, LINE_BYTES);
	while (visible < run->n && run->batch[visible] <= run->batches)
		visible++;
	replay_feed(r, visible);
	if (replay_plan(r)) {
		describe_plan(run, &got);
		replay_commit(r, r->plan.start_ns + 1);
	} else {
		buf_puts(&got, "nothing");
	}
	run->batches++;
	if (buf_size(&got) == buf_size(want) &&
	    !memcmp(buf_head(&got), buf_head(want), buf_size(&got)))
		run->equal++;
	else if (run->equal == run->batches - 1)
		printf("batch %" PRId64 ", at %" PRId64
		       " us, is the first that differs\nrecorded: %.*s\nplanned:  %.*s\n",
		       run->batches - 1, t_us, (int)buf_size(want), buf_head(want),
		       (int)buf_size(&got), buf_head(&got));
	buf_release(&got);
}

static enum rc compare_batch(const cJSON *v, void *arg, struct err *e)
{
	struct llama_run *run = arg;
	const cJSON *decode = NULL, *prompt = NULL;
	int64_t t_us = 0;
	struct buf want;
	enum rc rc = RC_OK;

	if (json_get_int(v, "", "t_us", 0, INT64_MAX, &t_us, e) ||
	    json_get_array(v, "", "decode", &decode, e) ||
	    json_get_array(v, "", "prompt", &prompt, e))
		return e->rc;
	buf_init(&want, LINE_BYTES);
	recorded_launches(run, t_us, &want);
	if (recorded_items(decode, "; decode", 3, &want) &&
	    recorded_items(prompt, "; prompt", 4, &want))
		compare(run, &want, t_us);
	else
		rc = err_set(e, RC_INPUT,
			     "want decode [[slot, task, from]], prompt [[slot, task, from, to]]");
	run->last_us = t_us;
	buf_release(&want);
	return rc;
}

static enum rc replay_folder(struct llama_run *run, const char *dir, const struct opt_list *late,
			     struct err *e)
{
	char path[REPLAY_PATH_BYTES];
	enum rc rc = read_tasks(run, replay_path(path, dir, "tasks.csv"), e);

	for (size_t i = 0; rc == RC_OK && i < late->n; i++)
		rc = queue_later(run, late->item[i], e);
	if (rc != RC_OK)
		return rc;
	add_requests(run);
	return replay_each_line(replay_path(path, dir, "steps.jsonl"), compare_batch, run, e);
}

int main(int argc, char **argv)
{
	struct opt_list late = {0};
	const struct opt_spec own[] = {
		{.kind = OPT_LIST,
		 .name = "late",
		 .out = &late,
		 .arg = "TASK",
		 .help = "it was queued behind the task numbered next; may be repeated"},
		{0},
	};
	struct replay r;
	struct llama_run run = {.replay = &r, .last_us = -1};
	const char *dir;
	struct err e;
	int code;

	if (!replay_open(&r, &sched_llamacpp, own, usage, argc, argv, &dir, &code))
		goto out;
	if (replay_folder(&run, dir, &late, &e) != RC_OK) {
		code = replay_fail(&e);
		goto out;
	}
	printf("%" PRId64 " of %" PRId64 " batches equal\n", run.equal, run.batches);
	code = run.batches && run.equal == run.batches ? 0 : 1;
out:
	free(run.task);
	free(run.batch);
	opt_list_release(&late);
	replay_close(&r);
	return code;
}

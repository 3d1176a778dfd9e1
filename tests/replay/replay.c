/*
 * Owns a policy and the requests of a recording. Must not know what was recorded or what is
 * compared.
 */
#include "replay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"

#define HELP_BYTES 65536
#define FILE_BYTES ((size_t)1 << 30)

/* A knob as an option: its value lands as text-checked int64 or double, and travels on as double.
 */
struct knob_option {
	char name[64];
	int64_t whole;
	bool seen;
};

static bool is_whole(const struct knob *k)
{
	return k->kind != KNOB_REAL;
}

static void knob_to_spec(const struct knob *k, struct knob_option *o, double *real,
			 struct opt_spec *spec)
{
	CHECK(strlen(k->name) < sizeof(o->name));
	for (size_t i = 0; k->name[i]; i++)
		o->name[i] = k->name[i];
	for (char *c = o->name; *c; c++)
		if (*c == '_')
			*c = '-';
	*spec = (struct opt_spec){
		.kind = is_whole(k) ? OPT_INT : OPT_NUM,
		.name = o->name,
		.out = is_whole(k) ? (void *)&o->whole : real,
		.arg = "N",
		.help = k->help,
		.min = k->min,
		.max = k->max,
		.seen = &o->seen,
	};
}

static int print_help(const char *usage, const struct opt_spec *specs)
{
	struct buf b;

	buf_init(&b, HELP_BYTES);
	if (opt_help(&b, usage, specs, NULL))
		fwrite(buf_head(&b), 1, buf_size(&b), stdout);
	buf_release(&b);
	return 0;
}

bool replay_open(struct replay *r, const struct sched_type *policy, const struct opt_spec *own,
		 const char *usage, int argc, char *const *argv, const char **path, int *code)
{
	struct opt_spec specs[SCHED_MAX_KNOBS + 16] = {{0}};
	struct knob_option options[SCHED_MAX_KNOBS] = {{{0}, 0, false}};
	double values[SCHED_MAX_KNOBS];
	struct opt_list operands = {0};
	bool help = false;
	size_t n = 0;
	struct err e;

	memset(r, 0, sizeof(*r));
	r->policy = policy;
	step_plan_init(&r->plan);
	sched_defaults(policy, values);
	specs[n++] = (struct opt_spec){
		.kind = OPT_FLAG, .name = "help", .out = &help, .help = "this text"};
	for (; own->name; own++) {
		CHECK(n + SCHED_MAX_KNOBS + 1 < ARRAY_LEN(specs));
		specs[n++] = *own;
	}
	for (int i = 0; policy->knobs[i].name; i++)
		knob_to_spec(&policy->knobs[i], &options[i], &values[i], &specs[n++]);
	*code = 2;
	if (opt_parse(specs, argc, argv, &operands, &e) != RC_OK) {
		replay_fail(&e);
		goto out;
	}
	if (help || operands.n != 1) {
		*code = help ? print_help(usage, specs) : 2;
		if (!help)
			fprintf(stderr, "%s\n", usage);
		goto out;
	}
	*path = operands.item[0];
	if (access(*path, R_OK) < 0) {
		printf("skipped: %s: %s\n", *path, strerror(errno));
		*code = REPLAY_SKIPPED;
		goto out;
	}
	for (int i = 0; policy->knobs[i].name; i++)
		if (is_whole(&policy->knobs[i]) && options[i].seen)
			values[i] = (double)options[i].whole;
	if (policy->open(&r->sched, values, -1, &e) != RC_OK)
		replay_fail(&e);
out:
	opt_list_release(&operands);
	return r->sched != NULL;
}

void replay_close(struct replay *r)
{
	if (r->sched)
		r->policy->close(r->sched);
	for (size_t i = 0; i < r->n; i++)
		genreq_free(r->req[i]);
	free(r->req);
	free(r->token);
	step_plan_release(&r->plan);
}

/* Tokens of request i that nobody else has. They may repeat after a while, but never at the start
 * of a prompt. */
static int32_t own_token(uint64_t i, int32_t position)
{
	return (int32_t)((i * 100003 + (uint64_t)position) & INT32_MAX);
}

struct genreq *replay_add(struct replay *r, const char *name, const int32_t *tokens,
			  int32_t n_prompt, int32_t output_tokens, int64_t arrival_ns)
{
	int32_t *made = NULL;
	struct genreq *q;

	if (r->n == r->cap) {
		r->cap = r->cap ? 2 * r->cap : 256;
		r->req = xreallocarray(r->req, r->cap, sizeof(struct genreq *));
	}
	if (!tokens) {
		tokens = made = xreallocarray(NULL, (size_t)n_prompt, sizeof(*made));
		for (int32_t i = 0; i < n_prompt; i++)
			made[i] = own_token(r->n, i);
	}
	q = genreq_new(r->n, name, tokens, n_prompt, output_tokens);
	q->arrival_ns = q->ready_ns = arrival_ns;
	r->req[r->n++] = q;
	free(made);
	return q;
}

void replay_feed(struct replay *r, size_t visible)
{
	for (; r->fed < visible && r->fed < r->n; r->fed++)
		r->policy->add(r->sched, r->req[r->fed]);
}

bool replay_plan(struct replay *r)
{
	struct sched_stats before, after;
	bool planned;

	r->policy->stats(r->sched, &before);
	step_plan_clear(&r->plan);
	planned = r->policy->plan(r->sched, &r->plan);
	r->policy->stats(r->sched, &after);
	r->admitted = after.running - before.running + r->plan.n_preempted;
	return planned;
}

void replay_commit(struct replay *r, int64_t end_ns)
{
	struct step_plan *p = &r->plan;

	if (r->cap_token < p->n_items) {
		r->cap_token = p->cap_items;
		r->token = xreallocarray(r->token, (size_t)r->cap_token, sizeof(*r->token));
	}
	for (int32_t i = 0; i < p->n_items; i++)
		r->token[i] = own_token(p->item[i].req->id, p->item[i].req->n_tokens);
	r->policy->commit(r->sched, p, r->token, end_ns);
	for (int32_t i = 0; i < p->n_items; i++)
		r->finished += p->item[i].req->state == GENREQ_DONE;
}

const char *replay_path(char path[REPLAY_PATH_BYTES], const char *dir, const char *file)
{
	snprintf(path, REPLAY_PATH_BYTES, "%s/%s", dir, file);
	return path;
}

enum rc replay_each_line(const char *path,
			 enum rc (*each)(const cJSON *v, void *arg, struct err *e), void *arg,
			 struct err *e)
{
	struct buf text;
	enum rc rc;

	buf_init(&text, FILE_BYTES);
	rc = (enum rc)buf_read_file(&text, path, e);
	for (int line = 1; rc == RC_OK && buf_size(&text); line++) {
		const char *end = memchr(buf_head(&text), '\n', buf_size(&text));
		size_t len = end ? (size_t)(end - buf_head(&text)) : buf_size(&text);
		cJSON *v = NULL;

		rc = json_parse(&v, buf_head(&text), len, e);
		if (rc == RC_OK)
			rc = each(v, arg, e);
		if (rc != RC_OK)
			err_prefix(e, "%s:%d: ", path, line);
		cJSON_Delete(v);
		buf_consume(&text, end ? len + 1 : len);
	}
	buf_release(&text);
	return rc;
}

int replay_fail(const struct err *e)
{
	fprintf(stderr, "%s\n", e->msg);
	return 2;
}

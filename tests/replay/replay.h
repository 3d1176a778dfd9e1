/*
 * What the replay programs share: a policy whose knobs are command-line options of the same names
 * (--max-num-seqs 16), a row of requests that are fed to it in order, and steps that end when the
 * caller says so.
 */
#ifndef REPLAY_H
#define REPLAY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/jsonx.h"
#include "base/opt.h"
#include "serve/executor.h"
#include "serve/sched.h"

#define REPLAY_SKIPPED	  77 /* exit code: there is no such recording here */
#define REPLAY_PATH_BYTES 4096

struct replay {
	const struct sched_type *policy;
	struct sched *sched;
	struct genreq **req; /* in order of arrival; owned */
	size_t n, cap;
	size_t fed, finished;
	struct step_plan plan;
	int32_t admitted; /* the last so many items of the plan were not running before it */
	int32_t *token;
	int32_t cap_token;
};

/* Reads argv: `own` (ends with {0}) are the program's options, every knob of the policy is one
 * more; exactly one operand, the recording, goes to *path. Opens the policy. Prints help, and what
 * is wrong: false says to exit with *code then. */
bool replay_open(struct replay *r, const struct sched_type *policy, const struct opt_spec *own,
		 const char *usage, int argc, char *const *argv, const char **path, int *code);
void replay_close(struct replay *r);

/* A request behind those that are there. tokens NULL: a prompt that shares no prefix with any
 * other. Its answer has exactly output_tokens, which no other answer shares. */
struct genreq *replay_add(struct replay *r, const char *name, const int32_t *tokens,
			  int32_t n_prompt, int32_t output_tokens, int64_t arrival_ns);

/* Lets the policy see the first `visible` requests. */
void replay_feed(struct replay *r, size_t visible);

/* The next step into r->plan; false if there is nothing to do. Then its end. */
bool replay_plan(struct replay *r);
void replay_commit(struct replay *r, int64_t end_ns);

/* dir/file, put into path and returned. */
const char *replay_path(char path[REPLAY_PATH_BYTES], const char *dir, const char *file);

/* Calls each() with the value of every line of a JSON Lines file. */
enum rc replay_each_line(const char *path,
			 enum rc (*each)(const cJSON *v, void *arg, struct err *e), void *arg,
			 struct err *e);

/* Exit code for an error: prints it. */
int replay_fail(const struct err *e);

#endif

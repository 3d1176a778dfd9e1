/*
 * Prompt sets: bytes in, conversations out. Pure; fuzzed. One row a format, found by what the file
 * holds, not by its name:
 *
 *   lima          {"conversations": ["user's", "assistant's", ...]}
 *   sharegpt      {"conversations": [{"from": "human" | "gpt" | "system", "value": ...}, ...]}
 *   mt-bench      {"turns": ["user's", ...], "reference": ["assistant's", ...]?}; vicuna-bench too
 *   openai-batch  {"body": {"messages": [...]} or {"prompt": ...}}
 *   custom        {"prompt": ..., "output_tokens": N?}, as vLLM's bench takes it
 *   csv           a column `prompt`, and perhaps one `output_tokens`
 *   plain         a prompt a line, empty lines skipped
 *
 * The JSON ones come as an object a line or as one array of objects.
 */
#ifndef LOADGEN_PROMPTS_H
#define LOADGEN_PROMPTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "message.h"
#include "scenario.h"

/* What a user says, and how long the set's own answer to it is. */
struct turn {
	char *text;
	size_t len;
	int32_t reference_tokens; /* as the record says in tokens, else the words of the answer *
				   * 1.35 rounded; 0 = the set has no answer */
};

struct prompt {
	struct message *lead; /* said before the first turn: a system prompt, a history */
	size_t n_lead;
	struct turn *turn; /* at least one */
	size_t n_turns;
};

struct prompt_set {
	struct prompt *v;
	size_t n;
	size_t skipped; /* ShareGPT conversations in which no human says anything */
};

/* Of format: auto. RC_INPUT for JSON of another shape, for nobody wants braces asked by accident.
 */
enum rc prompts_detect(const char *name, const char *text, size_t len, enum prompt_format *out,
		       struct err *e);

/* Fills a zeroed set; what stands there after an error is the caller's to release too. `name` and
 * the line, from 1, stand in messages. */
enum rc prompts_parse(struct prompt_set *out, enum prompt_format format, const char *name,
		      const char *text, size_t len, struct err *e);
void prompts_release(struct prompt_set *set);

#endif

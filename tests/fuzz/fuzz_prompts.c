/*
 * Prompt files: any bytes are prompts or one line with a place, in every format; a prompt is never
 * empty, is whole UTF-8 and holds as many bytes as it says.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/utf8.h"
#include "loadgen/prompts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_text(const char *s, size_t len)
{
	uint32_t cp;

	CHECK(strlen(s) == len);
	for (size_t k = 0, step; k < len; k += step) {
		step = utf8_decode(s + k, len - k, &cp);
		CHECK(step);
	}
}

static void check_prompt(const struct prompt *p)
{
	CHECK(p->n_turns > 0);
	for (size_t i = 0; i < p->n_lead; i++)
		check_text(p->lead[i].text, p->lead[i].len);
	for (size_t i = 0; i < p->n_turns; i++) {
		CHECK(p->turn[i].len > 0 && p->turn[i].reference_tokens >= 0);
		check_text(p->turn[i].text, p->turn[i].len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	enum prompt_format format;
	struct err e;

	if (prompts_detect("f", text, size, &format, &e) == RC_OK)
		CHECK(format > PROMPTS_AUTO && format <= PROMPTS_PLAIN);
	for (int f = PROMPTS_AUTO + 1; f <= PROMPTS_PLAIN; f++) {
		struct prompt_set set = {0};

		e.msg[0] = '\0';
		if (prompts_parse(&set, (enum prompt_format)f, "f", text, size, &e) != RC_OK)
			CHECK(strncmp(e.msg, "f:", 2) == 0);
		for (size_t i = 0; i < set.n; i++)
			check_prompt(&set.v[i]);
		prompts_release(&set);
	}
	return 0;
}

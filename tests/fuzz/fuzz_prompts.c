/*
 * Prompt files: any bytes are prompts or one line with a place, in every format; a prompt is never
 * empty, is whole UTF-8 and holds as many bytes as it says.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/utf8.h"
#include "loadgen/workload.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_prompts(const struct prompt *p, size_t n)
{
	uint32_t cp;

	for (size_t i = 0; i < n; i++) {
		CHECK(p[i].len > 0 && strlen(p[i].text) == p[i].len);
		CHECK(p[i].reference_tokens >= 0);
		for (size_t k = 0, step; k < p[i].len; k += step) {
			step = utf8_decode(p[i].text + k, p[i].len - k, &cp);
			CHECK(step);
		}
	}
}

static void parse(enum rc (*parser)(const char *, const char *, size_t, struct prompt **, size_t *,
				    struct err *),
		  const char *text, size_t size)
{
	struct prompt *p = NULL;
	size_t n = 0;
	struct err e = {.msg = ""};

	if (parser("f", text, size, &p, &n, &e) != RC_OK)
		CHECK(strncmp(e.msg, "f:", 2) == 0);
	check_prompts(p, n);
	prompts_free(p, n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data;
	enum prompt_format format;
	struct err e;

	if (prompts_detect("f", text, size, &format, &e) == RC_OK)
		CHECK(format == PROMPTS_LIMA || format == PROMPTS_PLAIN);
	parse(prompts_parse_lima, text, size);
	parse(prompts_parse_plain, text, size);
	return 0;
}

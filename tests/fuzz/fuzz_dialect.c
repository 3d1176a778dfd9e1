/*
 * Any bytes as an event and as a whole answer: the fast and the slow reading of an event are one,
 * and what is read makes sense.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "loadgen/dialect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct reading *r)
{
	CHECK(!r->has_output || r->has_token);
	CHECK(!r->has_token || r->is_chunk);
	CHECK(!r->done || (!r->is_chunk && !r->is_error));
	CHECK(r->is_error == (r->error[0] != '\0'));
	CHECK(r->prompt_tokens >= -1 && r->output_tokens >= -1);
	CHECK(!strchr(r->error, '\n'));
}

static void check_same(const struct reading *a, const struct reading *b)
{
	CHECK(a->is_chunk == b->is_chunk && a->has_token == b->has_token);
	CHECK(a->has_output == b->has_output && a->done == b->done);
	CHECK(strcmp(a->finish_reason, b->finish_reason) == 0);
	CHECK(a->prompt_tokens == b->prompt_tokens && a->output_tokens == b->output_tokens);
	CHECK(a->is_error == b->is_error && strcmp(a->error, b->error) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sse_event ev = {(const char *)data, size, ""};
	struct reading fast = {0}, slow = {0}, body = {0};
	struct buf text;
	enum rc rc;

	buf_init(&text, 64u << 20);
	rc = dialect_openai_chat.read_event(&ev, &fast, NULL, NULL);
	CHECK(dialect_openai_chat.read_event(&ev, &slow, &text, NULL) == rc);
	check_same(&fast, &slow);
	if (rc == RC_OK)
		check(&fast);
	ev.type = "error";
	dialect_openai_chat.read_event(&ev, &slow, NULL, NULL);
	if (dialect_openai_completions.read_body(ev.data, ev.len, &body, &text, NULL) == RC_OK)
		check(&body);
	buf_release(&text);
	return 0;
}

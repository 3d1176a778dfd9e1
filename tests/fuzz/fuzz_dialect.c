/*
 * Any bytes as an event and as a whole answer, to every dialect: what is read makes sense, and the
 * fast and the slow reading of OpenAI's events are one.
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

static void read_twice(const struct sse_event *ev)
{
	struct reading fast = {0}, slow = {0};
	struct buf text;
	enum rc rc;

	buf_init(&text, 64u << 20);
	rc = dialect_openai_chat.read_event(ev, &fast, NULL, NULL);
	CHECK(dialect_openai_chat.read_event(ev, &slow, &text, NULL) == rc);
	check_same(&fast, &slow);
	CHECK(!fast.done || (!fast.is_chunk && !fast.is_error));
	buf_release(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sse_event ev = {(const char *)data, size, ""};

	read_twice(&ev);
	for (int i = 0; dialects[i]; i++) {
		struct reading event = {0}, failure = {0}, body = {0};
		struct buf text;

		buf_init(&text, 64u << 20);
		ev.type = "";
		if (dialects[i]->read_event(&ev, &event, &text, NULL) == RC_OK)
			check(&event);
		ev.type = "error";
		if (dialects[i]->read_event(&ev, &failure, NULL, NULL) == RC_OK)
			check(&failure);
		if (dialects[i]->read_body(ev.data, ev.len, &body, &text, NULL) == RC_OK)
			check(&body);
		buf_release(&text);
	}
	return 0;
}

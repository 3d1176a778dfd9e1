/*
 * Scenarios: any bytes load or are refused in one line; what loads is emitted, and that loads again
 * to the same text. An input may name files and variables of the machine: they are only read.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "loadgen/scenario.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_OUT_BYTES (64u << 20)

static void check_message(const struct err *e)
{
	CHECK(*e->msg);
	CHECK(!strchr(e->msg, '\n'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scenario *s = NULL, *again = NULL;
	struct buf first, second;
	struct err e = {.msg = ""};

	if (scenario_parse(&s, "f.yaml", (const char *)data, size, NULL, NULL, &e) != RC_OK) {
		CHECK(!s);
		check_message(&e);
		return 0;
	}
	CHECK(s->n_targets > 0 && s->n_levels > 0);
	buf_init(&first, MAX_OUT_BYTES);
	buf_init(&second, MAX_OUT_BYTES);
	CHECK(scenario_emit(s, &first));
	CHECK(scenario_parse(&again, "f.yaml", buf_head(&first), buf_size(&first), NULL, NULL,
			     &e) == RC_OK);
	CHECK(scenario_emit(again, &second));
	CHECK(buf_size(&first) == buf_size(&second) &&
	      memcmp(buf_head(&first), buf_head(&second), buf_size(&first)) == 0);
	buf_release(&first);
	buf_release(&second);
	scenario_free(again);
	scenario_free(s);
	return 0;
}

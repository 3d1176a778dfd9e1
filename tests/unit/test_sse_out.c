/*
 * Prepared events, filled in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/check.h"
#include "serve/sse_out.h"

static void test_fill(void **state)
{
	static const struct {
		struct sse_values v;
		const char *want;
	} rows[] = {
		{{"a", 1, 12, 3}, "data: {\"t\":\"a\",\"total\":12,\"out\":3}\n\n"},
		{{"", 0, 0, 0}, "data: {\"t\":\"\",\"total\":0,\"out\":0}\n\n"},
		{{"\"\\\n\x01", 4, INT64_MAX, 10},
		 "data: "
		 "{\"t\":\"\\\"\\\\\\n\\u0001\",\"total\":9223372036854775807,\"out\":10}\n\n"},
		{{"\xe4\xbd\xa0", 3, 1, 1},
		 "data: {\"t\":\"\xe4\xbd\xa0\",\"total\":1,\"out\":1}\n\n"},
		{{"\xff", 1, 1, 1}, "data: {\"t\":\"\xef\xbf\xbd\",\"total\":1,\"out\":1}\n\n"},
	};
	struct sse_template t;
	struct buf b;

	(void)state;
	sse_template_init(&t);
	buf_puts(&t.text, "data: {\"t\":\"");
	sse_hole(&t, SSE_TEXT);
	buf_puts(&t.text, "\",\"total\":");
	sse_hole(&t, SSE_TOTAL);
	buf_puts(&t.text, ",\"out\":");
	sse_hole(&t, SSE_COMPLETION);
	buf_puts(&t.text, "}\n\n");
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		buf_init(&b, 4096);
		assert_true(sse_fill(&t, &rows[i].v, &b));
		assert_string_equal(buf_cstr(&b), rows[i].want);
		buf_release(&b);
	}
	buf_init(&b, 20);
	assert_false(sse_fill(&t, &rows[0].v, &b)); /* the cap of the buffer is respected */
	buf_release(&b);
	sse_template_release(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

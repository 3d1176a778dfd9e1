/*
 * Any bytes as JSON: what is taken prints and reads back as the same tree, compact and pretty; any
 * bytes at all are escaped to a string that is JSON.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/jsonx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *print(const cJSON *v, bool pretty)
{
	struct buf b;

	buf_init(&b, 64 << 20);
	CHECK(json_print(&b, v, pretty));
	return buf_take(&b);
}

/* The first printing mends what is no UTF-8 and what is no finite number; from then on nothing
 * changes. */
static void check_printing(const cJSON *v)
{
	char *text = print(v, false), *pretty, *again;
	struct err e;
	cJSON *w, *x;

	CHECK(json_parse(&w, text, strlen(text), &e) == RC_OK);
	pretty = print(w, true);
	CHECK(json_parse(&x, pretty, strlen(pretty), &e) == RC_OK);
	again = print(x, false);
	CHECK(strcmp(text, again) == 0);
	free(text);
	free(pretty);
	free(again);
	cJSON_Delete(w);
	cJSON_Delete(x);
}

static void check_getters(const cJSON *v)
{
	const char *s = NULL;
	const cJSON *sub = NULL;
	int64_t i = 0;
	double x = 0;
	bool b = false;
	struct err e;

	json_get_bool(v, "p", "a", &b, &e);
	json_get_int(v, "p", "a", INT64_MIN, INT64_MAX, &i, &e);
	json_get_num(v, "p", "a", 0, 1, &x, &e);
	json_get_str(v, "p", "a", &s, &e);
	json_get_array(v, "p", "a", &sub, &e);
	json_get_object(v, "p", "a", &sub, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf b;
	struct err e;
	cJSON *v;

	if (json_parse(&v, (const char *)data, size, &e) == RC_OK) {
		check_printing(v);
		check_getters(v);
		cJSON_Delete(v);
	} else {
		CHECK(!v && strstr(e.msg, "line ") && strstr(e.msg, "column "));
	}

	buf_init(&b, 64 << 20);
	CHECK(buf_putc(&b, '"') && json_escape(&b, (const char *)data, size) && buf_putc(&b, '"'));
	CHECK(json_parse(&v, buf_head(&b), buf_size(&b), &e) == RC_OK);
	cJSON_Delete(v);
	buf_release(&b);
	return 0;
}

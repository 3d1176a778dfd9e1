/*
 * Any bytes as CSV: a table has all its fields, whole numbers of rows, and leaving out a torn tail
 * only ever shortens what a strict reading gives.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/csv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const struct csv_table *t)
{
	struct err e;
	int64_t n;
	double x;
	int col;

	for (size_t i = 0; i < csv_columns(t); i++) {
		CHECK(csv_need(t, csv_column_name(t, i), &col, &e) == RC_OK);
		CHECK((size_t)col == i);
	}
	for (size_t r = 0; r < csv_rows(t); r++) {
		for (int c = 0; c < (int)csv_columns(t); c++) {
			CHECK(strlen(csv_field(t, r, c)) < SIZE_MAX);
			csv_field_int(t, r, c, 0, &n, &e);
			csv_field_num(t, r, c, 0, &x, &e);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct csv_table *strict, *torn;
	struct err e;

	csv_parse(&strict, "strict", (const char *)data, size, false, &e);
	csv_parse(&torn, "torn", (const char *)data, size, true, &e);
	if (strict) {
		/* at most the last row is missing: one without a newline */
		CHECK(torn && csv_rows(torn) <= csv_rows(strict) &&
		      csv_rows(torn) + 1 >= csv_rows(strict));
		use(strict);
	}
	if (torn)
		use(torn);
	csv_table_free(strict);
	csv_table_free(torn);
	return 0;
}

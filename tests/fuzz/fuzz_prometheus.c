/*
 * Any bytes as a metrics page: every name comes at most once, with a number.
 */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "loadgen/scrape.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *last;

static void on_value(void *arg, int64_t t_ns, const char *name, double value)
{
	int *n = arg;

	CHECK(t_ns == 1 && !isnan(value) && ++*n <= 8);
	CHECK(!last || strcmp(last, name) != 0);
	last = name;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *exact = malloc(size ? size : 1); /* nothing behind the page may be read */
	int n = 0;

	CHECK(exact);
	if (size > 0)
		memcpy(exact, data, size);
	last = NULL;
	scrape_parse(exact, size, on_value, &n, 1);
	free(exact);
	return 0;
}

/*
 * Expected output as a file under tests/golden/. UPDATE_GOLDENS=1 in the environment writes it
 * anew: look at the difference before committing it.
 */
#ifndef TESTS_GOLDEN_H
#define TESTS_GOLDEN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/die.h"
#include "base/err.h"

static inline void golden_check(const char *name, const char *text, size_t len)
{
	char *path = xasprintf("%s/tests/golden/%s", SOURCE_DIR, name);
	const char *update = getenv("UPDATE_GOLDENS");
	struct buf want;
	struct err e;
	FILE *f;

	if (update && strcmp(update, "1") == 0) {
		f = fopen(path, "w");
		assert_non_null(f);
		assert_int_equal(fwrite(text, 1, len, f), len);
		assert_int_equal(fclose(f), 0);
	}
	buf_init(&want, 16u << 20);
	if (buf_read_file(&want, path, &e) != RC_OK)
		fail_msg("%s (UPDATE_GOLDENS=1 writes it)", e.msg);
	if (buf_size(&want) != len || memcmp(buf_head(&want), text, len) != 0) {
		size_t at = 0, line = 1;

		while (at < len && at < buf_size(&want) && text[at] == buf_head(&want)[at])
			line += text[at++] == '\n';
		fail_msg("%s:%zu differs (UPDATE_GOLDENS=1 writes it anew); got:\n%.*s", path, line,
			 (int)len, text);
	}
	buf_release(&want);
	free(path);
}

#endif

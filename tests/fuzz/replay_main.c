/*
 * Stands in for libFuzzer where it is not built in: every file of the folders and files in argv
 * goes to the fuzz target once. No file at all is a failure, so that a lost corpus does not pass
 * for a clean one.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/die.h"
#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t inputs;

static void feed_file(const char *path)
{
	struct buf b;
	struct err e;
	uint8_t *exact;
	size_t n;

	buf_init(&b, 16 << 20);
	if (buf_read_file(&b, path, &e) != RC_OK)
		die("%s", e.msg);
	/* A copy without a byte to spare: a sanitizer then sees the first one read too many. */
	n = buf_size(&b);
	exact = xmalloc(n ? n : 1);
	if (n)
		memcpy(exact, buf_head(&b), n);
	buf_release(&b);
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	inputs++;
}

static int visible(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static void feed_folder(const char *path)
{
	struct dirent **entry;
	int n = scandir(path, &entry, visible, alphasort);

	if (n < 0)
		die("%s: %s", path, strerror(errno));
	for (int i = 0; i < n; i++) {
		char *file = xasprintf("%s/%s", path, entry[i]->d_name);

		feed_file(file);
		free(file);
		free(entry[i]);
	}
	free(entry);
}

int main(int argc, char **argv)
{
	struct stat st;

	for (int i = 1; i < argc; i++) {
		if (stat(argv[i], &st) < 0)
			die("%s: %s", argv[i], strerror(errno));
		if (S_ISDIR(st.st_mode))
			feed_folder(argv[i]);
		else
			feed_file(argv[i]);
	}
	printf("%zu inputs\n", inputs);
	return inputs ? 0 : 1;
}

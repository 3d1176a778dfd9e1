/*
 * Owns the end of a program that has caught itself in an error. Any thread. Calls nothing that
 * could allocate, lock or fail in turn: the process is known to be broken when this runs.
 */
#include "check.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void check_failed(const char *file, int line, const char *expression)
{
	char text[2048];
	int n = snprintf(text, sizeof(text), "%.256s: %.512s:%d: check failed: %.1024s\n",
			 program_invocation_short_name, file, line, expression);

	if (write(STDERR_FILENO, text, (size_t)n) < 0) {
		/* nobody can be told; the core file still shows it */
	}
	abort();
}

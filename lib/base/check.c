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
	char text[1024];
	int n = snprintf(text, sizeof(text), "%s: %s:%d: check failed: %s\n",
			 program_invocation_short_name, file, line, expression);

	if (n >= (int)sizeof(text)) {
		n = sizeof(text) - 1;
		text[n - 1] = '\n';
	}
	if (n > 0 && write(STDERR_FILENO, text, (size_t)n) < 0) {
		/* nobody can be told; the core file still can */
	}
	abort();
}

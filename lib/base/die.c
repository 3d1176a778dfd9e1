/*
 * Owns the program's name, its early end, and the allocators that end it rather than return NULL.
 * Any thread, but for die_set_program(), which main calls before it starts another.
 */
#include "die.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"

static const char *program;

void die_set_program(const char *name)
{
	const char *slash = strrchr(name, '/');

	program = slash ? slash + 1 : name;
}

const char *die_program(void)
{
	return program ? program : program_invocation_short_name;
}

/*
 * fflush() and _exit() rather than exit(). Rows that were already written to a stream are kept; no
 * exit handler runs, neither a library's, which may need the memory or the device that is not
 * there, nor a leak checker's, which would report what was in use at this moment and replace the
 * exit code.
 */
void die(const char *fmt, ...)
{
	char message[3584], line[4096];
	va_list ap;
	int n;

	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	n = snprintf(line, sizeof(line), "%.256s: %s\n", die_program(), message);
	if (write(STDERR_FILENO, line, (size_t)n) < 0) {
		/* the exit code has to do */
	}
	fflush(NULL);
	_exit(2);
}

static void *need(void *p, size_t n, size_t size)
{
	if (!p)
		die("out of memory: %zu x %zu bytes", n, size);
	return p;
}

/* Never 0: malloc(0) and its kin may return NULL or not. */
static size_t product(size_t n, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(n, size, &bytes))
		die("out of memory: %zu x %zu bytes", n, size);
	return bytes ? bytes : 1;
}

void *xmalloc(size_t size)
{
	return need(malloc(product(1, size)), 1, size);
}

void *xcalloc(size_t n, size_t size)
{
	return need(calloc(1, product(n, size)), n, size);
}

void *xreallocarray(void *p, size_t n, size_t size)
{
	return need(realloc(p, product(n, size)), n, size);
}

char *xstrdup(const char *s)
{
	return need(strdup(s), strlen(s) + 1, 1);
}

char *xstrndup(const char *s, size_t n)
{
	return need(strndup(s, n), n, 1);
}

char *xasprintf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return need(n < 0 ? NULL : s, 1, strlen(fmt));
}

/*
 * Owns the lines on stderr: their level, their prefix, and that each leaves in one write(2), so
 * that lines of several processes on one terminal or pipe do not mix. Any thread may log; the level
 * and the hooks are set, and the hooks are run, as if there were only one.
 */
#include "log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "die.h"

#define LINE_BYTES 4096 /* PIPE_BUF: a longer write to a pipe need not be in one piece */
#define MESSAGE_BYTES                                                                              \
	3584 /* longer ones are cut, so that a line always has room for its prefix                 \
	      */

static enum log_level max_level = LOG_INFO;
static void (*before_line)(void *arg), (*after_line)(void *arg);
static void *hooks_arg;

void log_set_level(enum log_level level)
{
	max_level = level;
}

void log_set_hooks(void (*before)(void *arg), void (*after)(void *arg), void *arg)
{
	before_line = before;
	after_line = after;
	hooks_arg = arg;
}

static const char *label(enum log_level level)
{
	switch (level) {
	case LOG_ERROR:
		return "error: ";
	case LOG_WARN:
		return "warning: ";
	case LOG_INFO:
		return "";
	case LOG_DEBUG:
		return "debug: ";
	}
	return "";
}

/* One call as a rule; more only where the kernel took a part. */
static void write_line(const char *line, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, line, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		line += n;
		len -= (size_t)n;
	}
}

void log_at(enum log_level level, const char *fmt, ...)
{
	int saved = errno; /* the caller may log first and look at errno then */
	char message[MESSAGE_BYTES], line[LINE_BYTES];
	va_list ap;
	int n;

	if (level > max_level)
		return;
	va_start(ap, fmt);
	vsnprintf(message, sizeof(message), fmt, ap);
	va_end(ap);
	n = snprintf(line, sizeof(line), "%.256s: %s%s\n", die_program(), label(level), message);
	if (before_line)
		before_line(hooks_arg);
	write_line(line, (size_t)n);
	if (after_line)
		after_line(hooks_arg);
	errno = saved;
}

/*
 * Lines for a person, on stderr. stdout belongs to results. A progress line that rewrites itself
 * registers a hook, so that a log line never lands in the middle of it. Not for hot paths.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

void log_set_level(enum log_level level); /* default LOG_INFO */

/* before runs ahead of each line, after behind it; NULL for none. */
void log_set_hooks(void (*before)(void *arg), void (*after)(void *arg), void *arg);

/* "program: error: ...", "program: warning: ...", "program: ..." and "program: debug: ..." +
 * newline, one write(2). */
void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_at(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  log_at(LOG_WARN, __VA_ARGS__)
#define log_info(...)  log_at(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_at(LOG_DEBUG, __VA_ARGS__)

#endif

/*
 * A stream takes an open file, and a process may have only so many (RLIMIT_NOFILE).
 */
#ifndef LOADGEN_FILE_LIMIT_H
#define LOADGEN_FILE_LIMIT_H

#include "base/err.h"
#include "scenario.h"

/* As far as the system lets us; the usual soft limit is 1024. */
void file_limit_raise(void);

/* Streams that may be open at once in this process. */
int file_limit_streams(void);

/* Are there files for every level's clients? RC_INPUT says what would do. An open level without a
 * cap may need any number: what fails there says so itself. */
enum rc file_limit_check(const struct scenario *s, struct err *e);

#endif

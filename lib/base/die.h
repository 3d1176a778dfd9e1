/*
 * The lane for a broken environment at start and for memory that is not there: one line on stderr,
 * exit code 2. The allocators never return NULL, so no caller checks them. free() releases what
 * they return.
 */
#ifndef BASE_DIE_H
#define BASE_DIE_H

#include <stddef.h>

/* Prints "program: message" and exits with 2. Runs no destructors of ours: for use before anything
 * is worth saving. */
_Noreturn void die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* The name that die() and log.h print; argv[0]'s last part. Set once by main. */
void die_set_program(const char *name);
const char *die_program(void);

void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);		     /* n * size is checked for overflow */
void *xreallocarray(void *p, size_t n, size_t size); /* likewise */
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif

/*
 * Files that travel inside a program: the build turns them into tables (CMakeLists.txt, embed()),
 * so that a binary works wherever it is copied.
 */
#ifndef BASE_EMBEDDED_H
#define BASE_EMBEDDED_H

#include <stddef.h>

/* A table of these ends with name NULL. text is NUL-terminated behind len bytes. */
struct embedded {
	const char *name; /* the file's name without folder and ending */
	const char *text;
	size_t len;
};

#endif

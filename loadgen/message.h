/*
 * One piece of what is said to a model: plain data that prompt sets hold and dialects write.
 */
#ifndef LOADGEN_MESSAGE_H
#define LOADGEN_MESSAGE_H

#include <stddef.h>

struct message {
	const char *role; /* "system", "user", "assistant", "developer"; never owned */
	char *text;	  /* UTF-8 with a NUL behind it; whoever holds the list says who owns it */
	size_t len;
};

#endif

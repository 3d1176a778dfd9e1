/*
 * What a small model consists of, before any format: a list of parts with their true weights.
 * Private to tiny_*.c.
 */
#ifndef TESTS_TINY_PARTS_H
#define TESTS_TINY_PARTS_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "tiny_model.h"

/* A tensor to be written: `rows` rows of n_in, or a vector (rows 0). */
struct part {
	char *name;
	int64_t rows, n_in;
	float *x;
	enum dtype dtype;
};

struct maker {
	struct tiny_params p;
	bool gguf;
	struct part part[1024];
	int n;
};

static inline bool is(const struct maker *m, const char *arch)
{
	return strcmp(m->p.arch, arch) == 0;
}

static inline bool any_of(const struct maker *m, const char *a, const char *b, const char *c)
{
	return is(m, a) || is(m, b) || (c && is(m, c));
}

/* All parts of m->p, whose defaults are filled in, under the names of m's format. */
void tiny_parts_add(struct maker *m);

#endif

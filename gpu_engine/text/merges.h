/*
 * The merging at the heart of BPE: of all adjacent pairs that a rule joins, the one of the lowest
 * rank first, of equals the leftmost, until no rule applies. O(n log n). A table of rules and the
 * scratch of one run; one a thread.
 */
#ifndef TEXT_MERGES_H
#define TEXT_MERGES_H

#include <stddef.h>
#include <stdint.h>

struct merge_rule {
	int32_t left, right; /* left < 0: an empty slot of the table */
	int32_t rank, into;
};

struct merges {
	struct merge_rule *rule; /* a hash table */
	size_t mask, n_rules;

	struct merge_link *link; /* scratch of a run */
	struct merge_offer *heap;
	size_t cap, n_heap;

	/* The joins of the last run, in order: what a piece that may not be shown was made of. */
	struct merge_rule *done;
	int32_t n_done;
};

void merges_init(struct merges *m, size_t n_rules); /* at most so many will be added */
void merges_release(struct merges *m);

/* Of a pair that comes again the last one holds, as in the reference implementation. */
void merges_add(struct merges *m, int32_t left, int32_t right, int32_t rank, int32_t into);

/* Joins within id[0 .. n) and returns how many are left, at the front. Negative ids join nothing
 * and stay as they are. */
int32_t merges_run(struct merges *m, int32_t *id, int32_t n);

#endif

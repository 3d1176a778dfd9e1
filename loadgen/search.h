/*
 * The best setting of a profile, sought among the places of a sweep's grid with far fewer of them
 * tried than there are. The state of the search is the points measured so far, nothing else: a run
 * asks what to try next, a report and a killed run's report read the answer off the same rows.
 *
 * For each target of the file: the middle of the grid and the corners of its inner half are tried;
 * from the best of them a climb, along the keys with steps that are halved where none of them
 * leads up, at the last also along two keys at once; then once more from the best of a few places
 * that lie farthest from all tried. What is tried at once is the same however many processes share
 * it, and the next step knows all of it. Of equal settings the first of the grid is the best. Where
 * a climb ends, every neighbour has been tried: a flat optimum shows.
 */
#ifndef LOADGEN_SEARCH_H
#define LOADGEN_SEARCH_H

#include <stdbool.h>
#include <stddef.h>

#include "scenario.h"
#include "setting.h"

/* The targets to be tried next, in order, into next[n_targets]; how many: 0 when the search is
 * over. */
int search_next(const struct scenario *s, const struct point *points, size_t n, int *next);

/* Of the places of the first-th target of the file (0, sweep_places(), ...). of: settings_new(). */
struct searched {
	int best;  /* target; -1: none was tried */
	int tried; /* settings */
	bool over;
};
struct searched search_state(const struct scenario *s, const struct setting *of, int first);

/* The places beside a place: one step along one key up or down, and of a key whose values are not
 * numbers in rising order all its others. Into out[], as targets; how many. out has room for the
 * values of all keys. */
int search_neighbours(const struct scenario *s, int target, int *out);

/* Is `target` the best setting of its target of the file? */
bool search_is_best(const struct scenario *s, const struct setting *of, int target);

/* The answer in a sentence. */
void search_words(const struct scenario *s, const struct setting *of, int first, char *out,
		  size_t cap);

#endif

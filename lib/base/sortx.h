/*
 * Sorting where qsort() shows in a profile: millions of numbers at once. Pure.
 */
#ifndef BASE_SORTX_H
#define BASE_SORTX_H

#include <stddef.h>

/* Ascending; no NaN among them (-0 stands before 0). Needs twice their memory while it runs. */
void sort_doubles(double *v, size_t n);

#endif

/*
 * What this machine's memory gives to readers: the roof of a decode step.
 */
#ifndef CPU_ROOF_H
#define CPU_ROOF_H

#include <stdint.h>

/* Bytes a second that so many threads read from a buffer larger than the caches, the best of
 * several passes; takes about a second. */
double cpu_roof_bytes_per_s(int32_t threads);

#endif

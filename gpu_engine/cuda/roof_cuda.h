/*
 * What a card's memory gives to readers: the roof of a decode step.
 */
#ifndef CUDA_ROOF_CUDA_H
#define CUDA_ROOF_CUDA_H

#include "driver.h"

/* Bytes a second, the best of several passes over a buffer larger than the caches; takes less than
 * a second. 0: it can not be measured. */
double cuda_roof_bytes_per_s(struct cuda *c);

#endif

/*
 * A log-linear histogram of int64_t values >= 0 (negative ones count as 0): 128 linear bins per
 * power of two, so any value is known to better than 1 %. Fixed memory (about 58 KiB), no
 * allocation while recording.
 */
#ifndef BASE_HIST_H
#define BASE_HIST_H

#include <stddef.h>
#include <stdint.h>

struct hist;

struct hist *hist_new(void);
void hist_free(struct hist *h);
void hist_reset(struct hist *h);
void hist_record(struct hist *h, int64_t value);
void hist_record_n(struct hist *h, int64_t value, uint64_t n);
void hist_merge(struct hist *into, const struct hist *from);

/* A histogram is plain memory of so many bytes, which may go to another process of the same program
 * and be merged there, from any address. */
size_t hist_bytes(void);
void hist_merge_bytes(struct hist *into, const void *bytes);

uint64_t hist_count(const struct hist *h);
double hist_mean(const struct hist *h); /* exact; 0 when empty */
int64_t hist_min(const struct hist *h); /* exact; 0 when empty */
int64_t hist_max(const struct hist *h); /* exact; 0 when empty */

/* q in [0, 1]; the middle of the bin that holds the value of rank q * count, rounded up, and never
 * outside [min, max]; 0 when empty. */
int64_t hist_quantile(const struct hist *h, double q);

#endif

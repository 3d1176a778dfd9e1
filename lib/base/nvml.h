/*
 * What NVIDIA cards of this machine do: memory in use, utilisation, power, by the driver's own
 * library (NVML), which is looked for when the watch begins and needed by nobody.
 *
 * The driver takes milliseconds to answer, and an event loop must not wait for it: a thread asks,
 * and leaves the newest sample where it is picked up at any time.
 */
#ifndef BASE_NVML_H
#define BASE_NVML_H

#include <stdint.h>

#include "err.h"

#define NVML_MAX_CARDS 16

/* NaN: the card does not tell. */
struct nvml_card {
	double memory_bytes; /* in use, by whomever */
	double utilisation;  /* a share of 1, of the time since the driver's last look */
	double power_w;
};

struct nvml_sample {
	int64_t t_ns;
	int n_cards;
	struct nvml_card card[NVML_MAX_CARDS];
};

struct nvml_watch;

/* Takes a sample now, and then one about every interval_ns, until freed. library: NULL or "" for
 * libnvidia-ml.so.1. bus_id: of the one card to look at ("0000:01:00.0"), NULL = all. RC_IO: no
 * library, or it finds no card; why is one line. May block. */
enum rc nvml_watch_new(struct nvml_watch **out, const char *library, const char *bus_id,
		       int64_t interval_ns, struct err *e);
void nvml_watch_free(struct nvml_watch *w); /* NULL legal; waits for a sample under way */

/* Does not block. */
void nvml_watch_newest(struct nvml_watch *w, struct nvml_sample *out);

#endif

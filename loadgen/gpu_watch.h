/*
 * What an engine's cards do while it is under load, for each NVIDIA card of this machine
 * (base/nvml.h), as values of the run. Names, per card from 0: gpu0_memory_bytes, gpu0_utilisation
 * (a share of 1), gpu0_power_w; what a card does not tell is left out.
 */
#ifndef LOADGEN_GPU_WATCH_H
#define LOADGEN_GPU_WATCH_H

#include <stdint.h>

#include "base/err.h"
#include "base/evloop.h"

struct gpu_watch;

/* Names the library instead of libnvidia-ml.so.1. For tests, and for drivers in odd places. */
#define GPU_LIBRARY_ENV "LOADGEN_LIBNVML"

/* Calls on_value on the loop for each name of each sample, about every interval_ns, until freed.
 * RC_IO: no library, or it finds no card; why is a line for the run's notes. May block. */
enum rc gpu_watch_new(struct gpu_watch **out, struct evloop *loop, int64_t interval_ns,
		      void (*on_value)(void *arg, int64_t t_ns, const char *name, double value),
		      void *arg, struct err *e);
void gpu_watch_free(struct gpu_watch *w); /* NULL legal; waits for a sample under way */

#endif

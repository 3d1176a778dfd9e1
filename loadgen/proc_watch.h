/*
 * What a launched engine takes of the machine while it is under load: cores kept busy and resident
 * memory, summed over its processes, from /proc. Names: cpu_cores, rss_bytes. The processes are
 * those there when the watch begins (an engine that is ready has started its workers).
 */
#ifndef LOADGEN_PROC_WATCH_H
#define LOADGEN_PROC_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/evloop.h"

struct proc_watch;

/* Watches what descends from parent, not parent itself. Calls on_value for each name every
 * interval_ns, until freed. NULL where nothing descends from it. */
struct proc_watch *proc_watch_new(struct evloop *loop, pid_t parent, int64_t interval_ns,
				  void (*on_value)(void *arg, int64_t t_ns, const char *name,
						   double value),
				  void *arg);
void proc_watch_free(struct proc_watch *w); /* NULL legal */

/* Pure: CPU ticks used and pages resident, from the text of /proc/PID/stat. False: it is not one.
 */
bool proc_stat_parse(const char *text, int64_t *ticks, int64_t *pages);

#endif

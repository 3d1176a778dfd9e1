/*
 * Samples of an engine's own metrics (GET /metrics, Prometheus text) during the load, normalised to
 * one set of names so that engines compare: running, waiting, kv_usage, preemptions, prompt_tokens,
 * generation_tokens, prefix_queries, prefix_hits. An engine without /metrics is no error. Uses a
 * transport of its own.
 */
#ifndef LOADGEN_SCRAPE_H
#define LOADGEN_SCRAPE_H

#include <stdint.h>

#include "base/err.h"
#include "base/evloop.h"
#include "scenario.h"

struct scrape;

/* Calls on_value for each known name of each sample, every interval_ns, until freed. Stops by
 * itself (quietly) after the first answer that is not 200. */
enum rc scrape_new(struct scrape **out, struct evloop *loop, const struct target *t,
		   int64_t interval_ns,
		   void (*on_value)(void *arg, int64_t t_ns, const char *name, double value),
		   void *arg, struct err *e);
void scrape_free(struct scrape *s); /* NULL legal */

/* Pure: Prometheus text -> on_value for each internal name found: the sum over its label sets, but
 * for kv_usage, a share, their mean. Lines that are not Prometheus text are passed over. */
void scrape_parse(const char *text, size_t len,
		  void (*on_value)(void *arg, int64_t t_ns, const char *name, double value),
		  void *arg, int64_t t_ns);

#endif

/*
 * /metrics as engines other than vLLM show it (vLLM's page: engine_stats.h): their names for what
 * our engine counts. What has no counterpart here is left out rather than made up; the bounds of
 * histograms are vLLM's throughout.
 */
#ifndef SERVE_METRICS_PAGES_H
#define SERVE_METRICS_PAGES_H

#include "engine_stats.h"

void metrics_sglang(const struct engine_stats *s, const char *model, struct buf *b);
void metrics_tgi(const struct engine_stats *s, const char *model, struct buf *b);
void metrics_llamacpp(const struct engine_stats *s, const char *model, struct buf *b);

#endif

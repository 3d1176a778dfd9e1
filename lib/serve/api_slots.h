/*
 * What llama-server tells of itself: /props, its settings, and /slots, who sits in which slot and
 * how far it is. Each handler answers at once.
 */
#ifndef SERVE_API_SLOTS_H
#define SERVE_API_SLOTS_H

#include "api.h"
#include "wire.h"

void slots_props(struct api *a, struct http_exchange *x, const struct route *r);

/* With ?fail_on_no_slot=1 503 where none is idle. A policy without numbered slots has as many as
 * requests run, at least one. */
void slots_list(struct api *a, struct http_exchange *x, const struct route *r);

#endif

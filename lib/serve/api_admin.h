/*
 * What stands beside the generation endpoints: /health /ready /ping /load /version /v1/models
 * /metrics /tokenize. Each handler answers at once.
 */
#ifndef SERVE_API_ADMIN_H
#define SERVE_API_ADMIN_H

#include "api.h"
#include "wire.h"

void admin_health(struct api *a, struct http_exchange *x,
		  const struct route *r); /* 200 as long as the process answers */
void admin_ready(struct api *a, struct http_exchange *x,
		 const struct route *r); /* 503 while it drains */
void admin_load(struct api *a, struct http_exchange *x, const struct route *r);
void admin_version(struct api *a, struct http_exchange *x, const struct route *r);
void admin_models(struct api *a, struct http_exchange *x, const struct route *r);
void admin_metrics(struct api *a, struct http_exchange *x, const struct route *r);
void admin_tokenize(struct api *a, struct http_exchange *x, const struct route *r);

#endif

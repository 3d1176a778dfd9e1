/*
 * What a request is refused with: {"error":{"message","type","param","code"}}.
 */
#ifndef SERVE_API_ERROR_H
#define SERVE_API_ERROR_H

#include <stdbool.h>

#include "base/buf.h"
#include "http_server.h"

struct api_error {
	int status;
	const char *type; /* a constant */
	char param[64];	  /* the field, or "" for none */
	char message[1024];
};

/* Fills e and returns false, so that a reader can end with `return api_refuse(...)`. param may be
 * NULL. */
bool api_refuse(struct api_error *e, int status, const char *type, const char *param,
		const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* 400 with the two types that vLLM has for it: the field's form is wrong, or its value. */
#define API_BAD_FORM  "Bad Request"
#define API_BAD_VALUE "BadRequestError"

void api_error_put(struct buf *b, const struct api_error *e); /* the JSON */
void api_error_reply(struct http_exchange *x, const struct api_error *e);

#endif

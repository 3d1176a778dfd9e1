/*
 * What goes wrong on purpose with the answers of a simulated engine. A fault is planned by its rate
 * (drawn from the seed, request by request) or forced by the header X-Fault of a request; both are
 * written alike:
 *
 *     KIND[=VALUE][@TOKEN][:RATE]      429=5s:0.1   stall=2s@3:0.01   cut_rst@10   crlf
 *
 * VALUE is a time, TOKEN after how many events with tokens it happens, RATE the share of requests
 * it happens to, of those that force it with the header (all of them if it is left out). Of several
 * that are drawn the first counts. What the engine computes, and when, is not touched: other
 * requests keep their times.
 */
#ifndef FAKEENGINE_FAULT_H
#define FAKEENGINE_FAULT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/evloop.h"
#include "serve/outlet.h"

struct fault_kind;

struct fault {
	const struct fault_kind *kind;
	int64_t value_ns;
	int32_t at_token;
	double rate;
};

struct fault_list {
	struct fault *item;
	size_t n;
};

/* RC_INPUT with what is wrong and what there is. */
enum rc fault_parse(struct fault *out, const char *spec, struct err *e);
enum rc fault_list_add(struct fault_list *l, const char *spec, struct err *e);
void fault_list_move(struct fault_list *to, struct fault_list *from); /* behind what is there */
void fault_list_release(struct fault_list *l);

/* "5 % of requests: ..." */
void fault_describe(struct buf *b, const struct fault *f);

/* A line for each kind. */
void fault_help(struct buf *b);

/* Draws for one request after the other. The list must outlive it. */
struct faults;
struct faults *faults_new(const struct fault_list *l, uint64_t seed, struct evloop *loop);
void faults_free(struct faults *f);

/* serve_config.admit; arg is the struct faults. */
void faults_admit(struct http_exchange *x, struct admission *out, void *arg);

#endif

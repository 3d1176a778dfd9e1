/*
 * How a request travels: a contract with four rows. transport_http1 (plain HTTP/1.1 on libevent,
 * kernel receive stamps, keep-alive) is the measuring instrument; transport_unix is the same over
 * unix sockets, which have no kernel stamps; transport_curl (libcurl multi on the same loop)
 * carries https; transport_sim goes nowhere: an engine in process, in virtual time. Knows no JSON,
 * no SSE, no scenario but the target's address; keeps no time limits but the connection's.
 */
#ifndef LOADGEN_TRANSPORT_H
#define LOADGEN_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/evloop.h"
#include "base/hist.h"
#include "record.h"
#include "scenario.h"

/* After leave(), a body that has not ended by then takes its connection with it. */
#define XFER_LINGER_NS (1 * NS_PER_S)

/* Kept connections that have been idle for longer are not used: uvicorn closes them at 5 s. */
#define XFER_IDLE_NS (4 * NS_PER_S)

struct transport;
struct xfer; /* one request on its way; valid from start() to end() */

enum xfer_end {
	XFER_COMPLETE, /* the whole body: by length, last chunk, or a close where that ends it */
	XFER_CONNECT,  /* no connection */
	XFER_TLS,
	XFER_CLOSED,	/* ended before a whole response head */
	XFER_TRUNCATED, /* ended inside the body */
	XFER_PROTOCOL,	/* not HTTP, conflicting lengths, a head beyond 64 KiB */
};

struct xfer_spec {
	const char *method;  /* "POST", "GET" */
	const char *path;    /* with the query */
	const char *headers; /* "Name: value\r\n" lines of the caller, or "" */
	const char *body;
	size_t body_len;
	const uint8_t *word; /* transport_type.takes_words: what PROMPT_MARK stands for; or NULL */
	size_t n_words;
	bool keep_alive; /* the connection may be used again */
	bool watched;	 /* the caller acts on its tokens: see catch_up() */

	/* Not NULL: stands for all that is asked, as long as the target is from the same place of
	 * the scenario's file. See remembers(). */
	const void *plan;
};

/* In a body, where a prompt of words (workload.h) belongs that is not spelled. */
#define PROMPT_MARK "\x01"

struct xfer_head {
	int status;
	const char *content_type; /* "" if none; valid during the call */
	const char *retry_after;  /* "" if none */
};

/* What the last events of an answer say, where there are none (struct xfer_handler). */
struct xfer_answer {
	int32_t prompt_tokens, output_tokens;
	const char *finish_reason;
};

/* Called on the loop thread, never from inside start(). t_ns is the read's stamp: the kernel's
 * where the transport has it; it never goes back within a request. After end() the xfer is gone. A
 * callback may cancel its own request. When a kept connection turns out to be closed the request is
 * sent again on a new one, once: connected and written are then called (again) for that. */
struct xfer_handler {
	void (*connected)(void *owner, int64_t t_ns); /* not for a kept connection */
	void (*written)(void *owner, int64_t t_ns);   /* the kernel was given the last byte */
	void (*head)(void *owner, const struct xfer_head *h, int64_t t_ns);
	void (*body)(void *owner, const char *bytes, size_t n, int64_t t_ns);
	void (*end)(void *owner, enum xfer_end how, const char *why, int64_t t_ns);

	/* Instead of body(), from a transport without a wire, so that no token is dressed as bytes:
	 * of a stream, n more tokens, one by one at these times; of any answer, its end. NULL where
	 * nothing is generated. */
	void (*tokens)(void *owner, const int64_t *t_ns, int32_t n);
	void (*answered)(void *owner, const struct xfer_answer *a, int64_t t_ns);
};

extern const struct xfer_handler xfer_silent; /* for leave(): hears everything, says nothing */

struct transport_stats {
	int64_t connects, reuses;
	int64_t reuse_races; /* a kept connection was closed and brought no byte: sent again */
	int64_t reads, bytes;
	/* From the kernel's stamp until the read returned; NULL without kernel stamps. The caller
	 * may reset it between points. */
	struct hist *receive_lag_ns;
	char peer[64]; /* address really used, "127.0.0.1:8000" */
};

struct transport_type {
	const char *name;
	enum stamp_source stamps;

	/* Resolves the target's host once, here (blocking, before the load). connect_ns: the most
	 * that a connection may take to come about. */
	enum rc (*open)(struct transport **out, struct evloop *loop, const struct target *t,
			int64_t connect_ns, struct err *e);

	/* Whoever reads the requests needs no text of made-up prompts: they may come as words.
	 * NULL: they may not. */
	bool (*takes_words)(const struct transport *t);

	/* Optional. A request that bears this plan has been started here, or at another target from
	 * the same place: start() needs nothing else of it, body, path and headers may be left out.
	 */
	bool (*remembers)(const struct transport *t, const void *plan);

	/* Copies or sends everything of spec before it returns. */
	struct xfer *(*start)(struct transport *t, const struct xfer_spec *spec,
			      const struct xfer_handler *h, void *owner);

	/* NULL: everything is told when it comes. Else so are only the first token, and all of a
	 * watched request; the others are told at the latest before answered(), or now, so far as
	 * they have come. */
	void (*catch_up)(struct xfer *x);

	/* The caller wants no more of it: no callback follows, the connection is closed. */
	void (*cancel)(struct xfer *x);

	/* The caller has what it wants, though the body may not have ended: no callback follows. If
	 * the body ends soon (XFER_LINGER_NS) the connection is kept for the next request, else
	 * closed. */
	void (*leave)(struct xfer *x);

	void (*stats)(const struct transport *t, struct transport_stats *out);
	void (*close)(struct transport *t); /* cancels everything */
};

extern const struct transport_type transport_http1, transport_unix, transport_curl, transport_sim;
const struct transport_type *transport_for(const struct target *t); /* by URL scheme */

#endif

/*
 * How a server is spoken to: builds a request, reads an event or a whole answer. No sockets, no
 * clock. One row a dialect (measurement.md section 4); nobody switches on the name.
 */
#ifndef LOADGEN_DIALECT_H
#define LOADGEN_DIALECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "chunk_scan.h"
#include "dialect_names.h"
#include "message.h"
#include "scenario.h"
#include "sse_in.h"

struct ask {
	const char *model;
	const char *prompt; /* the user's */
	size_t prompt_len;
	int32_t output_tokens;
	const struct request_opts *opts;
	const char *const *left_out; /* members not to be sent, NULL-terminated; or NULL */
	/* Said before the prompt, oldest first: messages of their roles where a dialect has such,
	 * else text in front of the prompt with an empty line behind each. */
	const struct message *before;
	size_t n_before;
	/* More prompts in the same request; only where the dialect says that it `batches`. */
	const struct message *also;
	size_t n_also;
};

/* What one event, or one whole answer, said. Zeroed by the caller before each reading. */
struct reading {
	/* Not said but brought along: how the stream's events have looked so far; or NULL. */
	struct chunk_shape *shape;
	bool is_chunk;		/* a piece of an answer, be it empty (event1) */
	bool has_token;		/* text, reasoning or a tool call that is not empty */
	bool has_output;	/* ... and not reasoning */
	bool is_cumulative;	/* its text is all that there is so far, not only what is new */
	bool done;		/* [DONE] or the dialect's like: nothing follows */
	char finish_reason[24]; /* "" = none in this event */
	int64_t prompt_tokens;	/* usage; -1 = not in this event */
	int64_t output_tokens;	/* usage so far; -1 = not in this event */
	bool is_error;		/* {"error": ...} and its kin; error says what, code included */
	char error[160];
};

struct dialect {
	const char *path;	 /* "/v1/chat/completions"; joined to the target's prefix */
	const char *whole_path;	 /* where an answer in one piece is asked for; NULL: at path too */
	const char *models_path; /* "/v1/models", or NULL */
	bool names_model;	 /* a request says which model is meant */
	/* An answer is one piece and has no tokens: no stream is asked for, a whole answer without
	 * a token is good, and its time to the first token does not exist. */
	bool no_tokens;
	/* Members that a server may refuse and a run can do without, NULL-terminated. */
	const char *const *optional;
	const char *key_header; /* the key goes there, behind key_scheme; NULL: Authorization, */
	const char *key_scheme; /* "Bearer " */
	const char *headers;	/* more lines, "Name: value\r\n" each; NULL: none */
	bool batches;		/* one request may carry many prompts */

	/* The JSON body. False at the cap of out. */
	bool (*build)(const struct ask *a, struct buf *out);

	/* One SSE event. RC_PEER: it is not what this dialect sends. `text`, if not NULL, gets the
	 * event's text appended (or put there, if it is cumulative). */
	enum rc (*read_event)(const struct sse_event *ev, struct reading *r, struct buf *text,
			      struct err *e);

	/* A whole body: an answer that was not streamed, or an error with any status. */
	enum rc (*read_body)(const char *body, size_t len, struct reading *r, struct buf *text,
			     struct err *e);
};

#define DIALECT_DECLARE(id, name) extern const struct dialect dialect_##id;
DIALECTS(DIALECT_DECLARE)

extern const struct dialect *const dialects[];	      /* in the table's order, then NULL */
const struct dialect *dialect_find(const char *name); /* or NULL */

#endif

/*
 * What happened to one request: the row that every figure is made from. Plain data. Times are
 * CLOCK_MONOTONIC ns; -1 = did not happen. measurement.md sections 1 and 2 are the definitions.
 */
#ifndef LOADGEN_RECORD_H
#define LOADGEN_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum outcome {
	OUTCOME_OK,
	OUTCOME_CONNECT, /* no connection: refused, unreachable, DNS */
	OUTCOME_TLS,
	OUTCOME_CLOSED,	  /* the connection ended before a whole response head */
	OUTCOME_HTTP_3XX, /* redirects are not followed */
	OUTCOME_HTTP_4XX,
	OUTCOME_HTTP_429,
	OUTCOME_HTTP_5XX,
	OUTCOME_PROTOCOL,  /* not the HTTP, SSE or JSON that was asked for, or a limit passed */
	OUTCOME_EMPTY,	   /* 200, a clean end, no token */
	OUTCOME_TRUNCATED, /* it began, and ended without finish_reason, [DONE] or a whole body */
	OUTCOME_IN_BAND_ERROR,
	OUTCOME_TIMEOUT, /* which one stands in `error` */
	OUTCOME_CANCELLED,
	OUTCOME_DROPPED, /* never sent */
	OUTCOME_COUNT
};

enum token_source { TOKENS_NONE, TOKENS_USAGE, TOKENS_EVENTS };
/* Whose clock stamps what comes: ours after the read, the kernel's, or the model's. */
enum stamp_source { STAMP_USER, STAMP_KERNEL, STAMP_VIRTUAL };

/* One token-bearing event: when its read was stamped, and how many tokens had come by then. */
struct token_event {
	int64_t t_ns;
	int32_t tokens; /* running total: by usage where each event has it, else by events */
	bool merged;	/* an earlier one came in the same read: its own time is not known */
};

struct record {
	int64_t request_id; /* unique in the run: the row's name; X-Request-Id is made of it */
	int target;	    /* index in scenario.targets */
	int point;	    /* from 0: target x level x repeat; -1 = warm-up */
	int level;	    /* index in scenario.levels; -1 = warm-up */
	int repeat;	    /* from 0 */
	int64_t index;	    /* k-th of its level: with the seed it fixes prompt and arrival */
	int32_t session;    /* of its level, and which turn of it, from 0; -1 = no session */
	int32_t turn;
	int32_t user; /* who held it, from 0; -1 = no session, or never sent */
	int worker;   /* the process that drove it; 0 unless the scenario has several */

	int64_t sched_ns;     /* planned start */
	int64_t send_ns;      /* slot granted, before connect or write */
	int64_t connected_ns; /* -1 also on a kept-alive connection that was taken over */
	int64_t written_ns;
	int64_t headers_ns;
	int64_t byte1_ns;   /* first body byte */
	int64_t event1_ns;  /* first event with non-empty choices */
	int64_t token1_ns;  /* first event with text, reasoning or tool call */
	int64_t output1_ns; /* first non-reasoning token */
	int64_t token_last_ns;
	int64_t done_ns; /* [DONE] or the final JSON; for a failure, when it was known */

	struct token_event *event; /* n_events of them; owned by the record, may be NULL */
	int32_t n_events;
	int32_t merged_events;

	int32_t prompt_id;   /* which prompt of the set (workload.h); -1 = not known */
	int32_t lora_module; /* which of workload.lora_modules; -1 = none */
	int32_t planned_output_tokens;
	int32_t prompt_tokens; /* by usage; -1 = not told */
	int32_t output_tokens; /* usage, else token-bearing events; -1 = none known */
	enum token_source token_source;
	enum stamp_source stamp_source;
	bool streamed; /* the answer came as a stream: else TTFT is the whole latency */
	enum outcome outcome;
	bool cancelled_as_planned; /* load.cancel asked for it: no failure (outcome is cancelled) */
	int http_status;	   /* 0 = none */
	char error[160];	   /* one line, "" if ok */
	char finish_reason[24];	   /* as sent, "" if none */
};

const char *outcome_name(enum outcome o); /* "ok", "connect", "http_4xx" ... as in requests.csv */
bool outcome_parse(const char *name, enum outcome *out);
const char *token_source_name(enum token_source s); /* "none", "usage", "events" */
const char *stamp_source_name(enum stamp_source s); /* "user", "kernel", "virtual" */

/* One line of text for a field: control characters become '?', and what is too long is cut between
 * characters. */
void record_set_text(char *out, size_t cap, const char *s);

/* It was answered, or given up as load.cancel asked: no failure. */
bool record_ok(const struct record *r);

/* The same at another time: what has happened moves by so much. */
void record_shift(struct record *r, int64_t by_ns);

void record_init(struct record *r); /* every time and count -1 or 0, outcome dropped */
void record_release(struct record *r);

#endif

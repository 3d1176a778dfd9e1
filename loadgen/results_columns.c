/*
 * Owns the order and the names of requests.csv. Constant data.
 */
#include "results_parts.h"

#include "record.h"

#define FIELD(name, kind, member)                                                                  \
	{                                                                                          \
		name, kind, offsetof(struct record, member), sizeof(((struct record *)0)->member)  \
	}

const struct request_column request_columns[N_REQUEST_COLUMNS] = {
	FIELD("request_id", COL_ID, request_id),
	FIELD("target", COL_TARGET, target),
	FIELD("point", COL_INT, point),
	FIELD("repeat", COL_INT, repeat),
	{"load_kind", COL_LOAD_KIND, 0, 0},
	{"concurrency", COL_CONCURRENCY, 0, 0},
	{"rate", COL_RATE, 0, 0},
	FIELD("sched_ns", COL_TIME, sched_ns),
	FIELD("send_ns", COL_TIME, send_ns),
	FIELD("connected_ns", COL_TIME, connected_ns),
	FIELD("headers_ns", COL_TIME, headers_ns),
	FIELD("token1_ns", COL_TIME, token1_ns),
	FIELD("token_last_ns", COL_TIME, token_last_ns),
	FIELD("done_ns", COL_TIME, done_ns),
	FIELD("prompt_tokens", COL_COUNT, prompt_tokens),
	FIELD("output_tokens", COL_COUNT, output_tokens),
	FIELD("token_source", COL_TOKEN_SOURCE, token_source),
	FIELD("outcome", COL_OUTCOME, outcome),
	FIELD("http_status", COL_STATUS, http_status),
	FIELD("error", COL_TEXT, error),
	FIELD("finish_reason", COL_TEXT, finish_reason),
	FIELD("merged_events", COL_COUNT, merged_events),
	FIELD("clock_source", COL_CLOCK_SOURCE, stamp_source),
	FIELD("worker", COL_INT, worker),
	FIELD("level", COL_INT, level),
	FIELD("index", COL_ID, index),
	FIELD("written_ns", COL_TIME, written_ns),
	FIELD("byte1_ns", COL_TIME, byte1_ns),
	FIELD("event1_ns", COL_TIME, event1_ns),
	FIELD("output1_ns", COL_TIME, output1_ns),
	FIELD("planned_output_tokens", COL_COUNT, planned_output_tokens),
	FIELD("streamed", COL_BOOL, streamed),
	FIELD("prompt_id", COL_COUNT, prompt_id),
	FIELD("session", COL_COUNT, session),
	FIELD("turn", COL_COUNT, turn),
	FIELD("user", COL_COUNT, user),
	FIELD("cancelled_as_planned", COL_BOOL, cancelled_as_planned),
	FIELD("lora_module", COL_COUNT, lora_module),
};

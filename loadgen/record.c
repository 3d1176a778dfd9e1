/*
 * Owns the names of a record's enums and its empty state. Any thread.
 */
#include "record.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/utf8.h"

static const char *const outcome_names[OUTCOME_COUNT] = {
	[OUTCOME_OK] = "ok",
	[OUTCOME_CONNECT] = "connect",
	[OUTCOME_TLS] = "tls",
	[OUTCOME_CLOSED] = "closed",
	[OUTCOME_HTTP_3XX] = "http_3xx",
	[OUTCOME_HTTP_4XX] = "http_4xx",
	[OUTCOME_HTTP_429] = "http_429",
	[OUTCOME_HTTP_5XX] = "http_5xx",
	[OUTCOME_PROTOCOL] = "protocol",
	[OUTCOME_EMPTY] = "empty",
	[OUTCOME_TRUNCATED] = "truncated",
	[OUTCOME_IN_BAND_ERROR] = "in_band_error",
	[OUTCOME_TIMEOUT] = "timeout",
	[OUTCOME_CANCELLED] = "cancelled",
	[OUTCOME_DROPPED] = "dropped",
};

const char *outcome_name(enum outcome o)
{
	CHECK(o >= 0 && o < OUTCOME_COUNT);
	return outcome_names[o];
}

bool outcome_parse(const char *name, enum outcome *out)
{
	for (int o = 0; o < OUTCOME_COUNT; o++) {
		if (strcmp(name, outcome_names[o]) == 0) {
			*out = (enum outcome)o;
			return true;
		}
	}
	return false;
}

const char *token_source_name(enum token_source s)
{
	switch (s) {
	case TOKENS_USAGE:
		return "usage";
	case TOKENS_EVENTS:
		return "events";
	default:
		return "none";
	}
}

const char *stamp_source_name(enum stamp_source s)
{
	switch (s) {
	case STAMP_KERNEL:
		return "kernel";
	case STAMP_VIRTUAL:
		return "virtual";
	default:
		return "user";
	}
}

void record_set_text(char *out, size_t cap, const char *s)
{
	size_t n = utf8_cut(s, cap - 1);

	for (size_t i = 0; i < n; i++)
		out[i] = (unsigned char)s[i] < 0x20 || s[i] == 0x7f ? '?' : s[i];
	out[n] = '\0';
}

void record_init(struct record *r)
{
	*r = (struct record){
		.request_id = -1,
		.target = -1,
		.point = -1,
		.level = -1,
		.index = -1,
		.lora_module = -1,
		.session = -1,
		.turn = -1,
		.user = -1,
		.sched_ns = -1,
		.send_ns = -1,
		.connected_ns = -1,
		.written_ns = -1,
		.headers_ns = -1,
		.byte1_ns = -1,
		.event1_ns = -1,
		.token1_ns = -1,
		.output1_ns = -1,
		.token_last_ns = -1,
		.done_ns = -1,
		.prompt_id = -1,
		.planned_output_tokens = -1,
		.prompt_tokens = -1,
		.output_tokens = -1,
		.token_source = TOKENS_NONE,
		.stamp_source = STAMP_USER,
		.outcome = OUTCOME_DROPPED,
	};
}

bool record_ok(const struct record *r)
{
	return r->outcome == OUTCOME_OK || r->cancelled_as_planned;
}

void record_shift(struct record *r, int64_t by_ns)
{
	int64_t *const times[] = {&r->sched_ns,	     &r->send_ns,    &r->connected_ns,
				  &r->written_ns,    &r->headers_ns, &r->byte1_ns,
				  &r->event1_ns,     &r->token1_ns,  &r->output1_ns,
				  &r->token_last_ns, &r->done_ns};

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
		if (*times[i] >= 0)
			*times[i] += by_ns;
	for (int32_t i = 0; i < r->n_events; i++)
		r->event[i].t_ns += by_ns;
}

void record_release(struct record *r)
{
	free(r->event);
	r->event = NULL;
	r->n_events = 0;
}

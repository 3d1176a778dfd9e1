/*
 * Owns the words for what a look at a target found. Any thread. Must not know how it was found.
 */
#include "preflight_found.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void preflight_found_init(struct preflight_found *f)
{
	memset(f, 0, sizeof(*f));
	f->model_served = true;
	f->tokens = -1;
}

void preflight_found_release(struct preflight_found *f)
{
	free(f->model);
	f->model = NULL;
}

bool preflight_is_hopeless(const struct preflight_found *f)
{
	int status = f->http_status;

	return !f->reachable || (f->asked && f->outcome == OUTCOME_HTTP_4XX &&
				 (status == 401 || status == 403 || status == 404));
}

const char *preflight_tls_advice(const struct preflight_found *f)
{
	/* Words of libcurl's and OpenSSL's. */
	static const struct {
		const char *why, *advice;
	} advice[] = {
		{"self-signed", "; if you trust it, name its file in CURL_CA_BUNDLE"},
		{"local issuer", "; if you trust its issuer, name that one's file in "
				 "CURL_CA_BUNDLE"},
		{"expired", "; it has to be renewed, unless this machine's clock is wrong"},
		{"not yet valid", "; is this machine's clock right?"},
		{"subject name", "; want a url with a name that the certificate holds"},
		{"wrong version number", "; a port of plain HTTP? then want http://"},
		{"CAfile", "; see CURL_CA_BUNDLE and SSL_CERT_FILE in the environment"},
	};

	for (size_t i = 0; i < ARRAY_LEN(advice); i++)
		if (strstr(f->why, advice[i].why))
			return advice[i].advice;
	return "";
}

static bool tell_left_out(const struct preflight_found *f, struct buf *out)
{
	for (int i = 0; f->left_out[i]; i++)
		buf_printf(out, "%s%s",
			   i ? ", " : "; refuses, so the run leaves out: ", f->left_out[i]);
	return f->left_out[0] != NULL;
}

static bool tell_tokens(const struct preflight_found *f, struct buf *out)
{
	bool warns = false;

	buf_puts(out, f->streams ? "streams" : "answers in one piece");
	if (f->wants_stream && !f->streams) {
		buf_puts(out, " though a stream was asked for: TTFT is the whole latency");
		warns = true;
	}
	if (f->usage) {
		buf_printf(out, ", tells usage: %d token%s", f->tokens, f->tokens == 1 ? "" : "s");
		if (f->streams)
			buf_printf(out, " in %d event%s", f->events, f->events == 1 ? "" : "s");
		if (f->merged)
			buf_puts(out, " (some hold several, or bring no text)");
	} else {
		buf_printf(out, ", tells no usage: tokens are counted by their events (%d)",
			   f->events);
		warns = true;
	}
	if (f->tokens > PREFLIGHT_TOKENS)
		buf_printf(out, "; asked for %d: the length is not heeded", PREFLIGHT_TOKENS);
	else if (f->tokens < PREFLIGHT_TOKENS && f->usage)
		buf_printf(out, "; asked for %d, it ended early (%s)", PREFLIGHT_TOKENS,
			   f->finish_reason[0] ? f->finish_reason : "no finish_reason");
	return warns;
}

bool preflight_tell(const struct preflight_found *f, struct buf *out)
{
	bool warns = false;

	if (f->outcome != OUTCOME_OK) {
		buf_printf(out, "a short request failed: %s: %s", outcome_name(f->outcome),
			   f->error);
		return true;
	}
	if (f->wants_tokens)
		warns = tell_tokens(f, out);
	else
		buf_puts(out, "answers");
	return tell_left_out(f, out) || warns;
}

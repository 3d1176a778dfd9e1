/*
 * Owns the way from a refusal to bytes. Loop thread. Must not know which field was read for what,
 * nor any server's words.
 */
#include "api_error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "wire.h"

bool api_refuse(struct api_error *e, enum refusal kind, const char *param, const char *fmt, ...)
{
	va_list ap;

	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->status = refusals_vllm[kind].status;
	e->type = refusals_vllm[kind].type;
	snprintf(e->param, sizeof(e->param), "%s", param ? param : "");
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	return false;
}

static const struct refusal_words *words_of(const struct wire_habit *w, enum refusal kind)
{
	const struct refusal_words *own = &w->refusals[kind];

	return own->status ? own : &refusals_vllm[kind];
}

static struct form_values values_of(const struct wire_habit *w, const struct api_error *e)
{
	const struct refusal_words *words = words_of(w, e->kind);

	return (struct form_values){
		.ascii = w->ascii,
		.message = e->message,
		.type = words->type,
		.param = e->param,
		.status = e->forced ? e->status : words->status,
		.prompt_tokens = e->prompt_tokens,
		.max_tokens = e->max_tokens,
	};
}

static const char *form_of(const struct wire_habit *w, enum refusal kind)
{
	const struct refusal_words *words = words_of(w, kind);

	return words->form ? words->form : w->error;
}

void api_error_event(const struct wire_habit *w, const struct api_error *e, struct buf *b)
{
	const struct form_values v = values_of(w, e);

	form_put(b, w->error_event, &v);
}

/* The head's own line for it, or NULL. */
static const char *extra_line(const struct api_error *e, int status, char out[64])
{
	switch (e->kind) {
	case REFUSE_BUSY:
		snprintf(out, 64, "retry-after: %d\r\n", e->retry_after_s ? e->retry_after_s : 1);
		return out;
	case REFUSE_KEY:
		return "www-authenticate: Bearer\r\n";
	case REFUSE_METHOD:
		snprintf(out, 64, "allow: %s\r\n", e->allow);
		return status == 405 ? out : NULL;
	default:
		return NULL;
	}
}

int api_error_put(const struct wire_habit *w, const struct api_error *e, struct buf *b)
{
	const struct form_values v = values_of(w, e);

	form_put(b, form_of(w, e->kind), &v);
	return v.status;
}

void api_error_reply(struct api *a, struct http_exchange *x, const struct api_error *e)
{
	char line[64];
	struct buf b;
	int status;

	buf_init(&b, SIZE_MAX);
	status = api_error_put(a->c.wire, e, &b);
	http_reply(x, status, *buf_cstr(&b) == '{' ? a->c.wire->json_type : a->c.wire->text_type,
		   extra_line(e, status, line), buf_head(&b), buf_size(&b));
	buf_release(&b);
}

/*
 * Owns the shape of an error. Loop thread. Must not know which field was read for what.
 */
#include "api_error.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "base/jsonx.h"

bool api_refuse(struct api_error *e, int status, const char *type, const char *param,
		const char *fmt, ...)
{
	va_list ap;

	e->status = status;
	e->type = type;
	snprintf(e->param, sizeof(e->param), "%s", param ? param : "");
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	return false;
}

void api_error_put(struct buf *b, const struct api_error *e)
{
	buf_puts(b, "{\"error\":{\"message\":");
	json_quote(b, e->message);
	buf_puts(b, ",\"type\":");
	json_quote(b, e->type);
	buf_puts(b, ",\"param\":");
	json_quote(b, e->param[0] ? e->param : NULL);
	buf_printf(b, ",\"code\":%d}}", e->status);
}

void api_error_reply(struct http_exchange *x, const struct api_error *e)
{
	const char *extra = e->status == 429   ? "retry-after: 1\r\n"
			    : e->status == 401 ? "www-authenticate: Bearer\r\n"
					       : NULL;
	struct buf b;

	buf_init(&b, SIZE_MAX);
	api_error_put(&b, e);
	http_reply(x, e->status, "application/json", extra, buf_head(&b), buf_size(&b));
	buf_release(&b);
}

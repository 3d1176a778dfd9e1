/*
 * Owns the log's file and the rows not yet written. Loop thread. Must not know requests.
 *
 * base/csv.h writes any table; this one is written once a token, in the middle of the pass that
 * sends them, so its four fields are put together by hand (60 ns a row against 200) and
 * leave in large writes between passes.
 */
#include "truth.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "base/log.h"

#define SETTLE_BYTES (256 << 10)
#define MAX_BYTES    (64 << 20)

struct truth_log {
	int fd;
	char *path;
	struct buf rows;
	bool failed;
};

enum rc truth_open(struct truth_log **out, const char *path, struct err *e)
{
	struct truth_log *t;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	*out = NULL;
	if (fd < 0)
		return err_set(e, RC_IO, "%s: %s", path, strerror(errno));
	t = xcalloc(1, sizeof(*t));
	t->fd = fd;
	t->path = xstrdup(path);
	buf_init(&t->rows, MAX_BYTES);
	buf_puts(&t->rows, "request_id,token_index,due_ns,sent_ns\n");
	truth_flush(t);
	*out = t;
	return RC_OK;
}

/* A client names its requests as it likes. */
static void put_name(struct buf *b, const char *s)
{
	if (!s[strcspn(s, ",\"\r\n")]) {
		buf_puts(b, s);
		return;
	}
	buf_putc(b, '"');
	for (; *s; s++) {
		if (*s == '"')
			buf_putc(b, '"');
		buf_putc(b, *s);
	}
	buf_putc(b, '"');
}

void truth_token(struct truth_log *t, const char *request_id, int32_t token_index, int64_t due_ns,
		 int64_t sent_ns)
{
	if (buf_size(&t->rows) > MAX_BYTES - 4096)
		truth_flush(t); /* rows are never torn by the cap */
	put_name(&t->rows, request_id);
	buf_putc(&t->rows, ',');
	buf_putint(&t->rows, token_index);
	buf_putc(&t->rows, ',');
	buf_putint(&t->rows, due_ns);
	buf_putc(&t->rows, ',');
	buf_putint(&t->rows, sent_ns);
	buf_putc(&t->rows, '\n');
}

void truth_settle(struct truth_log *t)
{
	if (buf_size(&t->rows) >= SETTLE_BYTES)
		truth_flush(t);
}

void truth_flush(struct truth_log *t)
{
	while (buf_size(&t->rows) > 0 && !t->failed) {
		ssize_t n = write(t->fd, buf_head(&t->rows), buf_size(&t->rows));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			t->failed = true;
			log_error("%s: %s; the truth log ends here", t->path, strerror(errno));
			break;
		}
		buf_consume(&t->rows, (size_t)n);
	}
	buf_clear(&t->rows);
}

void truth_close(struct truth_log *t)
{
	if (!t)
		return;
	truth_flush(t);
	close(t->fd);
	buf_release(&t->rows);
	free(t->path);
	free(t);
}

/*
 * An answer of a server as a case of the corpus has it, cases/NAME.txt, made into bytes.
 *
 * A line that begins with '@' says how the lines behind it become bytes, up to the next such line:
 *
 *     @head       a response head: each line ends in CRLF, and an empty line comes behind the last
 *     @sse        short for the head of a chunked event stream
 *     @json N     short for the head of a JSON body of N bytes, status 200
 *     @chunk      one chunk of the lines, each of which ends in LF
 *     @end        the last chunk
 *     @body       the lines, each of which ends in LF
 *     @raw        the lines as they stand, with nothing between
 *     @repeat N   ... so many times
 *     @close      then the connection is closed (which is so without, too)
 *     @reset      ... is reset
 *     @keep       ... stays open
 *
 * In a line \r \n \t \\ \xHH are bytes, and a backslash at its end takes its end away. '#' begins a
 * remark, before the first '@' only.
 */
#ifndef TESTS_ANSWER_H
#define TESTS_ANSWER_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/die.h"
#include "base/err.h"

#define MAX_SEGMENTS 64

enum then { THEN_CLOSE, THEN_RESET, THEN_KEEP };

/* `data`, so many times. */
struct segment {
	struct buf data;
	size_t times;
};

struct answer {
	struct segment segment[MAX_SEGMENTS];
	int n;
	size_t len; /* of all; may be more than memory holds */
	enum then then;
};

static unsigned hex_digit(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = strchr(digits, c);

	if (!c || !at)
		die("\\x wants two digits 0-9, a-f in a case");
	return (unsigned)(at - digits);
}

/* The line's bytes, then `end` unless a last backslash takes it away. */
static void answer_line(struct buf *out, const char *line, size_t len, const char *end)
{
	for (size_t i = 0; i < len; i++) {
		char c = line[i];

		if (c == '\\' && i + 1 == len)
			return;
		if (c == '\\') {
			c = line[++i];
			if (c == 'x' && i + 2 < len) {
				c = (char)(hex_digit(line[i + 1]) << 4 | hex_digit(line[i + 2]));
				i += 2;
			} else {
				c = c == 'r' ? '\r' : c == 'n' ? '\n' : c == 't' ? '\t' : c;
			}
		}
		buf_putc(out, c);
	}
	buf_puts(out, end);
}

static struct segment *answer_segment(struct answer *a)
{
	struct segment *s = &a->segment[a->n];

	if (++a->n > MAX_SEGMENTS)
		die("an answer of more than %d parts", MAX_SEGMENTS);
	buf_init(&s->data, 1u << 24);
	s->times = 1;
	return s;
}

/* One '@' line and the lines behind it, [text, end). */
static void answer_part(struct answer *a, const char *word, const char *text, const char *end)
{
	struct segment *s = answer_segment(a);
	struct buf lines;
	const char *line_end = "";
	char size[16];

	buf_init(&lines, 1u << 24);
	if (strcmp(word, "@head") == 0)
		line_end = "\r\n";
	else if (strcmp(word, "@chunk") == 0 || strcmp(word, "@body") == 0)
		line_end = "\n";
	while (text < end) {
		const char *eol = memchr(text, '\n', (size_t)(end - text));

		eol = eol ? eol : end;
		answer_line(&lines, text, (size_t)(eol - text), line_end);
		text = eol + 1;
	}
	if (strcmp(word, "@chunk") == 0) {
		snprintf(size, sizeof(size), "%zx\r\n", buf_size(&lines));
		buf_puts(&s->data, size);
	}
	buf_append(&s->data, buf_head(&lines), buf_size(&lines));
	if (strcmp(word, "@chunk") == 0 || strcmp(word, "@head") == 0)
		buf_puts(&s->data, "\r\n");
	else if (strcmp(word, "@sse") == 0)
		buf_puts(&s->data, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
				   "Transfer-Encoding: chunked\r\n\r\n");
	else if (strncmp(word, "@json ", 6) == 0)
		buf_printf(&s->data,
			   "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
			   "Content-Length: %d\r\n\r\n",
			   atoi(word + 6));
	else if (strcmp(word, "@end") == 0)
		buf_puts(&s->data, "0\r\n\r\n");
	else if (strncmp(word, "@repeat ", 8) == 0)
		s->times = strtoull(word + 8, NULL, 10);
	else if (strcmp(word, "@reset") == 0)
		a->then = THEN_RESET;
	else if (strcmp(word, "@keep") == 0)
		a->then = THEN_KEEP;
	else if (strcmp(word, "@body") != 0 && strcmp(word, "@raw") != 0 &&
		 strcmp(word, "@close") != 0)
		die("a case has no %s", word);
	a->len += buf_size(&s->data) * s->times;
	buf_release(&lines);
}

static void answer_read(struct answer *a, const char *path)
{
	struct buf file;
	struct err e;
	char word[64];
	const char *at;

	memset(a, 0, sizeof(*a));
	buf_init(&file, 1u << 24);
	if (buf_read_file(&file, path, &e))
		die("%s", e.msg);
	at = buf_cstr(&file);
	at = *at == '@' ? at : strstr(at, "\n@");
	while (at) {
		const char *line = *at == '\n' ? at + 1 : at, *text = strchr(line, '\n');
		const char *next = text ? strstr(text, "\n@") : NULL;
		const char *end = next ? next + 1 : buf_cstr(&file) + buf_size(&file);

		text = text ? text + 1 : end;
		snprintf(word, sizeof(word), "%.*s", (int)strcspn(line, "\n"), line);
		answer_part(a, word, text, end);
		at = next;
	}
	buf_release(&file);
}

static void answer_release(struct answer *a)
{
	for (int i = 0; i < a->n; i++)
		buf_release(&a->segment[i].data);
}

/* Up to n of its bytes from `at` on; fewer where a part ends. */
static size_t answer_bytes(const struct answer *a, size_t at, char *out, size_t n)
{
	for (int i = 0; i < a->n; i++) {
		const struct segment *s = &a->segment[i];
		size_t one = buf_size(&s->data), all = one * s->times, done = 0;

		if (at >= all) {
			at -= all;
			continue;
		}
		n = n < all - at ? n : all - at;
		while (done < n) {
			size_t from = (at + done) % one;
			size_t some = one - from < n - done ? one - from : n - done;

			memcpy(out + done, buf_head(&s->data) + from, some);
			done += some;
		}
		return n;
	}
	return 0;
}

#endif

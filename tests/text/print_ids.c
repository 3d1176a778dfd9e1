/*
 * Prints what our tokenizer makes of lines, for tests/text/against_tokenizers.py to compare.
 *
 * usage: print_ids MODEL [plain|marked] < lines > ids
 *
 * MODEL: a GGUF file, or a folder's tokenizer.json. A line of the input is a text in hexadecimal; a
 * line of the output its ids, then ';' and what they decode to, in hexadecimal. marked: control
 * pieces in the text become their ids. With "time" instead, all of the input is one raw text, and
 * the output says how fast it was encoded.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/jsonx.h"
#include "text/tokenizer.h"

static int nibble(char c)
{
	return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void print_line(const struct tokenizer *t, const char *hex, bool marked)
{
	const struct textcodec *c = tokenizer_codec(t);
	struct token_list ids = {0};
	struct buf text, back;

	buf_init(&text, SIZE_MAX);
	buf_init(&back, SIZE_MAX);
	for (; hex[0] > ' ' && hex[1] > ' '; hex += 2)
		buf_putc(&text, (char)(nibble(hex[0]) << 4 | nibble(hex[1])));
	tokenizer_encode(t, buf_head(&text), buf_size(&text), marked, false, true, &ids);
	for (int32_t i = 0; i < ids.n; i++) {
		printf("%s%d", i ? " " : "", ids.id[i]);
		c->decode(c, ids.id[i], i, &back);
	}
	putchar(';');
	for (size_t i = 0; i < buf_size(&back); i++)
		printf("%02x", (unsigned char)buf_head(&back)[i]);
	putchar('\n');
	token_list_release(&ids);
	buf_release(&text);
	buf_release(&back);
}

static void print_speed(const struct tokenizer *t)
{
	struct buf text;
	struct token_list ids = {0};
	struct err e;
	int64_t start_ns;
	double s;

	buf_init(&text, SIZE_MAX);
	if (buf_read_file(&text, "-", &e) != RC_OK)
		die("%s", e.msg);
	start_ns = monotonic_now_ns();
	tokenizer_encode(t, buf_head(&text), buf_size(&text), false, false, true, &ids);
	s = (double)(monotonic_now_ns() - start_ns) / 1e9;
	printf("%.1f MB/s, %.2f bytes a token, %d tokens\n", (double)buf_size(&text) / s / 1e6,
	       (double)buf_size(&text) / ids.n, ids.n);
	token_list_release(&ids);
	buf_release(&text);
}

int main(int argc, char **argv)
{
	struct model_file *f = NULL, alone = {.format = MODEL_SAFETENSORS};
	struct vocab *v;
	struct tokenizer *t;
	struct err e;
	struct buf text;
	char warning[256], *line = NULL;
	size_t cap = 0, n = argc > 1 ? strlen(argv[1]) : 0;

	if (argc != 3)
		die("usage: print_ids MODEL [plain|marked|time]");
	if (n > 5 && strcmp(argv[1] + n - 5, ".json") == 0) {
		buf_init(&text, SIZE_MAX);
		if (buf_read_file(&text, argv[1], &e) != RC_OK ||
		    json_parse(&alone.tokenizer, buf_head(&text), buf_size(&text), &e) != RC_OK)
			die("%s", e.msg);
		buf_release(&text);
	} else if (model_file_open(&f, argv[1], &e) != RC_OK) {
		die("%s", e.msg);
	}
	if (vocab_load(&v, f ? f : &alone, NULL, &e) != RC_OK ||
	    tokenizer_new(&t, v, NULL, warning, &e) != RC_OK)
		die("%s", e.msg);
	if (strcmp(argv[2], "time") == 0)
		print_speed(t);
	else
		while (getline(&line, &cap, stdin) > 0)
			print_line(t, line, strcmp(argv[2], "marked") == 0);
	free(line);
	tokenizer_free(t);
	vocab_free(v);
	model_file_close(f);
	cJSON_Delete(alone.tokenizer);
	return 0;
}

/*
 * Owns the perplexity of a text: exp of the mean of -log p(token | the tokens before it), over
 * windows of a whole context that share nothing. Of each window the tokens of its second half
 * count, which have at least half a context before them (llama.cpp's measure, so that figures
 * compare). Main thread.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "asking.h"
#include "base/die.h"
#include "base/log.h"
#include "commands.h"

#define TEXT_MAX_BYTES (256 << 20)
#define HELP_MAX_BYTES (1 << 16)
#define WINDOW_TOKENS  512

struct score {
	double nll;   /* sum of -log p */
	double nll_2; /* ... and of its squares */
	int64_t n;
};

static enum rc read_file(const char *path, struct buf *b, struct err *e)
{
	FILE *f = fopen(path, "re");
	char chunk[65536];
	enum rc rc = RC_OK;
	size_t n;

	if (!f)
		return err_set(e, RC_INPUT, "-f %s: %m", path);
	while (rc == RC_OK && (n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		if (!buf_append(b, chunk, n))
			rc = err_set(e, RC_INPUT, "-f %s: more than %d MiB", path,
				     TEXT_MAX_BYTES >> 20);
	if (rc == RC_OK && ferror(f))
		rc = err_set(e, RC_IO, "-f %s: cannot be read to its end", path);
	fclose(f);
	return rc;
}

/* One window; its first token may be replaced by the one that begins a text. */
static enum rc score_window(struct asking *a, const int32_t *tokens, int32_t n, int32_t bos,
			    struct score *out, struct err *e)
{
	struct genreq *r = genreq_new(0, "perplexity", tokens, n, 1);
	enum rc rc;

	if (bos >= 0)
		r->tokens[0] = bos;
	r->prompt_logprob = xcalloc((size_t)n, sizeof(*r->prompt_logprob));
	rc = asking_submit(a, r, e);
	if (rc == RC_OK) {
		asking_wait(a);
		for (int32_t i = n / 2; i < n; i++) {
			double nll = -r->prompt_logprob[i];

			out->nll += nll;
			out->nll_2 += nll * nll;
			out->n++;
		}
		if (r->finish == FINISH_ERROR)
			rc = err_set(e, RC_IO, "the engine failed");
	}
	genreq_free(r);
	return rc;
}

static enum rc score_text(struct session *s, const struct buf *text, int32_t window,
			  struct score *out, struct err *e)
{
	const struct textcodec *codec = tokenizer_codec(s->tokenizer);
	int32_t bos = s->vocab->add_bos ? s->vocab->bos : -1;
	struct token_list ids = {0};
	struct asking asking;
	enum rc rc;

	codec->encode(codec, buf_head(text), buf_size(text), &ids);
	if (ids.n < window) {
		rc = err_set(
			e, RC_INPUT,
			"the text has %d tokens, fewer than one window of %d; a longer text, or "
			"a smaller --window",
			ids.n, window);
		token_list_release(&ids);
		return rc;
	}
	rc = asking_open(&asking, s, e);
	for (int32_t at = 0; rc == RC_OK && at + window <= ids.n; at += window) {
		rc = score_window(&asking, ids.id + at, window, bos, out, e);
		if (rc == RC_OK)
			fprintf(stderr, "\r%d of %d windows, perplexity %.4f", at / window + 1,
				ids.n / window, exp(out->nll / (double)out->n));
	}
	fputc('\n', stderr);
	asking_close(&asking);
	token_list_release(&ids);
	return rc;
}

int command_perplexity(int argc, char *const *argv)
{
	struct session_options o = session_defaults;
	struct opt_spec specs[SESSION_SPECS + 4];
	const char *file = NULL;
	int64_t window = WINDOW_TOKENS;
	bool help = false;
	const struct opt_spec own[] = {
		{OPT_STRING, "file", 'f', .out = &file, .arg = "FILE", .help = "the text"},
		{OPT_INT, "window", .out = &window, .arg = "TOKENS", .min = 8, .max = 1 << 20,
		 .help = "so many at a time; the second half of them counts (512)"},
		{OPT_FLAG, "help", 'h', .out = &help, .help = "this text"},
		{0},
	};
	struct score score = {0};
	struct session s = {0};
	struct buf text;
	struct err e;
	enum rc rc;

	session_specs(specs, &o);
	memcpy(specs + SESSION_SPECS, own, sizeof(own));
	rc = opt_parse(specs, argc, argv, NULL, &e);
	buf_init(&text, TEXT_MAX_BYTES);
	if (rc == RC_OK && help) {
		opt_help(&text,
			 "usage: gpu_engine perplexity -m MODEL -f FILE   how well it foresees a "
			 "text",
			 specs, "Example:\n  gpu_engine perplexity -m smollm2.gguf -f README.md\n");
		return print_out(&text);
	}
	if (rc == RC_OK && !file)
		rc = err_set(&e, RC_INPUT, "-f: want a file with a text");
	if (rc == RC_OK)
		rc = read_file(file, &text, &e);
	o.max_seqs = 1;
	if (rc == RC_OK)
		rc = session_open(&s, &o, false, &e);
	if (rc == RC_OK && window >= s.wish.max_len)
		rc = err_set(&e, RC_INPUT,
			     "--window %lld: the context holds %d tokens, one of them "
			     "for an answer",
			     (long long)window, s.wish.max_len);
	if (rc == RC_OK)
		rc = score_text(&s, &text, (int32_t)window, &score, &e);
	if (rc == RC_OK) {
		double mean = score.nll / (double)score.n;
		double sd = sqrt(fmax(0, score.nll_2 / (double)score.n - mean * mean));

		printf("perplexity %.4f +- %.4f over %lld tokens\n", exp(mean),
		       exp(mean) * sd / sqrt((double)score.n), (long long)score.n);
	}
	buf_release(&text);
	session_close(&s);
	return rc ? complain(&e) : EXIT_SUCCESS;
}

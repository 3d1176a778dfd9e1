/*
 * Owns one answer on the terminal: it streams as it is made, Ctrl-C ends it, and what it took is
 * said on stderr. Main thread.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "asking.h"
#include "base/check.h"
#include "base/log.h"
#include "base/units.h"
#include "commands.h"
#include "serve/text_stream.h"

#define HELP_MAX_BYTES	 (1 << 16)
#define PROMPT_MAX_BYTES (64 << 20)

struct run_options {
	struct session_options session;
	const char *prompt, *system;
	int64_t tokens;
	double temperature, top_p;
	bool raw, ignore_eos, quiet, help;
};

struct run {
	struct asking asking;
	const struct textcodec *codec;
	struct genreq *r;
	struct text_stream text;
	struct buf bytes, shown;
	int32_t n;
	bool interrupted;
};

#define N_SPECS (SESSION_SPECS + 14)

static void make_specs(struct opt_spec *specs, struct run_options *o)
{
	const struct opt_spec own[] = {
		SESSION_CHAT_TEMPLATE(&o->session),
		{OPT_HEADING, .help = "The answer"},
		{OPT_STRING, "prompt", 'p', .out = &o->prompt, .arg = "TEXT",
		 .help = "what is asked (what stands on stdin)"},
		{OPT_STRING, "system", .out = &o->system, .arg = "TEXT",
		 .help = "the system message before it"},
		{OPT_FLAG, "raw", .out = &o->raw,
		 .help = "the prompt is a text to go on with, no conversation"},
		{OPT_INT, "tokens", 'n', .out = &o->tokens, .arg = "N", .min = 1, .max = 1 << 24,
		 .help = "at most (up to the context's end)"},
		{OPT_NUM, "temp", .out = &o->temperature, .arg = "T", .min = 0, .max = 100,
		 .help = "temperature; 0 always takes the likeliest token (0.7)"},
		{OPT_NUM, "top-p", .out = &o->top_p, .arg = "P", .min = 0.001, .max = 1,
		 .help = "of the likeliest tokens that make up so much (1)"},
		SESSION_SEED(&o->session),
		{OPT_FLAG, "ignore-eos", .out = &o->ignore_eos, .help = "go on past the end"},
		{OPT_FLAG, "quiet", 'q', .out = &o->quiet, .help = "no figures on stderr"},
		{OPT_FLAG, "help", 'h', .out = &o->help, .help = "this text"},
		{0},
	};

	specs[0] = (struct opt_spec){OPT_HEADING, .help = "The model"};
	session_specs(specs + 1, &o->session);
	memcpy(specs + 1 + SESSION_SPECS, own, sizeof(own));
}

static void on_token(struct genreq *r, int32_t token, void *arg)
{
	struct run *run = arg;
	bool last = r->finish != FINISH_NONE && run->n + 1 == genreq_output_tokens(r);

	buf_clear(&run->bytes);
	buf_clear(&run->shown);
	if (!last || r->finish != FINISH_STOP)
		CHECK(run->codec->decode(run->codec, token, run->n, &run->bytes));
	run->n++;
	text_stream_push(&run->text, buf_head(&run->bytes), buf_size(&run->bytes), false,
			 &run->shown);
	if (last)
		text_stream_end(&run->text, &run->shown);
	fwrite(buf_head(&run->shown), 1, buf_size(&run->shown), stdout);
	fflush(stdout);
}

static void on_interrupt(int signo, void *arg)
{
	struct run *run = arg;

	(void)signo;
	if (run->interrupted)
		_exit(128 + SIGINT);
	run->interrupted = true;
	engine_cancel(run->asking.engine, run->r, FINISH_STOP);
}

static enum rc read_prompt(struct buf *b, const struct run_options *o, struct err *e)
{
	char chunk[65536];
	size_t n;

	if (o->prompt) {
		CHECK(buf_puts(b, o->prompt));
		return RC_OK;
	}
	if (isatty(STDIN_FILENO))
		log_info("reading the prompt from the terminal, until Ctrl-D");
	while ((n = fread(chunk, 1, sizeof(chunk), stdin)) > 0)
		if (!buf_append(b, chunk, n))
			return err_set(e, RC_INPUT, "stdin: a prompt of more than %d MiB",
				       PROMPT_MAX_BYTES >> 20);
	return buf_size(b) > 0 ? RC_OK
			       : err_set(e, RC_INPUT, "-p: there is no prompt, nor one on stdin");
}

static void encode(const struct textcodec *codec, const struct run_options *o,
		   const struct buf *text, struct token_list *out)
{
	struct chat_message message[2];
	int32_t n = 0;

	if (o->raw || !codec->chat) {
		codec->encode(codec, buf_head(text), buf_size(text), out);
		return;
	}
	if (o->system)
		message[n++] = (struct chat_message){"system", o->system, strlen(o->system)};
	message[n++] = (struct chat_message){"user", buf_head(text), buf_size(text)};
	codec->chat(codec, message, n, out);
}

static enum rc make_request(struct run *run, const struct run_options *o, const struct session *s,
			    struct err *e)
{
	struct token_list ids = {0};
	struct sampling *how;
	struct buf text;
	enum rc rc;

	buf_init(&text, PROMPT_MAX_BYTES);
	rc = read_prompt(&text, o, e);
	if (rc == RC_OK)
		encode(run->codec, o, &text, &ids);
	buf_release(&text);
	if (rc == RC_OK && (ids.n == 0 || ids.n >= s->wish.max_len))
		rc = err_set(e, RC_INPUT,
			     "the prompt has %d tokens; the context holds %d, and one is for the "
			     "answer",
			     ids.n, s->wish.max_len);
	if (rc == RC_OK) {
		int64_t room = s->wish.max_len - ids.n;
		int64_t n = o->tokens > 0 && o->tokens < room ? o->tokens : room;

		run->r = genreq_new(0, "run", ids.id, ids.n, (int32_t)n);
		run->r->seed = (uint64_t)o->session.seed;
		run->r->ignore_eos = o->ignore_eos;
		how = run->r->sampling = sampling_new();
		how->temperature = o->temperature;
		how->top_p = o->top_p;
		for (int32_t i = 0; i < run->codec->n_end_ids && !o->ignore_eos; i++)
			sampling_add_stop_id(how, run->codec->end_ids[i]);
	}
	token_list_release(&ids);
	return rc;
}

static void say_figures(const struct run *run)
{
	const struct genreq *r = run->r;
	double prefill_s = ns_to_s(r->first_token_ns - r->first_scheduled_ns);
	double decode_s = ns_to_s(r->last_token_ns - r->first_token_ns);

	if (run->n == 0)
		return;
	log_info("prompt %d tokens in %.2f s (%.0f tok/s), answer %d tokens%s%.1f tok/s%s",
		 r->n_prompt, prefill_s, prefill_s > 0 ? r->n_prompt / prefill_s : 0, run->n,
		 run->n > 1 ? " at " : ", ", decode_s > 0 ? (run->n - 1) / decode_s : 0,
		 run->interrupted ? ", interrupted" : "");
}

static int answer(struct session *s, const struct run_options *o)
{
	struct run run = {.codec = tokenizer_codec(s->tokenizer)};
	struct err e;
	enum rc rc;

	text_stream_init(&run.text, NULL);
	buf_init(&run.bytes, 1 << 20);
	buf_init(&run.shown, SIZE_MAX);
	rc = make_request(&run, o, s, &e);
	if (rc == RC_OK)
		rc = asking_open(&run.asking, s, &e);
	run.asking.on_token = on_token;
	run.asking.arg = &run;
	if (rc == RC_OK)
		rc = asking_submit(&run.asking, run.r, &e);
	if (rc == RC_OK) {
		evloop_on_signal(s->loop, SIGINT, on_interrupt, &run);
		asking_wait(&run.asking);
		fputc('\n', stdout);
		fflush(stdout);
		if (!o->quiet)
			say_figures(&run);
		if (run.r->finish == FINISH_ERROR)
			rc = err_set(&e, RC_IO, "the engine failed while it computed the answer");
	}
	asking_close(&run.asking);
	genreq_free(run.r);
	text_stream_release(&run.text);
	buf_release(&run.bytes);
	buf_release(&run.shown);
	return rc ? complain(&e) : EXIT_SUCCESS;
}

int command_run(int argc, char *const *argv)
{
	struct run_options o = {.session = session_defaults, .temperature = 0.7, .top_p = 1};
	struct opt_spec specs[N_SPECS];
	struct session s = {0};
	struct err e;
	enum rc rc;
	int code;

	o.session.max_seqs = 1;
	make_specs(specs, &o);
	rc = opt_parse(specs, argc, argv, NULL, &e);
	if (rc == RC_OK && o.help) {
		struct buf b;

		buf_init(&b, HELP_MAX_BYTES);
		opt_help(&b,
			 "usage: gpu_engine run -m MODEL -p TEXT [options]   one answer on the "
			 "terminal",
			 specs,
			 "Example:\n  gpu_engine run -m smollm2.gguf -p 'Why is the sky blue?' -n "
			 "100\n");
		return print_out(&b);
	}
	if (rc == RC_OK && o.raw && (o.system || o.session.chat_template))
		rc = err_set(&e, RC_INPUT, "--raw: a text to go on with has no use for %s",
			     o.system ? "--system" : "--chat-template");
	if (rc == RC_OK)
		rc = session_open(&s, &o.session, false, &e);
	code = rc ? complain(&e) : answer(&s, &o);
	session_close(&s);
	return code;
}

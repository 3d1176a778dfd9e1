/*
 * The program gpu_engine as a user starts it, on a tiny model with random weights: the API over raw
 * sockets, what happens to who leaves or asks too much, its commands, and its refusals.
 *
 * What is asked for is biased to letters, so that answers are texts that can be cut and compared.
 */
#define PROGRAM BINARY_DIR "/bin/gpu_engine"

#include "../support/program.h"
#include "../support/tiny_model.h"
#include "base/check.h"
#include "base/jsonx.h"
#include "model/model_file.h"

#define CHAT	    "/v1/chat/completions"
#define COMPLETIONS "/v1/completions"

/* The tiny vocabulary has the 256 bytes behind its three specials. */
#define ID(byte) (3 + (byte))

static char *model;   /* its path */
static char *letters; /* members of a body: any of the likeliest letters a..z */

static void start_model(struct engine *g, const char *const *more)
{
	const char *args[MAX_ARGS] = {"-m", model, "--served-model-name", "tiny", "--threads", "2"};
	int n = 6;

	while (*more)
		args[n++] = *more++;
	start(g, args);
}

/* An answer to a body with these members more; the whole of what came. */
static void ask(const struct engine *g, const char *path, const char *members, struct buf *answer)
{
	bool chat = strcmp(path, CHAT) == 0;
	char *body = xasprintf("{\"model\":\"tiny\",%s,%s%s}",
			       chat ? "\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]"
				    : "\"prompt\":\"Once upon a time\"",
			       letters, members);

	request(g, "POST", path, "", body, answer);
	free(body);
}

static const cJSON *body_of(const struct buf *answer, cJSON **o)
{
	const char *body = strstr(buf_head(answer), "\r\n\r\n");
	struct err e;

	says(answer, "HTTP/1.1 200");
	assert_non_null(body);
	if (json_parse(o, body + 4, strlen(body + 4), &e) != RC_OK)
		fail_msg("%s in: %s", e.msg, body);
	return cJSON_GetArrayItem(cJSON_GetObjectItem(*o, "choices"), 0);
}

static const char *text_of(const cJSON *choice)
{
	const cJSON *message = cJSON_GetObjectItem(choice, "message");
	const cJSON *text = message ? cJSON_GetObjectItem(message, "content")
				    : cJSON_GetObjectItem(choice, "text");

	assert_true(cJSON_IsString(text));
	return text->valuestring;
}

/* What is said, and how it ended, by an answer that is no stream. */
static char *say(const struct engine *g, const char *path, const char *members, const char *finish)
{
	struct buf b;
	cJSON *o;
	const cJSON *choice;
	char *text;

	ask(g, path, members, &b);
	choice = body_of(&b, &o);
	text = xstrdup(text_of(choice));
	assert_string_equal(cJSON_GetObjectItem(choice, "finish_reason")->valuestring, finish);
	cJSON_Delete(o);
	buf_release(&b);
	return text;
}

/* The same as a stream: its pieces put together. */
static char *stream(const struct engine *g, const char *path, const char *members,
		    const char *finish)
{
	char *all = xasprintf("%s,\"stream\":true", members), *end = NULL;
	struct buf b, text;

	ask(g, path, all, &b);
	says(&b, "text/event-stream");
	says(&b, "data: [DONE]");
	buf_init(&text, SIZE_MAX);
	for (char *at = strstr(buf_head(&b), "data: {"); at; at = strstr(at, "data: {")) {
		const cJSON *choice, *delta, *piece, *reason;
		cJSON *o = cJSON_Parse(at + 6);

		at++;
		choice = cJSON_GetArrayItem(cJSON_GetObjectItem(o, "choices"), 0);
		delta = cJSON_GetObjectItem(choice, "delta");
		piece = delta ? cJSON_GetObjectItem(delta, "content")
			      : cJSON_GetObjectItem(choice, "text");
		reason = cJSON_GetObjectItem(choice, "finish_reason");
		if (cJSON_IsString(piece))
			buf_puts(&text, piece->valuestring);
		if (cJSON_IsString(reason)) {
			free(end);
			end = xstrdup(reason->valuestring);
		}
		cJSON_Delete(o);
	}
	assert_string_equal(end, finish);
	free(end);
	free(all);
	buf_release(&b);
	all = xstrdup(buf_cstr(&text));
	buf_release(&text);
	return all;
}

static void expect_letters(const char *text, size_t n)
{
	assert_int_equal(strlen(text), n);
	assert_int_equal(strspn(text, "abcdefghijklmnopqrstuvwxyz"), n);
}

/* ---- answers ---- */

static void test_answers(void **state)
{
	static const char *const paths[] = {CHAT, COMPLETIONS};
	const char *const args[] = {"--port", "0", NULL};
	struct engine g;
	struct buf b;

	(void)state;
	start_model(&g, args);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		char *whole = say(&g, paths[i], "\"max_tokens\":30,\"seed\":1", "length");
		char *again = stream(&g, paths[i], "\"max_tokens\":30,\"seed\":1", "length");
		char *other = say(&g, paths[i], "\"max_tokens\":30,\"seed\":2", "length");

		expect_letters(whole, 30);
		assert_string_equal(whole, again); /* though a prefix was cached meanwhile */
		assert_string_not_equal(whole, other);
		free(whole);
		free(again);
		free(other);
	}
	ask(&g, CHAT,
	    "\"max_tokens\":5,\"stream\":true,\"stream_options\":{\"include_usage\":true}", &b);
	says(&b, "\"completion_tokens\":5");
	buf_release(&b);

	/* A prompt in ids is the same as in words. */
	request(&g, "POST", COMPLETIONS, "",
		"{\"model\":\"tiny\",\"prompt\":[100,101,102],\"max_tokens\":3,\"temperature\":0}",
		&b);
	says(&b, "\"prompt_tokens\":3,");
	says(&b, "\"completion_tokens\":");
	buf_release(&b);
	assert_int_equal(stop(&g), 0);
}

static void test_stops(void **state)
{
	const char *const args[] = {"--port", "0", NULL};
	char *text, *cut, *streamed, *members, *four;
	struct engine g;

	(void)state;
	start_model(&g, args);
	text = say(&g, CHAT, "\"max_tokens\":40,\"seed\":3", "length");
	expect_letters(text, 40);

	/* Four letters that begin at the 20th: nothing of them may be seen. Their first two are a
	 * stop text that begins alike and never comes. */
	four = xstrndup(text + 20, 4);
	members = xasprintf("\"max_tokens\":40,\"seed\":3,\"stop\":[\"%s\",\"%.2s!\"]", four, four);
	cut = say(&g, CHAT, members, "stop");
	streamed = stream(&g, CHAT, members, "stop");
	assert_int_equal(strlen(cut), strstr(text, four) - text);
	assert_memory_equal(cut, text, strlen(cut));
	assert_string_equal(cut, streamed);
	free(four);
	free(members);
	free(cut);
	free(streamed);

	/* A token that ends it, by its id. */
	members = xasprintf("\"max_tokens\":40,\"seed\":3,\"stop_token_ids\":[%d]", ID(text[9]));
	cut = say(&g, CHAT, members, "stop");
	assert_int_equal(strlen(cut), strchr(text, text[9]) - text);
	assert_memory_equal(cut, text, strlen(cut));
	free(members);
	free(cut);
	free(text);
	assert_int_equal(stop(&g), 0);
}

static void test_logprobs(void **state)
{
	const char *const args[] = {"--port", "0", NULL};
	const cJSON *content, *entry;
	struct engine g;
	struct buf b;
	cJSON *o;

	(void)state;
	start_model(&g, args);
	ask(&g, CHAT, "\"max_tokens\":4,\"seed\":1,\"logprobs\":true,\"top_logprobs\":3", &b);
	content = cJSON_GetObjectItem(cJSON_GetObjectItem(body_of(&b, &o), "logprobs"), "content");
	assert_int_equal(cJSON_GetArraySize(content), 4);
	cJSON_ArrayForEach(entry, content)
	{
		const cJSON *top = cJSON_GetObjectItem(entry, "top_logprobs");
		double before = 0;

		assert_int_equal(cJSON_GetArraySize(top), 3);
		assert_true(cJSON_GetObjectItem(entry, "logprob")->valuedouble <= 0);
		for (int i = 0; i < 3; i++) {
			double p = cJSON_GetObjectItem(cJSON_GetArrayItem(top, i), "logprob")
					   ->valuedouble;

			assert_true(p <= before);
			before = p;
		}
	}
	cJSON_Delete(o);
	buf_release(&b);
	assert_int_equal(stop(&g), 0);
}

/* ---- what generates nothing ---- */

static void test_pages(void **state)
{
	static const struct {
		const char *method, *path, *body, *says[3];
	} row[] = {
		{"GET", "/v1/models", "", {"200 OK", "\"id\":\"tiny\"", "\"max_model_len\":"}},
		{"GET", "/health", "", {"200 OK"}},
		{"GET", "/version", "", {"200 OK", "\"version\":\"" PROJECT_VERSION "\""}},
		{"POST",
		 "/tokenize",
		 "{\"model\":\"tiny\",\"prompt\":\"zq\"}",
		 {"200 OK", "\"count\":2"}},
		{"GET",
		 "/metrics",
		 "",
		 {"\nvllm:num_requests_running{", "\nvllm:kv_cache_usage_perc{",
		  "\nvllm:time_to_first_token_seconds_bucket{"}},
		{"GET", "/nowhere", "", {"404 Not Found"}},
		{"GET", CHAT, "", {"405 Method Not Allowed"}},
	};
	const char *const args[] = {"--port", "0", NULL};
	struct engine g;

	(void)state;
	start_model(&g, args);
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		struct buf b;

		request(&g, row[i].method, row[i].path, "", row[i].body, &b);
		for (size_t k = 0; k < ARRAY_LEN(row[i].says) && row[i].says[k]; k++)
			says(&b, row[i].says[k]);
		buf_release(&b);
	}
	assert_int_equal(stop(&g), 0);
}

static void test_bad_fields(void **state)
{
	static const struct {
		const char *members, *says;
	} row[] = {
		{"\"temperature\":-1", "temperature"},
		{"\"temperature\":\"hot\"", "temperature"},
		{"\"top_p\":0", "top_p"},
		{"\"top_k\":-2", "top_k"},
		{"\"min_p\":2", "min_p"},
		{"\"presence_penalty\":3", "presence_penalty"},
		{"\"repetition_penalty\":0", "repetition_penalty"},
		{"\"logit_bias\":{\"999999\":1}", "logit_bias"},
		{"\"max_tokens\":0", "max_tokens"},
		{"\"n\":0", "n: "},
		{"\"seed\":1.5", "seed"},
		{"\"stop\":[\"\"]", "stop"},
		{"\"stop_token_ids\":[-1]", "stop_token_ids"},
		{"\"top_logprobs\":5", "top_logprobs"},
		{"\"logprobs\":true,\"top_logprobs\":21", "top_logprobs"},
		{"\"stream_options\":{}", "stream_options"},
		{"\"min_tokens\":9,\"max_tokens\":3", "min_tokens"},
	};
	const char *const args[] = {"--port", "0", NULL};
	struct engine g;

	(void)state;
	start_model(&g, args);
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		char *body = xasprintf("{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\","
				       "\"content\":\"Hi\"}],%s}",
				       row[i].members);
		struct buf b;

		request(&g, "POST", CHAT, "", body, &b);
		says(&b, "HTTP/1.1 400");
		says(&b, row[i].says);
		buf_release(&b);
		free(body);
	}
	assert_int_equal(stop(&g), 0);
}

static void test_context_overflow(void **state)
{
	const char *const args[] = {"--port", "0", "--ctx-size", "16", NULL};
	struct engine g;
	struct buf b;
	char *text;

	(void)state;
	start_model(&g, args);
	request(&g, "POST", COMPLETIONS, "",
		"{\"model\":\"tiny\",\"prompt\":\"zqzqzqzqzqzqzqzqzqzq\"}", &b);
	says(&b, "HTTP/1.1 400");
	says(&b, "16 tokens");
	says(&b, "20");
	buf_release(&b);
	text = say(&g, COMPLETIONS, "\"max_tokens\":9999,\"ignore_eos\":true,\"seed\":1", "length");
	assert_in_range(strlen(text), 1, 15); /* up to the context's end, with what was asked */
	free(text);
	assert_int_equal(stop(&g), 0);
}

/* ---- load and leaving ---- */

/* Whether the metrics page has this line, whose labels are left out. */
static bool metric_is(const struct engine *g, const char *name, const char *value)
{
	char *end = xasprintf("} %s\n", value), *line;
	struct buf b;
	bool is;

	request(g, "GET", "/metrics", "", "", &b);
	line = strstr(buf_head(&b), name);
	assert_non_null(line);
	is = strncmp(line + strcspn(line, "}"), end, strlen(end)) == 0;
	buf_release(&b);
	free(end);
	return is;
}

static void begin_stream(const struct engine *g, int *fd)
{
	char first[512];

	*fd = dial(g->port, NULL);
	send_request(*fd, "POST", CHAT, "",
		     "{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}],"
		     "\"ignore_eos\":true,\"stream\":true}");
	assert_true(recv(*fd, first, sizeof(first), 0) > 0);
}

/* Two are in the engine, and that is all it takes; they leave, and what they held is free. */
static void test_full_and_left(void **state)
{
	const char *const args[] = {"--port", "0", "--max-queue", "2", NULL};
	struct engine g;
	struct buf b;
	int fd[2];
	char *text;

	(void)state;
	start_model(&g, args);
	assert_true(metric_is(&g, "\nvllm:kv_cache_usage_perc{", "0.0"));
	begin_stream(&g, &fd[0]);
	begin_stream(&g, &fd[1]);
	assert_false(metric_is(&g, "\nvllm:kv_cache_usage_perc{", "0.0"));
	ask(&g, CHAT, "\"max_tokens\":3", &b);
	says(&b, "HTTP/1.1 429");
	assert_non_null(strcasestr(buf_head(&b), "\r\nretry-after:"));
	buf_release(&b);
	close(fd[0]);
	close(fd[1]);
	while (!metric_is(&g, "\nvllm:num_requests_running{", "0.0"))
		;
	assert_true(metric_is(&g, "\nvllm:kv_cache_usage_perc{", "0.0"));
	text = say(&g, CHAT, "\"max_tokens\":3", "length");
	free(text);
	assert_int_equal(stop(&g), 0);
}

static void test_drains(void **state)
{
	const char *const args[] = {"--port", "0", NULL};
	struct engine g;
	struct buf rest;
	char first[4096];
	int fd;

	(void)state;
	start_model(&g, args);
	fd = dial(g.port, NULL);
	send_request(fd, "POST", CHAT, "",
		     "{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}],"
		     "\"ignore_eos\":true,\"stream\":true,\"max_tokens\":200,"
		     "\"stream_options\":{\"include_usage\":true}}");
	assert_true(recv(fd, first, 64, 0) > 0); /* the answer has begun */
	kill(g.pid, SIGTERM);
	read_all(fd, &rest);
	close(fd);
	says(&rest, "\"completion_tokens\":200");
	says(&rest, "data: [DONE]"); /* whole, though the signal came first */
	buf_release(&rest);
	assert_int_equal(wait_for(&g), 0);
	assert_int_equal(dial(g.port, NULL), -1);
}

static void test_key_and_socket(void **state)
{
	const char *path = in_folder("socket");
	const char *const args[] = {"--uds", path, "--api-key-env", "TEST_GPU_ENGINE_KEY", NULL};
	static const char body[] =
		"{\"model\":\"tiny\",\"prompt\":\"a\",\"max_tokens\":1,\"ignore_eos\":true}";
	static const struct {
		const char *header, *says;
	} row[] = {
		{"", "HTTP/1.1 401"},
		{"Authorization: Bearer mellon\r\n", "HTTP/1.1 401"},
		{"Authorization: Bearer sesame\r\n", "\"completion_tokens\":1,"},
	};
	struct engine g;

	(void)state;
	setenv("TEST_GPU_ENGINE_KEY", "sesame", 1);
	start_model(&g, args);
	assert_int_equal(g.port, 0);
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		int fd = dial(0, path);
		struct buf b;

		assert_true(fd >= 0);
		send_request(fd, "POST", COMPLETIONS, row[i].header, body);
		read_all(fd, &b);
		close(fd);
		says(&b, row[i].says);
		buf_release(&b);
	}
	assert_int_equal(stop(&g), 0);
	unsetenv("TEST_GPU_ENGINE_KEY");
	unlink(path);
}

/* ---- commands ---- */

/* Runs it to its end; returns the exit code. */
static int run_to_end(const char *const *args, struct buf *out, struct buf *err)
{
	struct engine g;

	spawn(&g, args);
	read_all(g.out, out);
	read_all(g.err, err);
	return wait_for(&g);
}

static void write_text(const char *path, size_t bytes)
{
	FILE *f = fopen(path, "we");

	for (size_t i = 0; i < bytes; i++)
		fputc(i % 7 == 6 ? ' ' : 'a' + (int)(i * i % 26), f);
	assert_int_equal(fclose(f), 0);
}

static void test_commands(void **state)
{
	const char *text = xstrdup(in_folder("text"));
	const struct {
		const char *args[16];
		const char *out[3], *err;
		int lines; /* of stdout; 0 = any number */
	} row[] = {
		{{"--help"}, {"usage: gpu_engine", "--max-queue", "  cpu "}, "", 0},
		{{"--version"}, {"gpu_engine " PROJECT_VERSION}, "", 1},
		{{"info", "-m", model}, {"llama", "layers 2,", "byte-level BPE"}, "", 0},
		{{"info", "-m", model, "--tensors"}, {"blk.0.attn_q.weight"}, "", 0},
		{{"run", "-m", model, "-p", "zq", "-n", "4", "--ignore-eos"},
		 {""},
		 "answer 4 tokens",
		 0},
		{{"run", "-m", model, "-p", "zq", "-n", "4", "-q"}, {""}, "", 0},
		{{"bench", "-m", model, "--csv", "--batch", "1,2", "--prompt-tokens", "32", "-n",
		  "8"},
		 {"what,batch,tokens_per_s,", "\nprefill,1,", "\ndecode,2,"},
		 "",
		 4},
		{{"perplexity", "-m", model, "-f", text, "--window", "64"},
		 {"perplexity ", " +- ", " tokens"},
		 "windows",
		 1},
	};

	(void)state;
	write_text(text, 400);
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		const char *args[17] = {0};
		struct buf out, err;
		int code;

		memcpy(args, row[i].args, sizeof(row[i].args));
		code = run_to_end(args, &out, &err);
		if (code)
			fail_msg("%s: exit %d, stderr \"%s\"", args[0], code, buf_head(&err));
		for (size_t k = 0; k < ARRAY_LEN(row[i].out) && row[i].out[k]; k++)
			says(&out, row[i].out[k]);
		says(&err, row[i].err);
		if (row[i].lines)
			assert_int_equal(count(buf_head(&out), "\n"), row[i].lines);
		buf_release(&out);
		buf_release(&err);
	}
	unlink(text);
	free((char *)text);
}

/* A text as it is read after a way through JSON, which has no place for what is no UTF-8. */
static const char *as_json(const char *s, size_t len, cJSON **o)
{
	struct buf b;

	buf_init(&b, SIZE_MAX);
	buf_putc(&b, '"');
	json_escape(&b, s, len);
	buf_putc(&b, '"');
	*o = cJSON_Parse(buf_cstr(&b));
	buf_release(&b);
	return cJSON_GetStringValue(*o);
}

/* The same question to the same seed: what is printed is what the server says. */
static void test_run_is_the_server(void **state)
{
	const char *const run[] = {"run", "-m",	    model, "-p",	   "Hello", "-n",
				   "6",	  "--temp", "0",   "--ignore-eos", "-q",    NULL};
	const char *const serve[] = {"--port", "0", NULL};
	struct buf out, err, b;
	cJSON *o, *mended;
	struct engine g;

	(void)state;
	assert_int_equal(run_to_end(run, &out, &err), 0);
	start_model(&g, serve);
	request(&g, "POST", CHAT, "",
		"{\"model\":\"tiny\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}],"
		"\"max_tokens\":6,\"temperature\":0,\"ignore_eos\":true}",
		&b);
	assert_int_equal(buf_head(&out)[buf_size(&out) - 1], '\n');
	assert_string_equal(as_json(buf_head(&out), buf_size(&out) - 1, &mended),
			    text_of(body_of(&b, &o)));
	cJSON_Delete(mended);
	cJSON_Delete(o);
	buf_release(&b);
	buf_release(&out);
	buf_release(&err);
	assert_int_equal(stop(&g), 0);
}

static void test_interrupt(void **state)
{
	const char *const args[] = {"run", "-m",      model,	      "-p", "Hello",
				    "-n",  "1000000", "--ignore-eos", NULL};
	struct buf out, err;
	struct engine g;
	char first;

	(void)state;
	spawn(&g, args);
	assert_int_equal(read(g.out, &first, 1), 1); /* the answer has begun */
	kill(g.pid, SIGINT);
	read_all(g.out, &out);
	read_all(g.err, &err);
	says(&err, ", interrupted");
	assert_int_equal(buf_head(&out)[buf_size(&out) - 1], '\n');
	buf_release(&out);
	buf_release(&err);
	assert_int_equal(wait_for(&g), 0);
}

/* ---- refusals: one line, exit code 2 ---- */

/* The model with bytes cut off or changed. */
static char *damaged(const char *name, long keep_bytes, long at, char to)
{
	char *path = xstrdup(in_folder(name));
	FILE *from = fopen(model, "re"), *f = fopen(path, "we");

	for (long i = 0; i < keep_bytes; i++) {
		int c = getc(from);

		if (c == EOF)
			break;
		putc(i == at ? to : c, f);
	}
	fclose(from);
	assert_int_equal(fclose(f), 0);
	return path;
}

static void test_refusals(void **state)
{
	char *cut = damaged("cut.gguf", 9000, -1, 0);
	char *magic = damaged("magic.gguf", 1 << 30, 0, 'X');
	char *count_of = damaged("count.gguf", 1 << 30, 15, 0x7f); /* of tensors: 2^62 of them */
	char *few = xstrdup(in_folder("few"));
	const struct {
		const char *args[8];
		const char *says;
	} row[] = {
		{{"--port", "0"}, "-m"},
		{{"-m", "/no/such.gguf"}, "/no/such.gguf"},
		{{"-m", cut}, "cut.gguf"},
		{{"-m", magic}, "magic.gguf"},
		{{"-m", count_of}, "count.gguf"},
		{{"info", "-m", cut}, "cut.gguf"},
		{{"-m", model, "--kv-cache", "much"}, "--kv-cache"},
		{{"-m", model, "--kv-cache", "4KiB"}, "--kv-cache"},
		{{"-m", model, "--ctx-size", "16000000"}, "--ctx-size"},
		{{"-m", model, "--isa", "mmx"}, "mmx"},
		{{"-m", model, "--device", "tpu"}, "--device"},
		{{"-m", model, "--device", "cuda", "--isa", "scalar"}, "--isa"},
		{{"-m", model, "--device", "cpu", "--graphs", "on"}, "--graphs"},
		{{"-m", model, "--device", "cuda", "--graphs", "1"}, "want on or off"},
		{{"-m", model, "--chat-template", "nobodys"}, "nobodys"},
		{{"-m", model, "--port", "65536"}, "--port"},
		{{"-m", model, "--uds", "/tmp/x", "--port", "0"}, "--uds"},
		{{"-m", model, "--api-key-env", "NO_SUCH_VARIABLE_HERE"}, "NO_SUCH_VARIABLE_HERE"},
		{{"-m", model, "--max-queues", "3"}, "--max-queue"},
		{{"run", "-m", model, "-p", "a", "--temp", "-1"}, "--temp"},
		{{"bench", "-m", model, "--device", "cpu", "--batch", "1,none"}, "--batch"},
		{{"bench", "-m", model, "--device", "cpu", "--prompt-tokens", "999999"},
		 "--prompt-tokens"},
		{{"perplexity", "-m", model, "-f", few, "--seed", "1"}, "--seed: unknown option"},
		{{"run", "-m", model, "-p", "a", "--raw", "--system", "b"}, "--system"},
		{{"perplexity", "-m", model}, "-f"},
		{{"perplexity", "-m", model, "--device", "cpu", "-f", "/no/such.txt"},
		 "/no/such.txt"},
		{{"perplexity", "-m", model, "--device", "cpu", "-f", few},
		 "fewer than one window"},
	};

	(void)state;
	write_text(few, 20);
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		const char *args[9] = {0};
		struct buf out, err;
		int code;

		memcpy(args, row[i].args, sizeof(row[i].args));
		code = run_to_end(args, &out, &err);
		if (code != 2 || buf_size(&out) || !strstr(buf_head(&err), row[i].says) ||
		    count(buf_head(&err), "\n") != 1)
			fail_msg("%s %s: exit %d, stdout \"%s\", stderr \"%s\"", args[0], args[1],
				 code, buf_head(&out), buf_head(&err));
		buf_release(&out);
		buf_release(&err);
	}
	for (char **file = (char *[]){cut, magic, count_of, few, NULL}; *file; file++) {
		unlink(*file);
		free(*file);
	}
}

/* ---- all of them ---- */

static int set_up(void **state)
{
	struct buf b;

	if (make_folder(state))
		return -1;
	/* a context long enough that an answer without an end is one while a test lasts */
	model = tiny_model_write(&(struct tiny_params){.dtype = DTYPE_Q8_0, .max_len = 100000},
				 MODEL_GGUF, folder);
	buf_init(&b, 4096);
	buf_puts(&b, "\"temperature\":10,\"top_k\":12,\"logit_bias\":{");
	for (int c = 'a'; c <= 'z'; c++)
		buf_printf(&b, "%s\"%d\":100", c > 'a' ? "," : "", ID(c));
	buf_puts(&b, "},");
	letters = xstrdup(buf_cstr(&b));
	buf_release(&b);
	return 0;
}

static int tear_down(void **state)
{
	unlink(model);
	free(model);
	free(letters);
	return remove_folder(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),		  cmocka_unit_test(test_stops),
		cmocka_unit_test(test_logprobs),	  cmocka_unit_test(test_pages),
		cmocka_unit_test(test_bad_fields),	  cmocka_unit_test(test_context_overflow),
		cmocka_unit_test(test_full_and_left),	  cmocka_unit_test(test_drains),
		cmocka_unit_test(test_key_and_socket),	  cmocka_unit_test(test_commands),
		cmocka_unit_test(test_run_is_the_server), cmocka_unit_test(test_interrupt),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

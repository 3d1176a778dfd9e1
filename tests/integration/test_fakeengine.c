/*
 * The program fakeengine as a user starts it: its line on stdout, answers over a raw socket, the
 * truth file, how it stops, and how it refuses bad input. alarm() ends a test that waits in vain.
 */
#define PROGRAM BINARY_DIR "/bin/fakeengine"

#include "../support/program.h"

#include <poll.h>
#include <strings.h>
#include <sys/pidfd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/csv.h"

#define CHAT	  "/v1/chat/completions"
#define ASK	  "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]"
#define NO_STREAM ASK "}"
#define STREAM	  ASK ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}"

/* ---- tests ---- */

static void test_seed_engine(void **state)
{
	const char *truth = in_folder("truth.csv");
	const char *const args[] = {"--port",
				    "0",
				    "--engine-name",
				    "Mine",
				    "--model",
				    "m",
				    "--prefill-ms",
				    "20",
				    "--per-token-ms",
				    "2",
				    "--tokens",
				    "10",
				    "--truth",
				    truth,
				    NULL};
	int64_t began_ns, due_ns, before_ns = 0, sent_ns, index;
	struct csv_table *t;
	struct engine g;
	struct buf b;
	struct err e;

	(void)state;
	start(&g, args);
	began_ns = monotonic_now_ns();
	request(&g, "POST", CHAT, "", NO_STREAM, &b);
	assert_true(monotonic_now_ns() - began_ns >= 40 * NS_PER_MS);
	says(&b, "HTTP/1.1 200");
	says(&b, "\"completion_tokens\":10,");
	says(&b, "\"finish_reason\":\"length\"");
	assert_non_null(strcasestr(buf_head(&b), "\r\nserver: Mine\r\n"));
	buf_release(&b);

	request(&g, "POST", CHAT, "", STREAM, &b);
	says(&b, "text/event-stream");
	says(&b, "\"completion_tokens\":10");
	says(&b, "data: [DONE]");
	assert_int_equal(count(buf_head(&b), "\"content\":\""), 11); /* the role's, and 10 tokens */
	buf_release(&b);

	request(&g, "GET", "/v1/models", "", "", &b);
	says(&b, "\"id\":\"m\"");
	buf_release(&b);
	assert_int_equal(stop(&g), 0);

	if (csv_read(&t, truth, false, &e))
		fail_msg("%s", e.msg);
	assert_int_equal(csv_rows(t), 20);
	for (size_t i = 0; i < csv_rows(t); i++) {
		assert_int_equal(csv_field_int(t, i, csv_find(t, "token_index"), -1, &index, &e),
				 0);
		assert_int_equal(csv_field_int(t, i, csv_find(t, "due_ns"), -1, &due_ns, &e), 0);
		assert_int_equal(csv_field_int(t, i, csv_find(t, "sent_ns"), -1, &sent_ns, &e), 0);
		assert_int_equal(index, i % 10);
		assert_true(sent_ns >= due_ns); /* never early */
		if (index > 0)			/* the model's time knows no lateness */
			assert_int_equal(due_ns - before_ns, 2 * NS_PER_MS);
		else if (i == 0)
			assert_true(due_ns - began_ns >= 22 * NS_PER_MS);
		before_ns = due_ns;
	}
	csv_table_free(t);
	unlink(truth);
}

static void test_unix_socket(void **state)
{
	const char *path = in_folder("socket");
	const char *const args[] = {"--uds", path, "--prefill-ms", "1", "--tokens", "3", NULL};
	struct engine g;
	struct buf b;
	int fd;

	(void)state;
	start(&g, args);
	assert_int_equal(g.port, 0);
	fd = dial(0, path);
	assert_true(fd >= 0);
	send_request(fd, "POST", "/v1/completions", "",
		     "{\"model\":\"fake-model\",\"prompt\":\"a b c\",\"max_tokens\":99}");
	read_all(fd, &b);
	close(fd);
	says(&b, "\"prompt_tokens\":3,");
	says(&b, "\"completion_tokens\":3,"); /* whatever is asked */
	buf_release(&b);
	assert_int_equal(stop(&g), 0);
	unlink(path);
}

static void test_profile_obeys_the_request(void **state)
{
	const char *const args[] = {"--port",	 "0",
				    "--profile", "kind-vllm-a100",
				    "--set",	 "cost.affine.step=1ms",
				    "--set",	 "cost.ingest=0",
				    "--set",	 "output.ends_after=7",
				    "--model",	 "m",
				    NULL};
	struct engine g;
	struct buf b;

	(void)state;
	start(&g, args);
	request(&g, "POST", CHAT, "", ASK ",\"max_tokens\":5}", &b);
	says(&b, "\"completion_tokens\":5,");
	says(&b, "\"finish_reason\":\"length\"");
	buf_release(&b);
	request(&g, "POST", CHAT, "", NO_STREAM, &b);
	says(&b, "\"completion_tokens\":7,");
	says(&b, "\"finish_reason\":\"stop\"");
	buf_release(&b);
	request(&g, "POST", CHAT, "", ASK ",\"max_tokens\":20,\"ignore_eos\":true}", &b);
	says(&b, "\"completion_tokens\":20,");
	buf_release(&b);
	request(&g, "POST", CHAT, "", ASK ",\"max_tokens\":\"many\"}", &b);
	says(&b, "HTTP/1.1 400");
	buf_release(&b);
	assert_int_equal(stop(&g), 0);
}

/* The steps of one answer as a jittered model has them: token to token. */
static void jittered_gaps(const char *seed, int64_t gap_ns[9], char **content)
{
	const char *truth = in_folder("truth.csv");
	const char *const args[] = {"--port",	 "0",
				    "--profile", "kind-vllm-a100",
				    "--set",	 "cost.affine.step=1ms",
				    "--set",	 "cost.jitter_cv=0.5",
				    "--truth",	 truth,
				    "--seed",	 seed,
				    "--model",	 "m",
				    NULL};
	struct csv_table *t;
	int64_t before_ns = 0;
	struct engine g;
	struct buf b;
	char *text;

	start(&g, args);
	request(&g, "POST", CHAT, "", ASK ",\"max_tokens\":10,\"ignore_eos\":true}", &b);
	text = strstr(buf_head(&b), "\"content\":\"");
	assert_non_null(text);
	*content = xstrndup(text, strcspn(text + 11, "\"") + 11);
	buf_release(&b);
	assert_int_equal(stop(&g), 0);
	assert_int_equal(csv_read(&t, truth, false, NULL), RC_OK);
	assert_int_equal(csv_rows(t), 10);
	for (size_t i = 0; i < 10; i++) {
		int64_t due_ns;

		csv_field_int(t, i, csv_find(t, "due_ns"), -1, &due_ns, NULL);
		if (i > 0)
			gap_ns[i - 1] = due_ns - before_ns;
		before_ns = due_ns;
	}
	csv_table_free(t);
	unlink(truth);
}

static void test_seed_makes_the_run(void **state)
{
	int64_t once[9], again[9], other[9];
	char *a, *b, *c;

	(void)state;
	jittered_gaps("1", once, &a);
	jittered_gaps("1", again, &b);
	jittered_gaps("2", other, &c);
	assert_memory_equal(once, again, sizeof(once));
	assert_memory_not_equal(once, other, sizeof(once));
	assert_string_equal(a, b);
	assert_string_not_equal(a, c);
	free(a);
	free(b);
	free(c);
}

static void test_drains(void **state)
{
	const char *const args[] = {
		"--port", "0",	      "--model", "m", "--prefill-ms", "0", "--per-token-ms",
		"4",	  "--tokens", "50",	 NULL};
	struct engine g;
	struct buf rest;
	char first[4096];
	ssize_t n;
	int fd;

	(void)state;
	start(&g, args);
	fd = dial(g.port, NULL);
	send_request(fd, "POST", CHAT, "", STREAM);
	n = recv(fd, first, sizeof(first), 0);
	assert_true(n > 0); /* the answer has begun */
	kill(g.pid, SIGTERM);
	read_all(fd, &rest);
	close(fd);
	says(&rest, "\"completion_tokens\":50");
	says(&rest, "data: [DONE]"); /* whole, though the signal came first */
	buf_release(&rest);
	assert_int_equal(wait_for(&g), 0);
	assert_int_equal(dial(g.port, NULL), -1);
}

static void test_api_key(void **state)
{
	const char *const args[] = {"--port",
				    "0",
				    "--api-key-env",
				    "TEST_FAKEENGINE_KEY",
				    "--model",
				    "m",
				    "--tokens",
				    "1",
				    "--prefill-ms",
				    "0",
				    NULL};
	struct engine g;
	struct buf b;

	(void)state;
	setenv("TEST_FAKEENGINE_KEY", "sesame", 1);
	start(&g, args);
	request(&g, "POST", CHAT, "", NO_STREAM, &b);
	says(&b, "HTTP/1.1 401");
	buf_release(&b);
	request(&g, "POST", CHAT, "Authorization: Bearer sesame\r\n", NO_STREAM, &b);
	says(&b, "HTTP/1.1 200");
	buf_release(&b);
	assert_int_equal(stop(&g), 0);
	unsetenv("TEST_FAKEENGINE_KEY");
}

static void test_refusals(void **state)
{
	static const struct {
		const char *args[6];
		const char *says;
	} row[] = {
		{{"--prefil-ms", "3"}, "--prefill-ms"},
		{{"--prefill-ms", "fast"}, "--prefill-ms"},
		{{"--prefill-ms", "-1"}, "--prefill-ms"},
		{{"--prefill-ms"}, "--prefill-ms"},
		{{"--tokens", "0"}, "--tokens"},
		{{"--tokens", "1.5"}, "--tokens"},
		{{"--port", "65536"}, "--port"},
		{{"--port", "-1"}, "--port"},
		{{"--seed", "x"}, "--seed"},
		{{"--model", ""}, "--model"},
		{{"--profile", "no-such-profile"}, "no-such-profile"},
		{{"--profile", "/no/such.yaml"}, "/no/such.yaml"},
		{{"--profile", "kind-vllm-a100", "--prefill-ms", "3"}, "--prefill-ms"},
		{{"--profile", "kind-vllm-a100", "--tokens", "3"}, "--tokens"},
		{{"--profile", "kind-vllm-a100", "--set", "scheduler.max_num_sequences=3"},
		 "max_num_seqs"},
		{{"--profile", "kind-vllm-a100", "--set", "cost.affine.step=3"}, "--set"},
		{{"--set", "nonsense"}, "nonsense"},
		{{"--uds", "/tmp/x", "--port", "0"}, "--uds"},
		{{"--uds", "/tmp/x", "--host", "127.0.0.1"}, "--host"},
		{{"--uds", "/no/such/folder/socket"}, "/no/such/folder/socket"},
		{{"--host", "192.0.2.1", "--port", "0"}, "192.0.2.1"},
		{{"--truth", "/no/such/folder/t.csv", "--port", "0"}, "/no/such/folder/t.csv"},
		{{"--api-key-env", "NO_SUCH_VARIABLE_HERE"}, "NO_SUCH_VARIABLE_HERE"},
		{{"serve"}, "serve"},
		{{"explain"}, "explain"},
		{{"explain", "seed-vllm", "seed-friendli"}, "explain"},
		{{"explain", "seed-vlm"}, "seed-vllm"},
		{{"explain", "seed-vllm", "--output-tokens", "0"}, "--output-tokens"},
		{{"explain", "seed-vllm", "--output-tokens", "5"}, "--output-tokens"},
		{{"profiles", "--all"}, "--all"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		const char *args[7] = {0};
		struct buf out, err;
		struct engine g;
		int code;

		memcpy(args, row[i].args, sizeof(row[i].args));
		spawn(&g, args);
		read_all(g.out, &out);
		read_all(g.err, &err);
		code = wait_for(&g);
		if (code != 2 || buf_size(&out) || !strstr(buf_head(&err), row[i].says) ||
		    count(buf_head(&err), "\n") != 1)
			fail_msg("%s %s: exit %d, stdout \"%s\", stderr \"%s\"", args[0],
				 args[1] ? args[1] : "", code, buf_head(&out), buf_head(&err));
		buf_release(&out);
		buf_release(&err);
	}
}

static void test_port_taken(void **state)
{
	const char *const args[] = {"--port", "0", NULL};
	char port[16];
	const char *const again[] = {"--port", port, NULL};
	struct engine g, h;
	struct buf err;

	(void)state;
	start(&g, args);
	snprintf(port, sizeof(port), "%d", g.port);
	spawn(&h, again);
	read_all(h.err, &err);
	says(&err, port);
	buf_release(&err);
	assert_int_equal(wait_for(&h), 2);
	assert_int_equal(stop(&g), 0);
}

static void test_texts(void **state)
{
	static const struct {
		const char *args[4];
		const char *says;
	} row[] = {
		{{"--help"}, "--per-token-ms MS"},	     {{"--version"}, "fakeengine "},
		{{"profiles"}, "lima-vllm-llama2-70b-chat"}, {{"profiles", "--help"}, "usage:"},
		{{"explain", "seed-vllm"}, "592.0"},	     {{"explain", "--help"}, "usage:"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(row); i++) {
		const char *args[5] = {0};
		struct engine g;
		struct buf out;

		memcpy(args, row[i].args, sizeof(row[i].args));
		spawn(&g, args);
		read_all(g.out, &out);
		says(&out, row[i].says);
		buf_release(&out);
		assert_int_equal(wait_for(&g), 0);
	}
}

/* A test that is killed (a time limit, kill -9) leaves no engine behind: one in its place starts an
 * engine and is killed, and the engine ends. */
static void test_goes_with_the_test(void **state)
{
	static const char *const args[] = {"--port", "0", NULL};
	struct pollfd ended = {.events = POLLIN};
	pid_t test, engine = 0;
	int said[2];

	(void)state;
	assert_int_equal(pipe2(said, O_CLOEXEC), 0);
	test = fork_bound();
	assert_true(test >= 0);
	if (test == 0) {
		struct engine g;

		start(&g, args);
		if (write(said[1], &g.pid, sizeof(g.pid)) != sizeof(g.pid))
			_exit(1);
		pause();
	}
	close(said[1]);
	assert_int_equal(read(said[0], &engine, sizeof(engine)), sizeof(engine));
	close(said[0]);
	ended.fd = pidfd_open(engine, 0);
	assert_true(ended.fd >= 0);
	kill(test, SIGKILL);
	waitpid(test, NULL, 0);
	assert_int_equal(poll(&ended, 1, -1), 1);
	close(ended.fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seed_engine),
		cmocka_unit_test(test_unix_socket),
		cmocka_unit_test(test_profile_obeys_the_request),
		cmocka_unit_test(test_seed_makes_the_run),
		cmocka_unit_test(test_drains),
		cmocka_unit_test(test_api_key),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_port_taken),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_goes_with_the_test),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

/*
 * The shared main as a process: what it prints, how it drains, and that it outlives its clients.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/child.h"
#include "../support/loopback.h"
#include "../support/toy_engine.h"
#include "base/clock.h"
#include "serve/serve_main.h"

static const char *const models[] = {"toy", NULL};

struct server {
	pid_t pid;
	int out; /* its stdout */
	int port;
};

/* This program again, as the server: argv is "serve" STEP_NS DRAIN_NS PORT. */
static int serve(char **argv)
{
	struct serve_config c = {
		.loop = evloop_new(),
		.host = "127.0.0.1",
		.port = atoi(argv[4]),
		.engine_name = "toy",
		.models = models,
		.version = "1",
		.drain_ns = atoll(argv[3]),
		.codec = &toy_codec,
		.engine = {.policy = &sched_static,
			   .executor = &toy_executor,
			   .eos_token = TOY_EOS},
	};
	struct toy toy = {.loop = c.loop, .cost_ns = atoll(argv[2])};
	int32_t *script = toy_script("abc", &toy.n_script);
	int code;

	toy.script = script;
	c.engine.executor_config = &toy;
	code = serve_main(&c);
	free(script);
	evloop_free(c.loop);
	return code;
}

static pid_t spawn(int out, int64_t step_ns, int64_t drain_ns, int port)
{
	char number[3][24];
	pid_t pid;

	snprintf(number[0], sizeof(number[0]), "%lld", (long long)step_ns);
	snprintf(number[1], sizeof(number[1]), "%lld", (long long)drain_ns);
	snprintf(number[2], sizeof(number[2]), "%d", port);
	pid = fork_bound();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(out, 1);
		execl("/proc/self/exe", "test_serve_main", "serve", number[0], number[1], number[2],
		      (char *)NULL);
		_exit(127);
	}
	return pid;
}

static void start(struct server *s, int64_t step_ns, int64_t drain_ns)
{
	char line[80] = "";
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	s->pid = spawn(fds[1], step_ns, drain_ns, 0);
	close(fds[1]);
	s->out = fds[0];
	for (size_t n = 0;
	     n < sizeof(line) - 1 && read(s->out, line + n, 1) == 1 && line[n] != '\n';)
		n++;
	assert_int_equal(sscanf(line, "listening on http://127.0.0.1:%d", &s->port), 1);
	assert_true(s->port > 0);
}

static int wait_for(struct server *s)
{
	int status;

	assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
	close(s->out);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void ask(struct client *c, int max_tokens)
{
	char body[128], request[256];

	snprintf(body, sizeof(body), "{\"prompt\":\"x\",\"max_tokens\":%d,\"stream\":true}",
		 max_tokens);
	snprintf(request, sizeof(request),
		 "POST /v1/completions HTTP/1.1\r\nContent-Length: %zu\r\n\r\n%s", strlen(body),
		 body);
	client_say(c, request);
}

static void test_drain(void **state)
{
	struct evloop *loop = evloop_new();
	struct server s;
	struct client c;

	(void)state;
	start(&s, 2 * NS_PER_MS, 30 * NS_PER_S);
	client_open(&c, loop, s.port);
	ask(&c, 50);
	client_wait(&c, "\"text\":\"a\"");
	kill(s.pid, SIGTERM);
	client_wait(&c, "[DONE]"); /* the running answer ends */
	client_wait_closed(&c);
	assert_int_equal(wait_for(&s), 0);
	client_close(&c);
	evloop_free(loop);
}

static void test_drain_is_bounded(void **state)
{
	struct evloop *loop = evloop_new();
	struct server s;
	struct client c;

	(void)state;
	start(&s, 2 * NS_PER_MS, 50 * NS_PER_MS);
	client_open(&c, loop, s.port);
	ask(&c, 1000000);
	client_wait(&c, "\"text\":\"a\"");
	kill(s.pid, SIGINT);
	assert_int_equal(wait_for(&s), 0);
	client_wait_closed(&c);
	assert_null(strstr(buf_cstr(&c.got), "[DONE]"));
	client_close(&c);
	evloop_free(loop);
}

static void test_second_signal(void **state)
{
	struct evloop *loop = evloop_new();
	int64_t before_ns;
	struct server s;
	struct client c;

	(void)state;
	start(&s, 2 * NS_PER_MS, 3600 * NS_PER_S);
	client_open(&c, loop, s.port);
	ask(&c, 1000000);
	client_wait(&c, "\"text\":\"a\"");
	before_ns = monotonic_now_ns();
	kill(s.pid, SIGTERM);
	client_forget(&c);
	client_wait(&c, "\"text\":\"b\""); /* it still serves */
	kill(s.pid, SIGTERM);
	assert_int_equal(wait_for(&s), 0);
	assert_true(monotonic_now_ns() - before_ns < 60 * NS_PER_S);
	client_close(&c);
	evloop_free(loop);
}

/* Clients that leave in the middle, by reset too, are nothing to it. */
static void test_outlives_clients(void **state)
{
	struct evloop *loop = evloop_new();
	struct linger at_once = {.l_onoff = 1};
	struct server s;
	struct client c;

	(void)state;
	start(&s, NS_PER_MS / 10, NS_PER_S);
	for (int i = 0; i < 20; i++) {
		client_open(&c, loop, s.port);
		ask(&c, 1000);
		client_wait(&c, i % 2 ? "chunked" : "\"text\":\"c\"");
		if (i % 3 == 0)
			setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		client_close(&c);
	}
	client_open(&c, loop, s.port);
	ask(&c, 3);
	client_wait(&c, "[DONE]");
	kill(s.pid, SIGTERM);
	assert_int_equal(wait_for(&s), 0);
	client_close(&c);
	evloop_free(loop);
}

/* A port that is taken is said on stderr, exit code 2. */
static void test_cannot_listen(void **state)
{
	struct server s, second;
	int status;

	(void)state;
	start(&s, NS_PER_MS, NS_PER_S);
	second.pid = spawn(1, NS_PER_MS, NS_PER_S, s.port);
	assert_int_equal(waitpid(second.pid, &status, 0), second.pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 2);
	kill(s.pid, SIGTERM);
	assert_int_equal(wait_for(&s), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_drain),	      cmocka_unit_test(test_drain_is_bounded),
		cmocka_unit_test(test_second_signal), cmocka_unit_test(test_outlives_clients),
		cmocka_unit_test(test_cannot_listen),
	};

	if (argc == 5)
		return serve(argv);
	alarm(60);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

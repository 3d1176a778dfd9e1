/*
 * Sampling a metrics page over a real socket: again and again, until the first answer that says
 * there is none. The server is a child that answers each request with the next of a few answers.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../support/child.h"
#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/evloop.h"
#include "loadgen/scrape.h"

#define OK "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"

/* One connection, one answer for each request. */
_Noreturn static void serve(int listener, const char *const *answers, const char *wanted)
{
	int fd = accept(listener, NULL, NULL);
	char request[4096];

	for (; *answers; answers++) {
		ssize_t n = recv(fd, request, sizeof(request) - 1, 0);

		request[n > 0 ? n : 0] = '\0';
		if (!strstr(request, wanted) || send(fd, *answers, strlen(*answers), 0) < 0)
			_exit(1);
	}
	_exit(recv(fd, request, 1, 0) == 0 ? 0 : 1); /* the client asks no more, and closes */
}

static pid_t start_server(const char *const *answers, const char *wanted, int *port)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	pid_t pid;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(listener, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(listener, 1), 0);
	getsockname(listener, (struct sockaddr *)&in, &len);
	*port = ntohs(in.sin_port);
	pid = fork_bound();
	if (pid == 0)
		serve(listener, answers, wanted);
	close(listener);
	return pid;
}

struct heard {
	struct buf text;
	int64_t last_ns;
};

static void on_value(void *arg, int64_t t_ns, const char *name, double value)
{
	struct heard *h = arg;

	assert_true(t_ns >= h->last_ns && t_ns <= monotonic_now_ns());
	h->last_ns = t_ns;
	buf_printf(&h->text, "%s %g;", name, value);
}

static void test_sampling_until_there_is_no_page(void **state)
{
	static const char *const answers[] = {
		OK "Content-Length: 28\r\n\r\nvllm:num_requests_running 1\n",
		OK "Transfer-Encoding: chunked\r\n\r\n1c\r\nvllm:num_requests_running 2\n\r\n"
		   "0\r\n\r\n",
		"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 27\r\n\r\n"
		"vllm:num_requests_running 3",
		NULL};
	struct header header = {(char *)"X-Key", (char *)"k"};
	struct target t = {.name = (char *)"t",
			   .scheme = URL_HTTP,
			   .host = (char *)"127.0.0.1",
			   .prefix = (char *)"/a",
			   .headers = &header,
			   .n_headers = 1};
	pid_t server = start_server(answers, "GET /a/metrics HTTP/1.1\r\n", &t.port);
	struct evloop *loop = evloop_new();
	struct heard h = {.last_ns = 0};
	struct scrape *s;
	int status;

	(void)state;
	buf_init(&h.text, 4096);
	assert_int_equal(scrape_new(&s, loop, &t, NS_PER_MS, on_value, &h, NULL), RC_OK);
	evloop_run(loop); /* until nothing is left to wait for: no timer, no connection */
	assert_string_equal(buf_cstr(&h.text), "running 1;running 2;");
	scrape_free(s);
	waitpid(server, &status, 0);
	assert_int_equal(status, 0);
	buf_release(&h.text);
	evloop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sampling_until_there_is_no_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

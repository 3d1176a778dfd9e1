/*
 * Load side: what a token costs the client, at 50,000 tokens a second in all. Floor: a drain of
 * recv() that reads nothing of what it gets. Own: loadgen, all of it: parsing, stamping, records on
 * disk. Peer: libcurl's multi interface with a callback that throws the bytes away. One server, the
 * same for all: a paced loop of write().
 *
 * usage: bench_load BIN_DIR [SECONDS]
 */
#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/die.h"
#include "bench.h"

#define RATE_PER_S 50000.0

struct load {
	int port, listener, streams, tokens;
};

/* The request of one stream has come when a read has brought its blank line and some body; a client
 * that sends the head alone first is read once more. */
static int await_request(int fd)
{
	char buf[16384];
	size_t n = 0;

	for (;;) {
		ssize_t k = read(fd, buf + n, sizeof(buf) - n - 1);
		char *end;

		if (k <= 0)
			return -1;
		n += (size_t)k;
		buf[n] = '\0';
		end = strstr(buf, "\r\n\r\n");
		if (end && (strncmp(buf, "GET", 3) == 0 || end + 4 < buf + n))
			return 0;
	}
}

static void sleep_until(double t_s)
{
	struct timespec t = {(time_t)t_s, (long)((t_s - (double)(time_t)t_s) * 1e9)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static int paced_server(void *arg)
{
	const struct load *l = arg;
	int *fd = xcalloc((size_t)l->streams, sizeof(*fd));
	char end[1024];
	size_t n = format_stream_end(end, sizeof(end), l->tokens);
	double start;

	for (int i = 0; i < l->streams; i++) {
		fd[i] = accept(l->listener, NULL, NULL);
		if (fd[i] < 0 || await_request(fd[i]))
			return 1;
		set_nodelay(fd[i]);
	}
	for (int i = 0; i < l->streams; i++)
		write_all(fd[i], stream_head, strlen(stream_head));
	start = now_s();
	for (int k = 0; k < l->tokens; k++) {
		sleep_until(start + k * (double)l->streams / RATE_PER_S);
		for (int i = 0; i < l->streams; i++)
			write_all(fd[i], token_chunk, TOKEN_BYTES);
	}
	for (int i = 0; i < l->streams; i++)
		write_all(fd[i], end, n);
	for (int i = 0; i < l->streams; i++) {
		shutdown(fd[i], SHUT_WR);
		read(fd[i], end, sizeof(end)); /* until the client has gone */
	}
	return 0;
}

static int drain_client(void *arg)
{
	static char buf[1 << 16];
	static const char request[] =
		"POST /v1/chat/completions HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}";
	const struct load *l = arg;
	struct epoll_event ready[256];
	int ep = epoll_create1(EPOLL_CLOEXEC), left = l->streams;

	for (int i = 0; i < l->streams; i++) {
		int fd = connect_port(l->port);
		struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

		write_all(fd, request, sizeof(request) - 1);
		set_nonblocking(fd);
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	}
	while (left > 0) {
		int n = epoll_wait(ep, ready, 256, -1);

		for (int i = 0; i < n; i++) {
			ssize_t k = recv(ready[i].data.fd, buf, sizeof(buf), 0);

			if (k > 0 || (k < 0 && (errno == EAGAIN || errno == EINTR)))
				continue;
			close(ready[i].data.fd);
			left--;
		}
	}
	return 0;
}

static size_t throw_away(char *p, size_t size, size_t n, void *arg)
{
	(void)p;
	(void)arg;
	return size * n;
}

/* curl_multi_poll() walks every handle; the socket interface is what a careful program uses. */
static int watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket)
{
	struct epoll_event e = {.data.fd = fd};
	int ep = *(int *)arg;

	(void)easy;
	e.events = (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
	if (what == CURL_POLL_REMOVE)
		epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
	else if (epoll_ctl(ep, socket ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) && errno == EEXIST)
		epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
	return 0;
}

static int set_timeout(CURLM *m, long ms, void *arg)
{
	(void)m;
	*(long *)arg = ms;
	return 0;
}

static int curl_client(void *arg)
{
	const struct load *l = arg;
	struct epoll_event ready[256];
	int ep = epoll_create1(EPOLL_CLOEXEC), running = 1;
	char *url = xasprintf("http://127.0.0.1:%d/v1/chat/completions", l->port);
	long timeout_ms = 0;
	CURLM *m = curl_multi_init();

	curl_multi_setopt(m, CURLMOPT_SOCKETFUNCTION, watch_socket);
	curl_multi_setopt(m, CURLMOPT_SOCKETDATA, &ep);
	curl_multi_setopt(m, CURLMOPT_TIMERFUNCTION, set_timeout);
	curl_multi_setopt(m, CURLMOPT_TIMERDATA, &timeout_ms);
	curl_multi_setopt(m, CURLMOPT_MAXCONNECTS, (long)l->streams);
	for (int i = 0; i < l->streams; i++) {
		CURL *c = curl_easy_init();

		curl_easy_setopt(c, CURLOPT_URL, url);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, "{}");
		curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, throw_away);
		curl_multi_add_handle(m, c);
	}
	while (running > 0) {
		int n = epoll_wait(ep, ready, 256, timeout_ms < 0 ? 1000 : (int)timeout_ms);

		if (n <= 0)
			curl_multi_socket_action(m, CURL_SOCKET_TIMEOUT, 0, &running);
		for (int i = 0; i < n; i++)
			curl_multi_socket_action(
				m, ready[i].data.fd,
				(ready[i].events & EPOLLOUT ? CURL_CSELECT_OUT : 0) |
					(ready[i].events & ~EPOLLOUT ? CURL_CSELECT_IN : 0),
				&running);
	}
	free(url);
	return 0;
}

struct loadgen_case {
	struct load *load;
	const char *bin_dir, *out_dir;
};

static pid_t start_loadgen(const struct loadgen_case *c)
{
	char *program = xasprintf("%s/loadgen", c->bin_dir),
	     *url = xasprintf("http://127.0.0.1:%d", c->load->port);
	char *n = xasprintf("%d", c->load->streams), *tokens = xasprintf("%d", c->load->tokens);
	char *argv[] = {program,
			(char *)"run",
			(char *)"--base-url",
			url,
			(char *)"--model",
			(char *)"m",
			(char *)"--num-prompts",
			n,
			(char *)"--max-concurrency",
			n,
			(char *)"--random-input-len",
			(char *)"8",
			(char *)"--output-len",
			tokens,
			(char *)"--no-preflight",
			(char *)"--no-plots",
			(char *)"--progress",
			(char *)"none",
			(char *)"--set",
			(char *)"output.scrape=0",
			(char *)"--out",
			(char *)c->out_dir,
			NULL};
	pid_t pid = spawn_program(CLIENT_CORE, argv, NULL);

	free(program);
	free(url);
	free(n);
	free(tokens);
	return pid;
}

static struct result measure(const char *name, int streams, int tokens, int (*client)(void *),
			     const char *bin_dir)
{
	struct load l = {.streams = streams, .tokens = tokens};
	struct result r = {"load", name, streams, (double)streams * tokens, 0, 0};
	char dir[] = "/tmp/bench_load.XXXXXX", *out = NULL, *cleanup;
	double start = now_s();
	pid_t server, pid;

	l.listener = listen_any(&l.port);
	server = spawn(SERVER_CORE, paced_server, &l);
	close(l.listener);
	if (client) {
		pid = spawn(CLIENT_CORE, client, &l);
	} else {
		struct loadgen_case c = {&l, bin_dir, NULL};

		if (!mkdtemp(dir))
			die("mkdtemp: %s", strerror(errno));
		out = xasprintf("%s/run", dir);
		c.out_dir = out;
		pid = start_loadgen(&c);
	}
	r.cpu_s = wait_cpu_s(pid, name);
	r.seconds = now_s() - start;
	wait_cpu_s(server, "the paced server");
	if (out) {
		cleanup = xasprintf("rm -rf '%s'", dir);
		if (system(cleanup))
			die("%s failed", cleanup);
		free(cleanup);
		free(out);
	}
	return r;
}

int main(int argc, char **argv)
{
	static const int streams[] = {64, 1024};
	double seconds = argc > 2 ? atof(argv[2]) : 8;

	die_set_program(argv[0]);
	if (argc < 2)
		die("usage: bench_load BIN_DIR [SECONDS]");
	signal(SIGPIPE, SIG_IGN);
	raise_fd_limit();
	print_head();
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
		int tokens = (int)(seconds * RATE_PER_S / streams[i]);
		struct result bare = measure("recv_drain", streams[i], tokens, drain_client, NULL);
		struct result own = measure("loadgen", streams[i], tokens, NULL, argv[1]);
		struct result peer =
			measure("libcurl_multi", streams[i], tokens, curl_client, NULL);

		print_result(&bare, 1);
		print_result(&own, cpu_us_per_token(&own) / cpu_us_per_token(&bare));
		print_result(&peer, cpu_us_per_token(&peer) / cpu_us_per_token(&bare));
	}
	return 0;
}

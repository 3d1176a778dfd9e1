/*
 * Load side: what a token costs the client, and a stream. 50,000 writes a second in all, each of
 * one token or, merged, of MERGED. Floor: a drain of recv() that reads nothing of what it gets.
 * Own: loadgen, all of it: parsing, stamping, records on disk. Peer: libcurl's multi interface with
 * a callback that throws the bytes away. One server, the same for all: a paced loop of write().
 *
 * usage: bench_load BIN_DIR [SECONDS]
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/die.h"
#include "bench.h"
#include "bench_curl.h"

#define WRITES_PER_S 50000.0
#define MERGED	     16

struct load {
	int port, listener, streams, tokens; /* tokens a stream */
	int merged;			     /* tokens a write */
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
	char end[1024], *write_out = xcalloc((size_t)l->merged, TOKEN_BYTES);
	size_t n = format_stream_end(end, sizeof(end), l->tokens);
	double start;

	for (int i = 0; i < l->merged; i++)
		memcpy(write_out + (size_t)i * TOKEN_BYTES, token_chunk, TOKEN_BYTES);

	for (int i = 0; i < l->streams; i++) {
		fd[i] = accept(l->listener, NULL, NULL);
		if (fd[i] < 0 || await_request(fd[i]))
			return 1;
		set_nodelay(fd[i]);
	}
	for (int i = 0; i < l->streams; i++)
		write_all(fd[i], stream_head, strlen(stream_head));
	start = now_s();
	for (int k = 0; k < l->tokens / l->merged; k++) {
		sleep_until(start + k * (double)l->streams / WRITES_PER_S);
		for (int i = 0; i < l->streams; i++)
			write_all(fd[i], write_out, (size_t)l->merged * TOKEN_BYTES);
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

static int curl_client(void *arg)
{
	const struct load *l = arg;
	char *url = xasprintf("http://127.0.0.1:%d/v1/chat/completions", l->port);
	CURLM *m = curl_multi_init();

	curl_multi_setopt(m, CURLMOPT_MAXCONNECTS, (long)l->streams);
	for (int i = 0; i < l->streams; i++) {
		CURL *c = curl_easy_init();

		curl_easy_setopt(c, CURLOPT_URL, url);
		curl_easy_setopt(c, CURLOPT_POSTFIELDS, "{}");
		curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, throw_away);
		curl_multi_add_handle(m, c);
	}
	drive_curl(m, NULL, NULL);
	free(url);
	return 0;
}

static struct result measure(const char *name, const struct load *what, int (*client)(void *),
			     const char *bin_dir, double *peak_bytes)
{
	struct load l = *what;
	struct result r = {"load", name, l.streams, (double)l.streams * l.tokens, 0, 0};
	char dir[] = "/tmp/bench_load.XXXXXX", *out;
	double start = now_s();
	struct usage used;
	pid_t server, pid;

	if (!mkdtemp(dir))
		die("mkdtemp: %s", strerror(errno));
	out = xasprintf("%s/run", dir);
	l.listener = listen_any(&l.port);
	server = spawn(SERVER_CORE, paced_server, &l);
	close(l.listener);
	pid = client ? spawn(CLIENT_CORE, client, &l)
		     : start_loadgen(&(struct loadgen_job){.bin_dir = bin_dir,
							   .out_dir = out,
							   .port = l.port,
							   .streams = l.streams,
							   .tokens = l.tokens,
							   .requests = l.streams});
	used = wait_usage(pid, name);
	r.cpu_s = used.cpu_s;
	r.seconds = now_s() - start;
	if (peak_bytes)
		*peak_bytes = used.peak_bytes;
	wait_cpu_s(server, "the paced server");
	remove_folder(dir);
	free(out);
	return r;
}

static void one_a_read(const char *bin_dir, double seconds)
{
	static const int streams[] = {64, 1024, 8192};
	double cpu_us[ARRAY_LEN(streams)];

	for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
		struct load l = {.streams = streams[i], .merged = 1};
		struct result bare, own, peer;
		double ratio;

		l.tokens = (int)(seconds * WRITES_PER_S / l.streams);
		bare = measure("recv_drain", &l, drain_client, NULL, NULL);
		own = measure("loadgen", &l, NULL, bin_dir, NULL);
		peer = measure("libcurl_multi", &l, curl_client, NULL, NULL);
		cpu_us[i] = cpu_us_per_token(&own);
		ratio = cpu_us[i] / cpu_us_per_token(&bare);
		print_result(&bare, 1);
		print_result(&own, ratio);
		print_result(&peer, cpu_us_per_token(&peer) / cpu_us_per_token(&bare));
		print_goal(&(struct goal){.what = "load: CPU a token; over a recv() drain's",
					  .unit = "us",
					  .streams = l.streams,
					  .floor = cpu_us_per_token(&bare),
					  .own = cpu_us[i],
					  .peer = cpu_us_per_token(&peer),
					  .ratio = ratio,
					  .most = 1.2});
		print_goal(&(struct goal){.what = "load: one token a read; a CPU second",
					  .unit = "tokens",
					  .streams = l.streams,
					  .floor = 1e6 / cpu_us_per_token(&bare),
					  .own = 1e6 / cpu_us[i],
					  .peer = 1e6 / cpu_us_per_token(&peer),
					  .least = 120000});
	}
	print_goal(&(struct goal){.what = "load: CPU a token; over own at 64 streams",
				  .unit = "us",
				  .streams = 8192,
				  .floor = cpu_us[0],
				  .own = cpu_us[2],
				  .ratio = cpu_us[2] / cpu_us[0],
				  .most = 2});
}

static void merged(const char *bin_dir, double seconds)
{
	struct load l = {.streams = 64, .merged = MERGED};
	struct result bare, own;

	l.tokens = (int)(seconds / 2 * WRITES_PER_S / l.streams) * MERGED;
	bare = measure("recv_drain_merged", &l, drain_client, NULL, NULL);
	own = measure("loadgen_merged", &l, NULL, bin_dir, NULL);
	print_result(&bare, 1);
	print_result(&own, cpu_us_per_token(&own) / cpu_us_per_token(&bare));
	print_goal(&(struct goal){.what = "load: 16 tokens a read; a CPU second",
				  .unit = "tokens",
				  .streams = l.streams,
				  .floor = 1e6 / cpu_us_per_token(&bare),
				  .own = 1e6 / cpu_us_per_token(&own),
				  .least = 800000});
}

/* With so few tokens that what is kept of them hardly counts. */
static void memory(const char *bin_dir)
{
	static const int streams[] = {64, 1024, 8192};
	double peak[ARRAY_LEN(streams)], few, many;

	for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
		struct load l = {.streams = streams[i], .merged = 1, .tokens = 4};

		measure("loadgen_memory", &l, NULL, bin_dir, &peak[i]);
	}
	few = (peak[1] - peak[0]) / (streams[1] - streams[0]);
	many = (peak[2] - peak[1]) / (streams[2] - streams[1]);
	print_goal(&(struct goal){.what = "load: memory a stream; with its row in the results",
				  .unit = "bytes",
				  .streams = 8192,
				  .own = (peak[2] - peak[0]) / (streams[2] - streams[0]),
				  .most = 3072});
	print_goal(&(struct goal){.what = "load: memory a stream; 1024 to 8192 over 64 to 1024",
				  .unit = "bytes",
				  .streams = 8192,
				  .floor = few,
				  .own = many,
				  .ratio = many / few,
				  .most = 1.5});
}

int main(int argc, char **argv)
{
	double seconds = argc > 2 ? atof(argv[2]) : 5;

	die_set_program(argv[0]);
	if (argc < 2)
		die("usage: bench_load BIN_DIR [SECONDS]");
	signal(SIGPIPE, SIG_IGN);
	raise_fd_limit();
	print_head();
	one_a_read(argv[1], seconds);
	merged(argv[1], seconds);
	memory(argv[1]);
	return 0;
}

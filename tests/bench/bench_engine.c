/*
 * Engine side: what a token costs the server, and a stream. Floor: a loop of write() over prepared
 * bytes. Own: fakeengine with a cost model of nothing, so that the scheduler steps as fast as
 * tokens can leave. Peer: evhttp with evhttp_send_reply_chunk(). One client, the same for all, only
 * drains. TCP, and a unix socket.
 *
 * usage: bench_engine BIN_DIR [TOKENS_IN_ALL]
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/die.h"
#include "bench.h"

struct load {
	int port, listener, streams, tokens; /* tokens a stream */
	const char *path;		     /* of a unix socket; NULL: the port */
};

static const char body_format[] = "{\"model\":\"benchmark-model-0123456789abcdefg\",\"prompt\":"
				  "\"hello\",\"max_tokens\":%d,"
				  "\"ignore_eos\":true,\"stream\":true}";

static void send_request(int fd, int tokens)
{
	char body[256], request[512];
	int n = snprintf(body, sizeof(body), body_format, tokens);
	int k = snprintf(
		request, sizeof(request),
		"POST /v1/completions HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
		"Connection: close\r\nContent-Length: %d\r\n\r\n%s",
		n, body);

	write_all(fd, request, (size_t)k);
}

/* How often the mark of a token stands in a stream, reads cutting it wherever they like. */
static long count_tokens(const char *p, size_t n)
{
	static const char mark[] = "\"index\":0";
	static size_t matched;
	long found = 0;

	for (size_t i = 0; i < n; i++) {
		matched = p[i] == mark[matched] ? matched + 1 : p[i] == mark[0];
		if (mark[matched] == '\0') {
			matched = 0;
			found++;
		}
	}
	return found;
}

/* Opens every stream, drains until all have ended. Returns seconds from the last request to the
 * last byte; the tokens of the first stream are counted, to be checked. */
static double drain(const struct load *l, long *tokens_of_first)
{
	static char buf[1 << 16];
	struct epoll_event ready[256];
	int ep = epoll_create1(EPOLL_CLOEXEC), left = l->streams, first = -1;
	double start;

	*tokens_of_first = 0;
	for (int i = 0; i < l->streams; i++) {
		int fd = l->path ? connect_path(l->path) : connect_port(l->port);
		struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};

		first = first < 0 ? fd : first;
		send_request(fd, l->tokens);
		set_nonblocking(fd);
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	}
	start = now_s();
	while (left > 0) {
		int n = epoll_wait(ep, ready, 256, 20000);

		if (n <= 0)
			die("bench: the server fell silent with %d streams open", left);
		for (int i = 0; i < n; i++) {
			int fd = ready[i].data.fd;
			ssize_t k = recv(fd, buf, sizeof(buf), 0);

			if (k > 0 && fd == first)
				*tokens_of_first += count_tokens(buf, (size_t)k);
			if (k > 0 || (k < 0 && (errno == EAGAIN || errno == EINTR)))
				continue;
			close(fd);
			left--;
		}
	}
	close(ep);
	return now_s() - start;
}

static int floor_server(void *arg)
{
	const struct load *l = arg;
	int *fd = xcalloc((size_t)l->streams, sizeof(*fd));
	char end[1024], request[4096];
	size_t n = format_stream_end(end, sizeof(end), l->tokens);

	for (int i = 0; i < l->streams; i++) {
		fd[i] = accept(l->listener, NULL, NULL);
		if (fd[i] < 0 || read(fd[i], request, sizeof(request)) <= 0)
			return 1;
		set_nodelay(fd[i]);
	}
	for (int i = 0; i < l->streams; i++)
		write_all(fd[i], stream_head, strlen(stream_head));
	for (int k = 0; k < l->tokens; k++)
		for (int i = 0; i < l->streams; i++)
			write_all(fd[i], token_chunk, TOKEN_BYTES);
	for (int i = 0; i < l->streams; i++) {
		write_all(fd[i], end, n);
		close(fd[i]);
	}
	return 0;
}

/* evhttp: one chunk to every stream, and the next round when all of them have left: tokens that
 * wait in its buffers would be sent as one. */
struct evhttp_bench {
	const struct load *load;
	struct event_base *base;
	struct event *tick;
	struct evhttp_request **req;
	int n, sent, unsent;
};

static void on_chunk_out(struct evhttp_connection *c, void *arg)
{
	struct evhttp_bench *b = arg;

	(void)c;
	if (--b->unsent == 0)
		event_active(b->tick, EV_TIMEOUT, 0);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	static const char data_end[] = "\r\n";
	struct evhttp_bench *b = arg;
	struct evbuffer *chunk = evbuffer_new();
	const char *data = strstr(token_chunk, "\r\n") + 2; /* evhttp frames the chunk itself */
	size_t len = TOKEN_BYTES - (size_t)(data - token_chunk) - (sizeof(data_end) - 1);

	(void)fd;
	(void)what;
	if (b->sent++ < b->load->tokens) {
		b->unsent = b->n;
		for (int i = 0; i < b->n; i++) {
			evbuffer_add(chunk, data, len);
			evhttp_send_reply_chunk_with_cb(b->req[i], chunk, on_chunk_out, b);
		}
		evbuffer_free(chunk);
		return;
	}
	evbuffer_free(chunk);
	for (int i = 0; i < b->n; i++)
		evhttp_send_reply_end(b->req[i]);
	event_base_loopexit(b->base,
			    &(struct timeval){1, 0}); /* what is buffered leaves meanwhile */
}

static void on_request(struct evhttp_request *req, void *arg)
{
	struct evhttp_bench *b = arg;

	set_nodelay(bufferevent_getfd(
		evhttp_connection_get_bufferevent(evhttp_request_get_connection(req))));
	evhttp_send_reply_start(req, 200, "OK");
	b->req[b->n++] = req;
	if (b->n == b->load->streams)
		event_active(b->tick, EV_TIMEOUT, 0);
}

static int evhttp_server(void *arg)
{
	struct evhttp_bench b = {.load = arg, .base = event_base_new()};
	struct evhttp *http = evhttp_new(b.base);

	b.req = xcalloc((size_t)b.load->streams, sizeof(struct evhttp_request *));
	b.tick = event_new(b.base, -1, 0, on_tick, &b);
	evhttp_set_gencb(http, on_request, &b);
	set_nonblocking(b.load->listener);
	if (evhttp_accept_socket(http, b.load->listener))
		return 1;
	event_base_dispatch(b.base);
	return b.sent > b.load->tokens ? 0 : 1;
}

static struct result in_process(const char *name, int (*server)(void *), const char *path,
				int streams, int tokens)
{
	struct load l = {.streams = streams, .tokens = tokens, .path = path};
	struct result r = {"engine", name, streams, (double)streams * tokens, 0, 0};
	long of_first;
	pid_t pid;

	l.listener = path ? listen_path(path) : listen_any(&l.port);
	pid = spawn(SERVER_CORE, server, &l);
	close(l.listener);
	r.seconds = drain(&l, &of_first);
	r.cpu_s = wait_cpu_s(pid, name);
	if (of_first < tokens)
		die("%s: %ld of %d tokens came", name, of_first, tokens);
	return r;
}

/* ---- fakeengine ---- */

#define MAX_ARGS 40

struct engine {
	pid_t pid;
	int out;
	int port;
};

/* A profile that costs nothing: every step is over at once, the front end is all that works. Under
 * `tracer`, if that is not NULL, with its words up to a NULL. */
static struct engine start_engine(const char *bin_dir, const char *path, char *const *tracer)
{
	char *program = xasprintf("%s/fakeengine", bin_dir), line[256] = "";
	char *const words[] = {program,
			       (char *)(path ? "--uds" : "--port"),
			       (char *)(path ? path : "0"),
			       (char *)"--profile",
			       (char *)"kind-vllm-a100",
			       (char *)"--set",
			       (char *)"scheduler.max_num_seqs=8192",
			       (char *)"--set",
			       (char *)"cost={affine: {step: 0}}",
			       (char *)"--set",
			       (char *)"scheduler.num_gpu_blocks=2000000",
			       (char *)"--set",
			       (char *)"scheduler.max_num_batched_tokens=65536",
			       (char *)"--set",
			       (char *)"scheduler.max_model_len=1000000",
			       (char *)"--model",
			       (char *)"benchmark-model-0123456789abcdefg",
			       NULL};
	char *argv[MAX_ARGS];
	struct engine g = {0};
	size_t n = 0;
	char *colon;

	for (; tracer && *tracer; tracer++)
		argv[n++] = *tracer;
	memcpy(&argv[n], words, sizeof(words));
	g.pid = spawn_program(SERVER_CORE, argv, &g.out);
	if (read(g.out, line, sizeof(line) - 1) <= 0)
		die("fakeengine did not say where it listens");
	colon = strrchr(line, ':');
	g.port = colon && !path ? atoi(colon + 1) : 0;
	free(program);
	return g;
}

/* The streams of a load, and how much more memory the engine had then than before, at most. */
static struct result own_engine(const char *bin_dir, const char *path, int streams, int tokens,
				double *grown_bytes)
{
	struct engine g = start_engine(bin_dir, path, NULL);
	struct load l = {.port = g.port, .streams = streams, .tokens = tokens, .path = path};
	struct result r = {"engine", path ? "fakeengine_unix" : "fakeengine",
			   streams,  (double)streams * tokens,
			   0,	     0};
	double before = peak_memory_bytes(g.pid);
	long of_first;

	r.seconds = drain(&l, &of_first);
	*grown_bytes = peak_memory_bytes(g.pid) - before;
	kill(g.pid, SIGTERM);
	r.cpu_s = wait_cpu_s(g.pid, "fakeengine");
	if (of_first < tokens)
		die("fakeengine: %ld of %d tokens came", of_first, tokens);
	close(g.out);
	return r;
}

/* By strace's count; less than 0 where it can not be had. */
static double system_calls_per_token(const char *bin_dir, int streams, int tokens)
{
	char counts[] = "/tmp/bench_engine.XXXXXX", line[256], *words;
	int fd = mkstemp(counts);
	char *const tracer[] = {
		(char *)"/usr/bin/strace", (char *)"-f", (char *)"-c", (char *)"-o", counts, NULL};
	struct engine g;
	struct load l = {.streams = streams, .tokens = tokens};
	double calls = -1, n;
	long of_first;
	FILE *f;

	if (fd < 0)
		die("mkstemp: %s", strerror(errno));
	if (access(tracer[0], X_OK)) {
		close(fd);
		unlink(counts);
		return -1;
	}
	g = start_engine(bin_dir, NULL, tracer);
	l.port = g.port;
	drain(&l, &of_first);
	words = xasprintf("kill -TERM $(pgrep -P %d)", g.pid); /* strace's child */
	if (system(words))
		die("%s failed", words);
	wait_cpu_s(g.pid, "strace");
	f = fdopen(fd, "r");
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, " total") && sscanf(line, "%*f %*f %*f %lf", &n) == 1)
			calls = n;
	if (f)
		fclose(f);
	unlink(counts);
	free(words);
	close(g.out);
	return calls / ((double)streams * tokens);
}

/* ---- the table ---- */

static const int streams[] = {64, 1024, 8192};

/* What each stream more took, between two of those numbers of streams. */
static double a_stream(const double *grown_bytes, int few, int many)
{
	return (grown_bytes[many] - grown_bytes[few]) / (streams[many] - streams[few]);
}

static void tcp_rows(const char *bin_dir, double all)
{
	double cpu_us[ARRAY_LEN(streams)], grown[ARRAY_LEN(streams)];
	struct goal g;

	for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
		int n = streams[i], tokens = (int)(all / n);
		struct result bare = in_process("bare_write_loop", floor_server, NULL, n, tokens);
		struct result own = own_engine(bin_dir, NULL, n, tokens, &grown[i]);
		struct result peer = in_process("evhttp", evhttp_server, NULL, n, tokens);

		cpu_us[i] = cpu_us_per_token(&own);
		print_result(&bare, 1);
		print_result(&own, cpu_us_per_token(&bare) / cpu_us[i]);
		print_result(&peer, cpu_us_per_token(&bare) / cpu_us_per_token(&peer));
		g = (struct goal){.what = "engine: CPU a token; a write() loop's over own",
				  .unit = "us",
				  .streams = n,
				  .floor = cpu_us_per_token(&bare),
				  .own = cpu_us[i],
				  .peer = cpu_us_per_token(&peer)};
		g.ratio = g.floor / g.own;
		g.least = 0.9;
		print_goal(&g);
		if (n != 1024)
			continue;
		g.what = "engine: CPU a token; evhttp's over own";
		g.ratio = g.peer / g.own;
		g.least = 2;
		print_goal(&g);
	}
	print_goal(&(struct goal){.what = "engine: CPU a token; over own at 64 streams",
				  .unit = "us",
				  .streams = 8192,
				  .floor = cpu_us[0],
				  .own = cpu_us[2],
				  .ratio = cpu_us[2] / cpu_us[0],
				  .most = 2});
	print_goal(&(struct goal){.what = "engine: memory a stream",
				  .unit = "bytes",
				  .streams = 8192,
				  .own = a_stream(grown, 0, 2),
				  .most = 2048});
	print_goal(&(struct goal){.what = "engine: memory a stream; 1024 to 8192 over 64 to 1024",
				  .unit = "bytes",
				  .streams = 8192,
				  .floor = a_stream(grown, 0, 1),
				  .own = a_stream(grown, 1, 2),
				  .ratio = a_stream(grown, 1, 2) / a_stream(grown, 0, 1),
				  .most = 1.5});
}

static void unix_rows(const char *bin_dir, double all)
{
	char dir[] = "/tmp/bench_engine.XXXXXX", *path;

	if (!mkdtemp(dir))
		die("mkdtemp: %s", strerror(errno));
	path = xasprintf("%s/socket", dir);
	for (size_t i = 0; i < 2; i++) {
		int n = streams[i], tokens = (int)(all / n);
		double grown;
		struct result bare =
			in_process("bare_write_loop_unix", floor_server, path, n, tokens);
		struct result own;

		unlink(path);
		own = own_engine(bin_dir, path, n, tokens, &grown);
		unlink(path);
		print_result(&bare, 1);
		print_result(&own, cpu_us_per_token(&bare) / cpu_us_per_token(&own));
		print_goal(&(struct goal){.what = "engine: by unix socket; a CPU second",
					  .unit = "tokens",
					  .streams = n,
					  .floor = 1e6 / cpu_us_per_token(&bare),
					  .own = 1e6 / cpu_us_per_token(&own),
					  .least = 400000});
	}
	rmdir(dir);
	free(path);
}

int main(int argc, char **argv)
{
	double all = argc > 2 ? atof(argv[2]) : 1e6, calls;

	die_set_program(argv[0]);
	if (argc < 2)
		die("usage: bench_engine BIN_DIR [TOKENS_IN_ALL]");
	signal(SIGPIPE, SIG_IGN);
	raise_fd_limit();
	pin_to_core(CLIENT_CORE);
	print_head();
	tcp_rows(argv[1], all);
	unix_rows(argv[1], all);
	calls = system_calls_per_token(argv[1], 64, (int)(all / 10 / 64));
	if (calls > 0)
		print_goal(&(struct goal){.what = "engine: system calls a token",
					  .unit = "calls",
					  .streams = 64,
					  .floor = 1,
					  .own = calls,
					  .most = 1.05});
	else
		fprintf(stderr, "bench_engine: no count of system calls: apt-get install strace\n");
	return 0;
}

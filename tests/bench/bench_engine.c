/*
 * Engine side: what a token costs the server. Floor: a loop of write() over prepared bytes. Own:
 * fakeengine with a cost model of nothing, so that the scheduler steps as fast as tokens can leave.
 * Peer: evhttp with evhttp_send_reply_chunk(). One client, the same for all, only drains.
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

#include "base/die.h"
#include "bench.h"

struct load {
	int port, listener, streams, tokens; /* tokens a stream */
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
		int fd = connect_port(l->port);
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

static struct result in_process(const char *name, int (*server)(void *), int streams, int tokens)
{
	struct load l = {.streams = streams, .tokens = tokens};
	struct result r = {"engine", name, streams, (double)streams * tokens, 0, 0};
	long of_first;
	pid_t pid;

	l.listener = listen_any(&l.port);
	pid = spawn(SERVER_CORE, server, &l);
	close(l.listener);
	r.seconds = drain(&l, &of_first);
	r.cpu_s = wait_cpu_s(pid, name);
	if (of_first < tokens)
		die("%s: %ld of %d tokens came", name, of_first, tokens);
	return r;
}

/* A profile that costs nothing: every step is over at once, the front end is all that works. */
static struct result own_engine(const char *bin_dir, int streams, int tokens)
{
	struct load l = {.streams = streams, .tokens = tokens};
	struct result r = {"engine", "fakeengine", streams, (double)streams * tokens, 0, 0};
	char *program = xasprintf("%s/fakeengine", bin_dir), *seqs = NULL, line[256] = "";
	char *argv[] = {program,
			(char *)"--port",
			(char *)"0",
			(char *)"--profile",
			(char *)"kind-vllm-a100",
			(char *)"--set",
			seqs = xasprintf("scheduler.max_num_seqs=%d", streams),
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
	long of_first;
	int out;
	pid_t pid = spawn_program(SERVER_CORE, argv, &out);
	ssize_t n = read(out, line, sizeof(line) - 1);
	char *colon = n > 0 ? strrchr(line, ':') : NULL;

	if (!colon)
		die("fakeengine did not say where it listens");
	l.port = atoi(colon + 1);
	r.seconds = drain(&l, &of_first);
	kill(pid, SIGTERM);
	r.cpu_s = wait_cpu_s(pid, "fakeengine");
	if (of_first < tokens)
		die("fakeengine: %ld of %d tokens came", of_first, tokens);
	close(out);
	free(program);
	free(seqs);
	return r;
}

int main(int argc, char **argv)
{
	static const int streams[] = {64, 1024};
	double all = argc > 2 ? atof(argv[2]) : 400000;

	die_set_program(argv[0]);
	if (argc < 2)
		die("usage: bench_engine BIN_DIR [TOKENS_IN_ALL]");
	signal(SIGPIPE, SIG_IGN);
	raise_fd_limit();
	pin_to_core(CLIENT_CORE);
	print_head();
	for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
		int tokens = (int)(all / streams[i]);
		struct result bare =
			in_process("bare_write_loop", floor_server, streams[i], tokens);
		struct result own = own_engine(argv[1], streams[i], tokens);
		struct result peer = in_process("evhttp", evhttp_server, streams[i], tokens);

		print_result(&bare, 1);
		print_result(&own, cpu_us_per_token(&bare) / cpu_us_per_token(&own));
		print_result(&peer, cpu_us_per_token(&bare) / cpu_us_per_token(&peer));
	}
	return 0;
}

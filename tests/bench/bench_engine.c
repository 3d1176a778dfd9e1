/*
 * Engine side: what a token costs the server, and a stream. Floor: a loop of write() over prepared
 * bytes. Own: fakeengine. Peer: evhttp with evhttp_send_reply_chunk(). One client, the same for
 * all, only drains. TCP, and a unix socket.
 *
 * All three send at the same pace, a token to every stream in each round and a round every so
 * often, so that the client keeps up and each token is read by itself: those that wait for a slow
 * reader are merged, wake nobody, and cost a third less, in whichever of the three is the faster.
 * The CPU time is that of the server's process between two moments at which all streams are open:
 * neither its start nor the coming and going of requests is a token's. The three take turns, and
 * the least of each one's times counts: what else runs on a machine only adds.
 *
 * usage: bench_engine BIN_DIR [TOKENS_IN_ALL]
 */
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/http.h>
#include <math.h>
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

#define TOKENS_PER_S  60000 /* of the pace; what the slowest of them does at 8,192 streams */
#define TURNS	      3
#define ANSWER_TOKENS 128 /* where memory is measured */

struct load {
	int port, listener, streams, tokens; /* tokens a stream */
	int asked;	  /* ... that are asked for; 0: those. The client leaves before them */
	const char *path; /* of a unix socket; NULL: the port */
};

static double round_s(const struct load *l)
{
	return (double)l->streams / TOKENS_PER_S;
}

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
struct counter {
	int fd;
	size_t matched;
	long tokens;
};

static void count_tokens(struct counter *c, const char *p, size_t n)
{
	static const char mark[] = "\"index\":0";

	for (size_t i = 0; i < n; i++) {
		c->matched = p[i] == mark[c->matched] ? c->matched + 1 : p[i] == mark[0];
		if (mark[c->matched] == '\0') {
			c->matched = 0;
			c->tokens++;
		}
	}
}

/* What happened between the moment at which the stream that was opened last had its share of
 * tokens, and the one at which the first had nearly all: all streams were open, and kept step. */
struct window {
	double seconds, cpu_s, tokens, reads;
};

static void window_edge(struct window *w, pid_t server, double sign, const struct counter *last,
			int streams)
{
	w->seconds += sign * now_s();
	w->cpu_s += sign * process_cpu_s(server);
	w->tokens += sign * (double)last->tokens * streams;
}

static void open_streams(const struct load *l, int ep, int *fd)
{
	for (int i = 0; i < l->streams; i++)
		fd[i] = l->path ? connect_path(l->path) : connect_port(l->port);
	for (int i = 0; i < l->streams; i++) {
		struct epoll_event e = {.events = EPOLLIN, .data.fd = fd[i]};

		send_request(fd[i], l->asked ? l->asked : l->tokens);
		set_nonblocking(fd[i]);
		epoll_ctl(ep, EPOLL_CTL_ADD, fd[i], &e);
	}
}

/* Opens every stream, drains until all have ended; the tokens of the first are checked. */
static struct window drain(const struct load *l, pid_t server)
{
	static char buf[1 << 16];
	struct epoll_event ready[256];
	int ep = epoll_create1(EPOLL_CLOEXEC), left = l->streams;
	int *fd = xcalloc((size_t)l->streams, sizeof(*fd));
	struct counter first = {0}, last = {0};
	struct window w = {0};
	enum { BEFORE, INSIDE, BEHIND } where = BEFORE;

	open_streams(l, ep, fd);
	first.fd = fd[0];
	last.fd = fd[l->streams - 1];
	while (left > 0 && !(l->asked && where == BEHIND)) {
		int n = epoll_wait(ep, ready, 256, 20000);

		if (n <= 0)
			die("bench: the server fell silent with %d streams open", left);
		for (int i = 0; i < n; i++) {
			int at = ready[i].data.fd;
			ssize_t k = recv(at, buf, sizeof(buf), 0);

			w.reads += k > 0 && where == INSIDE;
			if (k > 0 && at == first.fd)
				count_tokens(&first, buf, (size_t)k);
			if (k > 0 && at == last.fd)
				count_tokens(&last, buf, (size_t)k);
			if (where == BEFORE && last.tokens >= 1 + l->tokens / 8) {
				window_edge(&w, server, -1, &last, l->streams);
				where = INSIDE;
			}
			if (where == INSIDE && first.tokens >= l->tokens - 1 - l->tokens / 16) {
				window_edge(&w, server, 1, &last, l->streams);
				where = BEHIND;
			}
			if (k > 0 || (k < 0 && (errno == EAGAIN || errno == EINTR)))
				continue;
			close(at);
			left--;
		}
	}
	for (int i = 0; l->asked && i < l->streams; i++)
		close(fd[i]);
	close(ep);
	free(fd);
	if ((!l->asked && first.tokens < l->tokens) || w.tokens <= 0)
		die("bench: %ld of %d tokens came", first.tokens, l->tokens);
	return w;
}

static int floor_server(void *arg)
{
	const struct load *l = arg;
	int *fd = xcalloc((size_t)l->streams, sizeof(*fd));
	char end[1024], request[4096];
	size_t n = format_stream_end(end, sizeof(end), l->tokens);
	double start;

	for (int i = 0; i < l->streams; i++) {
		fd[i] = accept(l->listener, NULL, NULL);
		if (fd[i] < 0)
			return 1;
		if (!l->path)
			set_nodelay(fd[i]);
	}
	for (int i = 0; i < l->streams; i++) {
		if (read(fd[i], request, sizeof(request)) <= 0)
			return 1;
		write_all(fd[i], stream_head, strlen(stream_head));
	}
	start = now_s();
	for (int k = 0; k < l->tokens; k++) {
		sleep_until_s(start + k * round_s(l));
		for (int i = 0; i < l->streams; i++)
			write_all(fd[i], token_chunk, TOKEN_BYTES);
	}
	for (int i = 0; i < l->streams; i++) {
		write_all(fd[i], end, n);
		close(fd[i]);
	}
	return 0;
}

/* evhttp: one chunk to every stream, and the next round when it is time and all of them have left:
 * tokens that wait in its buffers would be sent as one. */
struct evhttp_bench {
	const struct load *load;
	struct event_base *base;
	struct event *tick;
	struct evhttp_request **req;
	int n, sent, unsent;
	double start;
};

static void set_tick(struct evhttp_bench *b)
{
	double wait_s = b->start + b->sent * round_s(b->load) - now_s();

	if (wait_s > 0)
		event_add(b->tick,
			  &(struct timeval){.tv_sec = (time_t)wait_s,
					    .tv_usec = (suseconds_t)(fmod(wait_s, 1) * 1e6)});
	else
		event_active(b->tick, EV_TIMEOUT, 0);
}

static void on_chunk_out(struct evhttp_connection *c, void *arg)
{
	struct evhttp_bench *b = arg;

	(void)c;
	if (--b->unsent == 0)
		set_tick(b);
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
	if (b->n < b->load->streams)
		return;
	b->start = now_s();
	set_tick(b);
}

static int evhttp_server(void *arg)
{
	struct event_config *config = event_config_new();
	struct evhttp_bench b = {.load = arg};
	struct evhttp *http;

	event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
	b.base = event_base_new_with_config(config);
	http = evhttp_new(b.base);
	b.req = xcalloc((size_t)b.load->streams, sizeof(struct evhttp_request *));
	b.tick = event_new(b.base, -1, 0, on_tick, &b);
	evhttp_set_gencb(http, on_request, &b);
	set_nonblocking(b.load->listener);
	if (evhttp_accept_socket(http, b.load->listener))
		return 1;
	event_base_dispatch(b.base);
	return b.sent > b.load->tokens ? 0 : 1;
}

static struct result result_of(const char *name, int streams, const struct window *w)
{
	return (struct result){"engine", name, streams, w->tokens, w->seconds, w->cpu_s};
}

static struct result in_process(const char *name, int (*server)(void *), const char *path,
				int streams, int tokens)
{
	struct load l = {.streams = streams, .tokens = tokens, .path = path};
	struct window w;
	pid_t pid;

	l.listener = path ? listen_path(path) : listen_any(&l.port);
	pid = spawn(SERVER_CORE, server, &l);
	close(l.listener);
	w = drain(&l, pid);
	wait_cpu_s(pid, name);
	return result_of(name, streams, &w);
}

/* ---- fakeengine ---- */

#define MAX_ARGS 40

struct engine {
	pid_t pid;
	int out;
	int port;
};

/* A profile whose steps keep the pace, or at the pace 0 are over at once. Under `tracer`, if that
 * is not NULL, with its words up to a NULL. */
static struct engine start_engine(const char *bin_dir, const char *path, double step_s,
				  char *const *tracer)
{
	char *program = xasprintf("%s/fakeengine", bin_dir), line[256] = "";
	char *cost = xasprintf("cost={affine: {step: %.0fns}}", step_s * 1e9);
	char *const words[] = {program,
			       (char *)(path ? "--uds" : "--port"),
			       (char *)(path ? path : "0"),
			       (char *)"--profile",
			       (char *)"kind-vllm-a100",
			       (char *)"--set",
			       (char *)"scheduler.max_num_seqs=8192",
			       (char *)"--set",
			       cost,
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
	free(cost);
	return g;
}

static void stop_engine(struct engine *g)
{
	kill(g->pid, SIGTERM);
	wait_cpu_s(g->pid, "fakeengine");
	close(g->out);
}

static struct result own_engine(const char *bin_dir, const char *path, int streams, int tokens)
{
	struct load l = {.streams = streams, .tokens = tokens, .path = path};
	struct engine g = start_engine(bin_dir, path, round_s(&l), NULL);
	struct window w;

	l.port = g.port;
	w = drain(&l, g.pid);
	stop_engine(&g);
	return result_of(path ? "fakeengine_unix" : "fakeengine", streams, &w);
}

/* How much more memory the engine has with so many streams of ANSWER_TOKENS than before, at most.
 */
static double memory_grown(const char *bin_dir, int streams)
{
	struct load l = {.streams = streams, .tokens = 16, .asked = ANSWER_TOKENS};
	struct engine g = start_engine(bin_dir, NULL, round_s(&l), NULL);
	double before = peak_memory_bytes(g.pid), after;

	l.port = g.port;
	drain(&l, g.pid);
	after = peak_memory_bytes(g.pid);
	stop_engine(&g);
	return after - before;
}

/* The whole page of a GET, the head included; malloc'd. */
static char *fetch(int port, const char *path)
{
	static const size_t most = 1 << 20;
	char request[128], *page = xcalloc(1, most);
	int n = snprintf(request, sizeof(request),
			 "GET %s HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n", path);
	int fd = connect_port(port);
	size_t len = 0;
	ssize_t got;

	if (write(fd, request, (size_t)n) != n)
		die("GET %s: %s", path, strerror(errno));
	while ((got = read(fd, page + len, most - 1 - len)) > 0)
		len += (size_t)got;
	close(fd);
	return page;
}

static double metric(const char *page, const char *name)
{
	const char *line = strstr(page, name), *value = line ? strchr(line, ' ') : NULL;

	if (!value)
		die("/metrics has no %s", name);
	return atof(value);
}

/* What a step takes of the engine beside its executor's time, in seconds. */
static double step_overhead_s(const char *bin_dir, int streams)
{
	struct load l = {.streams = streams, .tokens = 256};
	struct engine g = start_engine(bin_dir, NULL, round_s(&l), NULL);
	double mean_s;
	char *page;

	l.port = g.port;
	drain(&l, g.pid);
	page = fetch(g.port, "/metrics");
	mean_s = metric(page, "fakeengine_step_overhead_seconds_sum") /
		 metric(page, "fakeengine_step_overhead_seconds_count");
	free(page);
	stop_engine(&g);
	return mean_s;
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
	FILE *f;

	if (fd < 0)
		die("mkstemp: %s", strerror(errno));
	if (access(tracer[0], X_OK)) {
		close(fd);
		unlink(counts);
		return -1;
	}
	g = start_engine(bin_dir, NULL, 0, tracer);
	l.port = g.port;
	drain(&l, g.pid);
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

/* Of each server the turn that took the least CPU time. */
struct turns {
	struct result bare, own, peer;
};

static void keep_less(struct result *best, struct result r)
{
	if (best->tokens <= 0 || cpu_us_per_token(&r) < cpu_us_per_token(best))
		*best = r;
}

static struct turns take_turns(const char *bin_dir, const char *path, int n, int tokens)
{
	struct turns t = {.bare = {.tokens = 0}};

	for (int i = 0; i < TURNS; i++) {
		keep_less(&t.bare, in_process(path ? "bare_write_loop_unix" : "bare_write_loop",
					      floor_server, path, n, tokens));
		if (path)
			unlink(path);
		keep_less(&t.own, own_engine(bin_dir, path, n, tokens));
		if (path)
			unlink(path);
		else
			keep_less(&t.peer, in_process("evhttp", evhttp_server, NULL, n, tokens));
	}
	print_result(&t.bare, 1);
	print_result(&t.own, cpu_us_per_token(&t.bare) / cpu_us_per_token(&t.own));
	if (!path)
		print_result(&t.peer, cpu_us_per_token(&t.bare) / cpu_us_per_token(&t.peer));
	return t;
}

static void tcp_rows(const char *bin_dir, double all)
{
	double cpu_us[ARRAY_LEN(streams)];
	struct goal g;

	for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
		int n = streams[i];
		struct turns t = take_turns(bin_dir, NULL, n, (int)(all / n));

		cpu_us[i] = cpu_us_per_token(&t.own);
		g = (struct goal){.what = "engine: CPU a token; a write() loop's over own",
				  .unit = "us",
				  .streams = n,
				  .floor = cpu_us_per_token(&t.bare),
				  .own = cpu_us[i],
				  .peer = cpu_us_per_token(&t.peer)};
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
}

/* What each stream more took, between two of those numbers of streams. */
static double a_stream(const double *grown_bytes, int few, int many)
{
	return (grown_bytes[many] - grown_bytes[few]) / (streams[many] - streams[few]);
}

static void memory_rows(const char *bin_dir)
{
	double grown[ARRAY_LEN(streams)];

	for (size_t i = 0; i < ARRAY_LEN(streams); i++)
		grown[i] = memory_grown(bin_dir, streams[i]);
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
		int n = streams[i];
		struct turns t = take_turns(bin_dir, path, n, (int)(all / n));

		print_goal(&(struct goal){.what = "engine: by unix socket; a CPU second",
					  .unit = "tokens",
					  .streams = n,
					  .floor = 1e6 / cpu_us_per_token(&t.bare),
					  .own = 1e6 / cpu_us_per_token(&t.own),
					  .least = 400000});
	}
	rmdir(dir);
	free(path);
}

int main(int argc, char **argv)
{
	double all = argc > 2 ? atof(argv[2]) : 150e3, calls;

	die_set_program(argv[0]);
	if (argc < 2)
		die("usage: bench_engine BIN_DIR [TOKENS_IN_ALL]");
	signal(SIGPIPE, SIG_IGN);
	raise_fd_limit();
	pin_to_core(CLIENT_CORE);
	print_head();
	tcp_rows(argv[1], all);
	memory_rows(argv[1]);
	unix_rows(argv[1], all);
	print_goal(&(struct goal){.what = "engine: overhead of a step; by /metrics",
				  .unit = "us",
				  .streams = 256,
				  .own = step_overhead_s(argv[1], 256) * 1e6,
				  .most = 20});
	calls = system_calls_per_token(argv[1], 64, (int)(all / 64));
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

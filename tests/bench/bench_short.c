/*
 * Short requests: what an answer in one piece costs the client. Own: loadgen while the load runs,
 * by its own account (planning before and reports after do not count; rows do). Peers: wrk, and
 * libcurl's multi interface, whole. One server, the same for all: epoll, a fixed answer.
 *
 * usage: bench_short BIN_DIR [REQUESTS]
 */
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/csv.h"
#include "base/die.h"
#include "bench.h"
#include "bench_curl.h"

#define STREAMS	    64
#define MAX_CONNS   4096
#define MAX_REQUEST 4096

static const char body[] =
	"{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion\",\"created\":"
	"1700000000,"
	"\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"
	"\"yes\"},\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\":8,\"completion_"
	"tokens\":1,"
	"\"total_tokens\":9}}";
static const char question[] =
	"{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"Say yes "
	"or no, please.\"}],\"max_tokens\":1}";

/* ---- the server ---- */

struct conn {
	char request[MAX_REQUEST];
	size_t n;
};

/* Bytes of the request that stands first in the buffer; 0 = it is not whole yet. */
static size_t whole_request(const struct conn *c)
{
	const char *end = memmem(c->request, c->n, "\r\n\r\n", 4), *length;
	size_t head;

	if (!end)
		return 0;
	head = (size_t)(end + 4 - c->request);
	length = memmem(c->request, head, "ontent-", 7);
	while (length && strncasecmp(length, "ontent-length:", 14) != 0)
		length = memmem(length + 1, (size_t)(end - length - 1), "ontent-", 7);
	head += length ? strtoul(length + 14, NULL, 10) : 0;
	return head <= c->n ? head : 0;
}

static int answering_server(void *arg)
{
	static struct conn *conn[MAX_CONNS];
	struct epoll_event ready[256], e = {.events = EPOLLIN, .data.fd = *(int *)arg};
	int ep = epoll_create1(EPOLL_CLOEXEC), listener = *(int *)arg;
	char *answer = xasprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
				 "Content-Length: %zu\r\n\r\n%s",
				 sizeof(body) - 1, body);
	size_t n_answer = strlen(answer), n_request;

	epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
	for (;;) {
		int n = epoll_wait(ep, ready, 256, -1);

		for (int i = 0; i < n; i++) {
			int fd = ready[i].data.fd;
			struct conn *c;
			ssize_t k;

			if (fd == listener) {
				e.data.fd = fd = accept(listener, NULL, NULL);
				if (fd < 0 || fd >= MAX_CONNS)
					return 1;
				set_nodelay(fd);
				conn[fd] = xcalloc(1, sizeof(*conn[fd]));
				epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
				continue;
			}
			c = conn[fd];
			k = recv(fd, c->request + c->n, sizeof(c->request) - c->n, 0);
			if (k <= 0) {
				free(c);
				close(fd);
				continue;
			}
			c->n += (size_t)k;
			while ((n_request = whole_request(c)) > 0) {
				write_all(fd, answer, n_answer);
				c->n -= n_request;
				memmove(c->request, c->request + n_request, c->n);
			}
		}
	}
}

/* ---- the clients ---- */

struct asking {
	long left;
};

static bool ask_again(CURLM *m, CURL *easy, void *arg)
{
	struct asking *a = arg;

	curl_multi_remove_handle(m, easy);
	if (a->left <= 0)
		return false;
	a->left--;
	curl_multi_add_handle(m, easy);
	return true;
}

struct curl_case {
	int port;
	long requests;
};

static int curl_client(void *arg)
{
	const struct curl_case *c = arg;
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
	char *url = xasprintf("http://127.0.0.1:%d/v1/chat/completions", c->port);
	struct asking a = {c->requests - STREAMS};
	CURLM *m = curl_multi_init();

	for (int i = 0; i < STREAMS; i++) {
		CURL *easy = curl_easy_init();

		curl_easy_setopt(easy, CURLOPT_URL, url);
		curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, question);
		curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, throw_away);
		curl_multi_add_handle(m, easy);
	}
	drive_curl(m, ask_again, &a);
	return 0;
}

static pid_t start_wrk(const char *dir, int port, int seconds, int *out)
{
	char *script = xasprintf("%s/post.lua", dir), *url, *duration;
	FILE *f = fopen(script, "w");
	char *argv[10];

	if (!f)
		die("%s: %s", script, strerror(errno));
	fprintf(f,
		"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\n"
		"wrk.body = '%s'\n"
		"function done(summary) io.stdout:write('requests ', summary.requests, '\\n') "
		"end\n",
		question);
	fclose(f);
	url = xasprintf("http://127.0.0.1:%d/v1/chat/completions", port);
	duration = xasprintf("-d%ds", seconds);
	argv[0] = (char *)"/usr/bin/wrk";
	argv[1] = (char *)"-t1";
	argv[2] = (char *)"-c64";
	argv[3] = duration;
	argv[4] = (char *)"-s";
	argv[5] = script;
	argv[6] = url;
	argv[7] = NULL;
	return spawn_program(CLIENT_CORE, argv, out);
}

static double requests_of_wrk(int out)
{
	FILE *f = fdopen(out, "r");
	char line[256];
	double n = 0, v;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "requests %lf", &v) == 1)
			n = v;
	if (n <= 0)
		die("wrk told no number of requests");
	fclose(f);
	return n;
}

/* Of the one point in points.csv. */
static double own_cpu_s(const char *run_dir)
{
	char *path = xasprintf("%s/points.csv", run_dir);
	int share, duration;
	struct csv_table *t;
	double cores, seconds;
	struct err e;

	if (csv_read(&t, path, true, &e) != RC_OK ||
	    csv_need(t, "cpu_share", &share, &e) != RC_OK ||
	    csv_need(t, "duration_s", &duration, &e) != RC_OK ||
	    csv_field_num(t, 0, share, NAN, &cores, &e) != RC_OK ||
	    csv_field_num(t, 0, duration, NAN, &seconds, &e) != RC_OK)
		die("%s", e.msg);
	csv_table_free(t);
	free(path);
	return cores * seconds;
}

static void judge(const struct result *own, const struct result *peer, const char *what,
		  double least)
{
	double own_us = cpu_us_per_token(own), peer_us = cpu_us_per_token(peer);

	print_result(peer, own_us / peer_us);
	print_goal(&(struct goal){.what = what,
				  .unit = "us",
				  .streams = STREAMS,
				  .own = own_us,
				  .peer = peer_us,
				  .ratio = peer_us / own_us,
				  .least = least});
}

int main(int argc, char **argv)
{
	struct result own = {"short", "loadgen", STREAMS, 0, 0, 0}, wrk = own, curl = own;
	long requests = argc > 2 ? atol(argv[2]) : 100000;
	char dir[] = "/tmp/bench_short.XXXXXX", *run_dir;
	struct curl_case c = {0, requests};
	int listener, out = -1;
	double start_s;
	pid_t server;

	die_set_program(argv[0]);
	if (argc < 2)
		die("usage: bench_short BIN_DIR [REQUESTS]");
	signal(SIGPIPE, SIG_IGN);
	if (!mkdtemp(dir))
		die("mkdtemp: %s", strerror(errno));
	run_dir = xasprintf("%s/run", dir);
	listener = listen_any(&c.port);
	server = spawn(SERVER_CORE, answering_server, &listener);
	print_head();

	start_s = now_s();
	wait_cpu_s(start_loadgen(&(struct loadgen_job){.bin_dir = argv[1],
						       .out_dir = run_dir,
						       .port = c.port,
						       .streams = STREAMS,
						       .tokens = 1,
						       .requests = requests,
						       .whole_answers = true}),
		   "loadgen");
	own.seconds = now_s() - start_s;
	own.cpu_s = own_cpu_s(run_dir);
	own.tokens = (double)requests;

	curl.name = "libcurl_multi";
	start_s = now_s();
	curl.cpu_s = wait_cpu_s(spawn(CLIENT_CORE, curl_client, &c), "libcurl");
	curl.seconds = now_s() - start_s;
	curl.tokens = (double)requests;
	print_result(&own, 1);
	judge(&own, &curl, "load: CPU a short request; libcurl's over own", 3);

	if (access("/usr/bin/wrk", X_OK) == 0) {
		wrk.name = "wrk";
		start_s = now_s();
		wrk.cpu_s = wait_cpu_s(start_wrk(dir, c.port, 3, &out), "wrk");
		wrk.seconds = now_s() - start_s;
		wrk.tokens = requests_of_wrk(out);
		judge(&own, &wrk, "load: CPU a short request; wrk's over own", 0.9);
	} else {
		fprintf(stderr, "bench_short: wrk is not there: apt-get install wrk\n");
	}
	kill(server, SIGKILL);
	remove_folder(dir);
	free(run_dir);
	return 0;
}

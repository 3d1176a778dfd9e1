/*
 * Owns the plumbing of the benchmarks. Every failure here is the environment's: it ends the
 * program.
 */
#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/die.h"

const char stream_head[] = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
			   "transfer-encoding: chunked\r\n\r\n";

/* 0xf6 = 246 bytes of event, 4 of size line before and 2 of line end behind it. */
const char token_chunk[TOKEN_BYTES + 1] =
	"f6\r\n"
	"data: "
	"{\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"object\":\"chat.completion."
	"chunk\","
	"\"created\":1700000000,\"model\":\"benchmark-model-0123456789abcdefg\","
	"\"choices\":[{\"index\":0,\"delta\":{\"content\":\" "
	"token\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n"
	"\r\n";

void pin_to_core(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core % (int)sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void sleep_until_s(double at_s)
{
	struct timespec t = {.tv_sec = (time_t)at_s, .tv_nsec = (long)(fmod(at_s, 1) * 1e9)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

void raise_fd_limit(void)
{
	struct rlimit r;

	getrlimit(RLIMIT_NOFILE, &r);
	r.rlim_cur = r.rlim_max;
	setrlimit(RLIMIT_NOFILE, &r);
}

int listen_any(int *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 4096) ||
	    getsockname(fd, (struct sockaddr *)&a, &len))
		die("listen: %s", strerror(errno));
	*port = ntohs(a.sin_port);
	return fd;
}

int connect_port(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons((uint16_t)port),
				.sin_addr = {htonl(INADDR_LOOPBACK)}};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("connect: %s", strerror(errno));
	set_nodelay(fd);
	return fd;
}

static int unix_socket(const char *path, struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*a = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (fd < 0 || strlen(path) >= sizeof(a->sun_path))
		die("unix socket %s: %s", path, fd < 0 ? strerror(errno) : "its path is too long");
	memcpy(a->sun_path, path, strlen(path) + 1);
	return fd;
}

int listen_path(const char *path)
{
	struct sockaddr_un a;
	int fd = unix_socket(path, &a);

	unlink(path);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || listen(fd, 4096))
		die("listen: %s: %s", path, strerror(errno));
	return fd;
}

int connect_path(const char *path)
{
	struct sockaddr_un a;
	int fd = unix_socket(path, &a);

	if (connect(fd, (struct sockaddr *)&a, sizeof(a)))
		die("connect: %s: %s", path, strerror(errno));
	return fd;
}

void set_nodelay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

void set_nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

void write_all(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n > 0) {
		ssize_t k = write(fd, at, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0)
			die("write: %s", strerror(errno));
		at += k;
		n -= (size_t)k;
	}
}

size_t format_stream_end(char *out, size_t cap, int tokens)
{
	char events[512];
	int n = snprintf(
		events, sizeof(events),
		"data: "
		"{\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","
		"\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\n"
		"data: "
		"{\"id\":\"x\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","
		"\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":%d,"
		"\"total_tokens\":%d}}\n\ndata: [DONE]\n\n",
		tokens, tokens + 1);

	return (size_t)snprintf(out, cap, "%x\r\n%s\r\n0\r\n\r\n", (unsigned)n, events);
}

static pid_t fork_pinned(int core)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pin_to_core(core);
	}
	return pid;
}

pid_t spawn(int core, int (*fn)(void *arg), void *arg)
{
	pid_t pid = fork_pinned(core);

	if (pid == 0)
		_exit(fn(arg));
	return pid;
}

pid_t spawn_program(int core, char *const argv[], int *out_fd)
{
	int out[2] = {-1, -1};
	pid_t pid;

	if (out_fd && pipe2(out, O_CLOEXEC))
		die("pipe: %s", strerror(errno));
	pid = fork_pinned(core);
	if (pid == 0) {
		dup2(out_fd ? out[1] : open("/dev/null", O_WRONLY), 1);
		execv(argv[0], argv);
		fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	if (out_fd) {
		close(out[1]);
		*out_fd = out[0];
	}
	return pid;
}

pid_t start_loadgen(const struct loadgen_job *j)
{
	char *program = xasprintf("%s/loadgen", j->bin_dir);
	char *url = xasprintf("http://127.0.0.1:%d", j->port);
	char *requests = xasprintf("%ld", j->requests), *streams = xasprintf("%d", j->streams);
	char *tokens = xasprintf("%d", j->tokens);
	char *argv[] = {program,
			(char *)"run",
			(char *)"--base-url",
			url,
			(char *)"--model",
			(char *)"m",
			(char *)"--num-prompts",
			requests,
			(char *)"--max-concurrency",
			streams,
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
			(char *)j->out_dir,
			(char *)(j->whole_answers ? "--no-stream" : NULL),
			NULL};
	pid_t pid = spawn_program(CLIENT_CORE, argv, NULL);

	free(program);
	free(url);
	free(requests);
	free(streams);
	free(tokens);
	return pid;
}

void remove_folder(const char *path)
{
	char *command = xasprintf("rm -rf '%s'", path);

	if (system(command))
		die("%s failed", command);
	free(command);
}

struct usage wait_usage(pid_t pid, const char *what)
{
	struct rusage u;
	int status;

	while (wait4(pid, &status, 0, &u) < 0)
		if (errno != EINTR)
			die("wait: %s", strerror(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		die("%s failed (wait status %d)", what, status);
	return (struct usage){(double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
				      (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6,
			      (double)u.ru_maxrss * 1024};
}

double wait_cpu_s(pid_t pid, const char *what)
{
	return wait_usage(pid, what).cpu_s;
}

double process_cpu_s(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(pid, &clock) || clock_gettime(clock, &t))
		die("no CPU clock of process %d", pid);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double cpu_us_per_token(const struct result *r)
{
	return r->cpu_s * 1e6 / r->tokens;
}

void print_head(void)
{
	CHECK(strlen(token_chunk) == TOKEN_BYTES);
	printf("bench,case,streams,tokens,seconds,tokens_per_s,cpu_us_per_token,ratio\n");
}

void print_result(const struct result *r, double ratio)
{
	printf("%s,%s,%d,%.0f,%.3f,%.0f,%.3f,%.3f\n", r->bench, r->name, r->streams, r->tokens,
	       r->seconds, r->tokens / r->seconds, cpu_us_per_token(r), ratio);
	fflush(stdout);
}

double peak_memory_bytes(pid_t pid)
{
	char *path = xasprintf("/proc/%d/status", pid), line[256];
	FILE *f = fopen(path, "r");
	double kib = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmHWM: %lf kB", &kib) == 1)
			break;
	if (!f || kib < 0)
		die("%s: no VmHWM", path);
	fclose(f);
	free(path);
	return kib * 1024;
}

/* An empty field where there is nothing to tell. */
static void print_number(FILE *f, double v)
{
	if (fabs(v) >= 1000)
		fprintf(f, "%.0f", v);
	else if (v != 0)
		fprintf(f, "%.4g", v);
	fputc(',', f);
}

void print_goal(const struct goal *g)
{
	const char *path = getenv("BENCH_GOALS");
	FILE *f = path ? fopen(path, "a") : stderr;
	double value = g->ratio != 0 ? g->ratio : g->own;
	bool met = g->least > 0 ? value >= g->least : value <= g->most;

	if (!f)
		die("%s: %s", path, strerror(errno));
	fprintf(f, "%s,%s,", g->what, g->unit);
	print_number(f, g->streams);
	print_number(f, g->floor);
	print_number(f, g->own);
	print_number(f, g->peer);
	print_number(f, g->ratio);
	fprintf(f, "%s %.10g,%s\n", g->least > 0 ? ">=" : "<=", g->least > 0 ? g->least : g->most,
		met ? "met" : "missed");
	if (path)
		fclose(f);
}

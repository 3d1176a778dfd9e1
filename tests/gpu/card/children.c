/*
 * Owns the processes that gpu-check starts. One at a time. Must not know what they do.
 */
#include "children.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../support/child.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/jsonx.h"

#define MAX_SAID (16U << 20)

/* In a process group of its own, so that what a wrapper starts can be ended with it. Returns 0 in
 * the child, whose stdout is *fd's other end. */
static pid_t start(int *fd)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) != 0)
		die("no pipe");
	pid = fork_bound();
	if (pid < 0)
		die("no process");
	if (pid == 0) {
		setpgid(0, 0);
		dup2(ends[1], STDOUT_FILENO);
	}
	close(ends[1]);
	*fd = ends[0];
	return pid;
}

/* Until its end of the pipe is closed; false if that takes too long. What is beyond the cap is read
 * and forgotten. */
static bool listen_to(int fd, struct buf *said, int64_t end_ns)
{
	char part[4096];

	for (;;) {
		int64_t left_ms = (end_ns - monotonic_now_ns()) / NS_PER_MS;
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (left_ms <= 0 || poll(&p, 1, (int)left_ms) == 0)
			return false;
		n = read(fd, part, sizeof(part));
		if (n <= 0)
			return true;
		buf_append(said, part, (size_t)n);
	}
}

static void finish(struct child *c, pid_t pid, int fd, int64_t start_ns, int64_t end_ns)
{
	int status = 0;
	bool ended;

	buf_init(&c->said, MAX_SAID);
	c->how[0] = '\0';
	ended = listen_to(fd, &c->said, end_ns);
	if (!ended)
		kill(-pid, SIGKILL);
	close(fd);
	waitpid(pid, &status, 0);
	c->took_s = (double)(monotonic_now_ns() - start_ns) / NS_PER_S;
	if (!ended)
		snprintf(c->how, sizeof(c->how), "no end in time");
	else if (WIFSIGNALED(status))
		snprintf(c->how, sizeof(c->how), "signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status) != 0)
		snprintf(c->how, sizeof(c->how), "exit code %d", WEXITSTATUS(status));
	buf_cstr(&c->said);
}

void child_program(struct child *out, const char *const *argv, const char *const *environment,
		   int64_t end_ns)
{
	int64_t start_ns = monotonic_now_ns();
	int fd;
	pid_t pid = start(&fd);

	if (pid == 0) {
		dup2(STDOUT_FILENO, STDERR_FILENO);
		for (int i = 0; environment[i]; i++)
			putenv((char *)(uintptr_t)environment[i]);
		execv(argv[0], (char *const *)(uintptr_t)argv);
		fprintf(stderr, "%s can not be started\n", argv[0]);
		_exit(127);
	}
	finish(out, pid, fd, start_ns, end_ns);
}

static void compute(cJSON *(*fn)(const struct check *c), const struct check *c)
{
	cJSON *o = fn(c);
	struct buf b;

	buf_init(&b, MAX_SAID);
	json_print(&b, o, false);
	fwrite(buf_head(&b), 1, buf_size(&b), stdout);
	buf_release(&b);
	cJSON_Delete(o);
	exit(fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

cJSON *child_phase(cJSON *(*fn)(const struct check *c), const struct check *c)
{
	int64_t start_ns = monotonic_now_ns();
	struct child child;
	cJSON *o = NULL;
	struct err e;
	int fd;
	pid_t pid = start(&fd);

	if (pid == 0)
		compute(fn, c);
	finish(&child, pid, fd, start_ns, c->end_ns);
	if (json_parse(&o, buf_head(&child.said), buf_size(&child.said), &e) != RC_OK) {
		o = object_new();
		if (!child.how[0])
			snprintf(child.how, sizeof(child.how), "no result");
	}
	if (child.how[0])
		add_wrong(o, "it did not come to its end: %s", child.how);
	json_add_number(o, "took_s", child.took_s);
	child_release(&child);
	return o;
}

void child_release(struct child *c)
{
	buf_release(&c->said);
}

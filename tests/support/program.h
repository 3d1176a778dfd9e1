/*
 * A program of ours as a user starts it: its line on stdout, requests over raw sockets, how it
 * ends. alarm() ends a test that waits in vain, and the program goes with the test (child.h).
 * Whoever includes it defines PROGRAM, a path, before; one test program at a time: everything is
 * static.
 */
#ifndef TESTS_PROGRAM_H
#define TESTS_PROGRAM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/die.h"
#include "child.h"

#define MAX_ARGS 24

struct engine {
	pid_t pid;
	int out, err; /* reading ends of its stdout and stderr */
	int port;     /* 0: a unix socket */
};

static inline void spawn(struct engine *g, const char *const *args)
{
	const char *argv[MAX_ARGS + 2] = {PROGRAM};
	int out[2], err[2];

	for (int i = 0; args[i]; i++) {
		assert_true(i < MAX_ARGS);
		argv[i + 1] = args[i];
	}
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(err, O_CLOEXEC), 0);
	g->pid = fork_bound();
	assert_true(g->pid >= 0);
	if (g->pid == 0) {
		dup2(out[1], 1);
		dup2(err[1], 2);
		execv(PROGRAM, (char *const *)argv);
		_exit(127);
	}
	close(out[1]);
	close(err[1]);
	g->out = out[0];
	g->err = err[0];
}

static inline void read_all(int fd, struct buf *b)
{
	char *to;
	ssize_t n;

	buf_init(b, 1 << 24);
	do {
		to = buf_reserve(b, 65536);
		n = read(fd, to, 65536);
		buf_commit(b, n > 0 ? (size_t)n : 0);
	} while (n > 0);
	buf_cstr(b);
}

static inline void start(struct engine *g, const char *const *args)
{
	char line[256] = "";
	size_t n = 0;

	spawn(g, args);
	while (n < sizeof(line) - 1 && !strchr(line, '\n')) {
		if (read(g->out, line + n, 1) != 1) {
			struct buf said;

			read_all(g->err, &said);
			fail_msg("%s does not listen: %s", PROGRAM, buf_head(&said));
		}
		n++;
	}
	g->port = 0;
	if (strncmp(line, "listening on unix:", 18) != 0)
		assert_int_equal(sscanf(line, "listening on http://127.0.0.1:%d\n", &g->port), 1);
}

static inline int wait_for(struct engine *g)
{
	int status;

	assert_int_equal(waitpid(g->pid, &status, 0), g->pid);
	close(g->out);
	close(g->err);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static inline int stop(struct engine *g)
{
	kill(g->pid, SIGTERM);
	return wait_for(g);
}

/* ---- requests ---- */

static inline int dial(int port, const char *path)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (path)
		strncpy(un.sun_path, path, sizeof(un.sun_path) - 1);
	rc = path ? connect(fd, (struct sockaddr *)&un, sizeof(un))
		  : connect(fd, (struct sockaddr *)&in, sizeof(in));
	if (rc == 0)
		return fd;
	close(fd);
	return -1;
}

static inline void send_request(int fd, const char *method, const char *path, const char *headers,
				const char *body)
{
	char *text = xasprintf("%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%sContent-Type: "
			       "application/json\r\nContent-Length: %zu\r\n\r\n%s",
			       method, path, headers, strlen(body), body);

	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
	free(text);
}

/* One request on a connection of its own; the whole answer, head and framing included. */
static inline void request(const struct engine *g, const char *method, const char *path,
			   const char *headers, const char *body, struct buf *answer)
{
	int fd = dial(g->port, NULL);

	assert_true(fd >= 0);
	send_request(fd, method, path, headers, body);
	read_all(fd, answer);
	close(fd);
}

static inline int count(const char *text, const char *what)
{
	int n = 0;

	while ((text = strstr(text, what))) {
		text += strlen(what);
		n++;
	}
	return n;
}

static inline void says(const struct buf *answer, const char *what)
{
	if (!strstr(buf_head(answer), what))
		fail_msg("no %s in: %s", what, buf_head(answer));
}

/* ---- a place for files ---- */

static char folder[] = "/tmp/test_program.XXXXXX";

static inline int make_folder(void **state)
{
	(void)state;
	alarm(120);
	return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state)
{
	(void)state;
	return rmdir(folder);
}

static inline const char *in_folder(const char *name)
{
	static char path[2][128];
	static int turn;

	turn = !turn;
	snprintf(path[turn], sizeof(path[turn]), "%s/%s", folder, name);
	return path[turn];
}

#endif

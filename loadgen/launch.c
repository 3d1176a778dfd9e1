/*
 * Owns the processes of launched engines. Runs on the main thread before and after the load, never
 * during it, so it may block. Must not know what an engine is beyond a program, a log and a URL
 * that answers.
 *
 * Three processes: we -> keeper -> engine. The keeper leads no terminal (setsid), waits for the
 * engine, and holds the reading end of a pipe whose writing end only we have: end of file there
 * means that we are gone, however we went. It is a child subreaper, so what the engine leaves
 * behind becomes its child and is killed as well.
 */
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <netdb.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"

#define STOP_PATIENCE_NS (5 * NS_PER_S)
#define POLL_NS		 (20 * NS_PER_MS)
#define LOG_TAIL_BYTES	 600
#define LOG_HEAD_BYTES	 65536

struct launched {
	pid_t keeper;
	int lifeline;  /* writing end; closing it ends the engine */
	int status_fd; /* the keeper writes the engine's wait status here when it has died by itself
			*/
	bool reaped, dead;
	int status;
	char *program, *log_path;
	const struct launch_spec *spec;
};

static void sleep_ns(int64_t ns)
{
	struct timespec t = {ns / NS_PER_S, ns % NS_PER_S};

	nanosleep(&t, NULL);
}

/* The path to run, or NULL with a message that says where was looked. */
static char *find_program(const char *name, struct err *e)
{
	char self[4096];
	ssize_t n;

	if (strchr(name, '/')) {
		if (access(name, X_OK) == 0)
			return xstrdup(name);
		err_set(e, RC_INPUT, "launch: %s: %s", name, strerror(errno));
		return NULL;
	}
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n > 0) {
		char *slash, *beside;

		self[n] = '\0';
		slash = strrchr(self, '/');
		beside = xasprintf("%.*s/%s", (int)(slash - self), self, name);
		if (access(beside, X_OK) == 0)
			return beside;
		free(beside);
	}
	for (const char *dir = getenv("PATH"); dir && *dir;) {
		size_t len = strcspn(dir, ":");
		char *path = xasprintf("%.*s/%s", (int)len, dir, name);

		if (access(path, X_OK) == 0)
			return path;
		free(path);
		dir += len + (dir[len] == ':');
	}
	err_set(e, RC_INPUT, "launch: %s: no such program beside loadgen or in PATH", name);
	return NULL;
}

/* In the keeper. SIGKILL for every child it has: what left the engine's group was re-parented to
 * the keeper. */
static bool kill_children(void)
{
	FILE *f = fopen("/proc/thread-self/children", "r");
	bool any = false;
	int pid;

	while (f && fscanf(f, "%d", &pid) == 1) {
		any = true;
		kill(pid, SIGKILL);
	}
	if (f)
		fclose(f);
	return any;
}

/* In the keeper. Ends the engine's process group, politely first, then whatever is left of it. */
_Noreturn static void keeper_end(pid_t engine)
{
	int64_t until = monotonic_now_ns() + STOP_PATIENCE_NS;

	kill(-engine, SIGTERM);
	while (monotonic_now_ns() < until && waitpid(engine, NULL, WNOHANG) == 0)
		sleep_ns(POLL_NS);
	kill(-engine, SIGKILL);
	while (kill_children())
		waitpid(-1, NULL, 0);
	_exit(0);
}

_Noreturn static void engine_main(const char *path, char *const *argv, int log_fd)
{
	setpgid(0, 0);
	signal(SIGINT, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* should the keeper be killed first */
	dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
	dup2(log_fd, 1);
	dup2(log_fd, 2);
	close_range(3, ~0u, 0);
	execv(path, argv);
	dprintf(2, "cannot run %s: %s\n", path, strerror(errno));
	_exit(127);
}

/* Keeps only its own three descriptors: another engine's lifeline held here would keep that engine
 * alive. */
_Noreturn static void keeper_main(const char *path, char *const *argv, const int keep[3])
{
	enum { LIFELINE = 100, STATUS, LOG };
	sigset_t none;
	pid_t engine;
	int pidfd;

	for (int i = 0; i < 3; i++)
		if (dup3(keep[i], LIFELINE + i, O_CLOEXEC) < 0)
			_exit(1);
	close_range(3, LIFELINE - 1, 0);
	close_range(LOG + 1, ~0u, 0);
	setsid();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	engine = fork();
	if (engine == 0)
		engine_main(path, argv, LOG);
	if (engine < 0)
		_exit(1);
	setpgid(engine, engine);
	pidfd = pidfd_open(engine, 0);
	if (pidfd < 0)
		keeper_end(engine);
	for (int fd = 0; fd < 3; fd++)
		dup2(open("/dev/null", O_RDWR | O_CLOEXEC), fd);
	for (;;) {
		struct pollfd p[] = {{LIFELINE, POLLIN, 0}, {pidfd, POLLIN, 0}};
		int status;

		if (poll(p, 2, -1) < 0)
			continue;
		if (waitpid(engine, &status, WNOHANG) == engine) {
			ssize_t ignored = write(STATUS, &status, sizeof(status));

			(void)ignored;
			keeper_end(engine);
		}
		if (p[0].revents)
			keeper_end(engine);
	}
}

enum rc launch_start(struct launched **out, const struct launch_spec *spec, const char *log_path,
		     struct err *e)
{
	char *path = find_program(spec->program, e);
	int life[2] = {-1, -1}, status[2] = {-1, -1};
	struct launched *l;
	size_t n_args = 0;
	char **argv;
	int log_fd;
	pid_t pid;

	*out = NULL;
	if (!path)
		return e ? e->rc : RC_INPUT;
	log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (log_fd < 0) {
		free(path);
		return err_set(e, RC_IO, "%s: %s", log_path, strerror(errno));
	}
	if (pipe2(life, O_CLOEXEC) || pipe2(status, O_CLOEXEC | O_NONBLOCK))
		die("pipe: %s", strerror(errno));
	while (spec->args && spec->args[n_args])
		n_args++;
	argv = xcalloc(n_args + 2, sizeof(*argv));
	argv[0] = path;
	for (size_t i = 0; i < n_args; i++)
		argv[i + 1] = spec->args[i];
	pid = fork();
	if (pid < 0)
		die("fork: %s", strerror(errno));
	if (pid == 0) {
		const int keep[3] = {life[0], status[1], log_fd};

		keeper_main(path, argv, keep);
	}
	close(life[0]);
	close(status[1]);
	close(log_fd);
	free(argv);
	l = xcalloc(1, sizeof(*l));
	l->keeper = pid;
	l->lifeline = life[1];
	l->status_fd = status[0];
	l->program = path;
	l->log_path = xstrdup(log_path);
	l->spec = spec;
	*out = l;
	return RC_OK;
}

/* The log's last lines, on one line, for messages. */
static void log_tail(const struct launched *l, char *out, size_t cap)
{
	FILE *f = fopen(l->log_path, "r");
	size_t n = 0;

	out[0] = '\0';
	if (!f)
		return;
	if (fseek(f, -(long)LOG_TAIL_BYTES, SEEK_END) != 0)
		rewind(f);
	n = fread(out, 1, cap - 1, f);
	fclose(f);
	while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == ' '))
		n--;
	out[n] = '\0';
	for (size_t i = 0; i < n; i++)
		if (out[i] == '\n')
			out[i] = '|';
}

bool launch_died(struct launched *l, int patience_ms, struct err *e)
{
	struct pollfd word = {l->status_fd, POLLIN, 0};
	char tail[LOG_TAIL_BYTES];
	int status;

	if (!l->dead && poll(&word, 1, patience_ms) > 0 &&
	    read(l->status_fd, &status, sizeof(status)) == (ssize_t)sizeof(status)) {
		l->dead = true;
		l->status = status;
	}
	if (!l->dead)
		return false;
	log_tail(l, tail, sizeof(tail));
	if (WIFSIGNALED(l->status))
		err_set(e, RC_IO, "launch: %s was killed by signal %d (%s); log %s: %s", l->program,
			WTERMSIG(l->status), strsignal(WTERMSIG(l->status)), l->log_path, tail);
	else
		err_set(e, RC_IO, "launch: %s ended with exit code %d; log %s: %s", l->program,
			WEXITSTATUS(l->status), l->log_path, tail);
	return true;
}

/* "listening on URL" in the log so far -> t. RC_OK with t->url still NULL: not yet. */
static enum rc learn_url(const struct launched *l, struct target *t, struct err *e)
{
	static const char mark[] = "listening on ";
	char *text = xcalloc(1, LOG_HEAD_BYTES);
	FILE *f = fopen(l->log_path, "r");
	enum rc rc = RC_OK;
	char *at;

	if (f) {
		size_t n = fread(text, 1, LOG_HEAD_BYTES - 1, f);

		text[n] = '\0';
		fclose(f);
	}
	at = strstr(text, mark);
	if (at && strchr(at, '\n')) {
		at += sizeof(mark) - 1;
		at[strcspn(at, " \r\n")] = '\0';
		rc = target_set_url(t, at, e);
		if (rc)
			err_prefix(e, "launch: %s: its \"listening on\" line: ", l->program);
	}
	free(text);
	return rc;
}

static int connect_target(const struct target *t)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	char port[16];
	int fd = -1;

	if (t->scheme == URL_UNIX) {
		if (strlen(t->host) >= sizeof(un.sun_path))
			return -1;
		memcpy(un.sun_path, t->host, strlen(t->host) + 1);
		fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (fd >= 0 && connect(fd, (struct sockaddr *)&un, sizeof(un)) != 0) {
			close(fd);
			fd = -1;
		}
		return fd;
	}
	snprintf(port, sizeof(port), "%d", t->port);
	if (getaddrinfo(t->host, port, &hints, &found) != 0)
		return -1;
	for (struct addrinfo *a = found; a && fd < 0; a = a->ai_next) {
		fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
		if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0) {
			close(fd);
			fd = -1;
		}
	}
	freeaddrinfo(found);
	return fd;
}

/* One GET, only to learn whether the status is 200. A launched engine speaks plain HTTP. */
static bool answers_200(const struct target *t, const char *path)
{
	struct timeval patience = {1, 0};
	char request[1024], answer[16] = "";
	int fd = connect_target(t), n;
	bool yes = false;

	if (fd < 0)
		return false;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	n = snprintf(request, sizeof(request),
		     "GET %s%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
		     t->prefix ? t->prefix : "", path);
	if (n < (int)sizeof(request) && send(fd, request, (size_t)n, MSG_NOSIGNAL) == n &&
	    recv(fd, answer, sizeof(answer) - 1, MSG_WAITALL) >= 12)
		yes = strncmp(answer + 8, " 200", 4) == 0;
	close(fd);
	return yes;
}

enum rc launch_wait_ready(struct launched *l, struct target *t,
			  const volatile sig_atomic_t *interrupted, struct err *e)
{
	int64_t until = monotonic_now_ns() + l->spec->timeout_ns;
	char tail[LOG_TAIL_BYTES];
	enum rc rc;

	while (monotonic_now_ns() < until && !*interrupted) {
		if (launch_died(l, 0, e))
			return RC_IO;
		if (!t->url) {
			rc = learn_url(l, t, e);
			if (rc)
				return rc;
		}
		if (t->url && answers_200(t, l->spec->ready))
			return RC_OK;
		sleep_ns(POLL_NS);
	}
	if (*interrupted)
		return err_set(e, RC_IO, "interrupted while waiting for %s", l->program);
	log_tail(l, tail, sizeof(tail));
	if (!t->url)
		return err_set(e, RC_IO,
			       "launch: %s printed no \"listening on URL\" within %.0f s; give the "
			       "target a url, "
			       "or raise launch.timeout; log %s: %s",
			       l->program, (double)l->spec->timeout_ns / 1e9, l->log_path, tail);
	return err_set(
		e, RC_IO,
		"launch: %s: %s%s did not answer 200 within %.0f s (launch.timeout); log %s: %s",
		l->program, t->url, l->spec->ready, (double)l->spec->timeout_ns / 1e9, l->log_path,
		tail);
}

pid_t launch_keeper(const struct launched *l)
{
	return l->keeper;
}

void launch_stop(struct launched *l)
{
	if (!l)
		return;
	close(l->lifeline);
	while (waitpid(l->keeper, NULL, 0) < 0 && errno == EINTR)
		;
	close(l->status_fd);
	free(l->program);
	free(l->log_path);
	free(l);
}

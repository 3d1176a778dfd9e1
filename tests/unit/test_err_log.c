/*
 * The error lanes: messages on their way up, and what a person sees on stderr, from a child whose
 * stderr is a packet socket, so that each write(2) is one packet.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/die.h"
#include "base/err.h"
#include "base/log.h"

static void test_err_set(void **state)
{
	struct err e = {0};

	(void)state;
	assert_int_equal(err_set(&e, RC_PEER, "line %d: \"%s\"", 3, "a\tb\x1b[2J\x7f"), RC_PEER);
	assert_int_equal(e.rc, RC_PEER);
	assert_string_equal(e.msg, "line 3: \"a?b?[2J?\"");
	assert_int_equal(err_set(NULL, RC_LIMIT, "%d", 1), RC_LIMIT);

	/* a message may be made of the one before it */
	assert_int_equal(err_set(&e, RC_IO, "again: %s", e.msg), RC_IO);
	assert_string_equal(e.msg, "again: line 3: \"a?b?[2J?\"");
}

static void test_err_prefix(void **state)
{
	struct err e = {0};

	(void)state;
	err_set(&e, RC_INPUT, "not a number");
	assert_int_equal(err_prefix(&e, "%s:%d:%d: ", "s.yaml", 3, 5), RC_INPUT);
	assert_int_equal(err_prefix(&e, "target\n%s: ", "x"), RC_INPUT);
	assert_string_equal(e.msg, "target?x: s.yaml:3:5: not a number");
}

/* 2-, 3- and 4-byte characters at every offset around the end. */
static void test_a_cut_keeps_utf8_whole(void **state)
{
	static const char *const characters[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
	char text[1100];
	struct err e = {0};

	(void)state;
	for (size_t c = 0; c < ARRAY_LEN(characters); c++) {
		size_t length = strlen(characters[c]);

		for (size_t at = 1010; at < 1030; at++) {
			size_t whole = at + length <= sizeof(e.msg) - 1 ? at + length : at;

			memset(text, 'x', sizeof(text));
			memcpy(text + at, characters[c], length);
			text[at + length] = '\0';
			err_set(&e, RC_INPUT, "%s", text);
			assert_int_equal(strlen(e.msg), whole < 1023 ? whole : 1023);

			/* the same cut by a prefix */
			text[1022] = at + length > 1022 ? text[1022] : '\0';
			err_set(&e, RC_INPUT, "%s", text + 10);
			err_prefix(&e, "0123456789");
			assert_true(strlen(e.msg) <= sizeof(e.msg) - 1);
			assert_memory_equal(e.msg, "0123456789xxx", 13);
			assert_true(strlen(e.msg) == whole || at >= 1023);
		}
	}
}

struct outcome {
	char text[8192]; /* the packets, "|" behind each */
	int packets, exit_code, signal;
};

static void run_in_child(void (*fn)(void), int stdout_fd, struct outcome *o)
{
	char packet[8192];
	int ends[2], status;
	ssize_t n;
	pid_t pid;

	memset(o, 0, sizeof(*o));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		struct rlimit no_core = {0, 0};

		setrlimit(RLIMIT_CORE, &no_core);
		dup2(stdout_fd, STDOUT_FILENO);
		dup2(ends[1], STDERR_FILENO);
		close(ends[0]);
		close(ends[1]);
		fn();
		_exit(42);
	}
	assert_true(pid > 0);
	close(ends[1]);
	while ((n = recv(ends[0], packet, sizeof(packet) - 1, 0)) > 0) {
		packet[n] = '\0';
		o->packets++;
		snprintf(o->text + strlen(o->text), sizeof(o->text) - strlen(o->text), "%s|",
			 packet);
	}
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	o->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
	o->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void log_levels(void)
{
	die_set_program("/usr/bin/prog");
	log_error("e %d", 1);
	log_warn("w");
	log_info("i");
	log_debug("not shown");
	log_set_level(LOG_DEBUG);
	log_debug("d");
	log_set_level(LOG_ERROR);
	log_warn("not shown");
	log_error("e2");
}

static void say_before(void *arg)
{
	if (write(STDERR_FILENO, arg, 1) != 1)
		_exit(1);
}

static void say_after(void *arg)
{
	if (write(STDERR_FILENO, (char *)arg + 1, 1) != 1)
		_exit(1);
}

static void log_hooks(void)
{
	static char marks[] = "<>";

	die_set_program("prog");
	log_set_hooks(say_before, say_after, marks);
	log_info("one");
	log_debug("not shown, so no hooks");
	log_set_hooks(NULL, NULL, NULL);
	log_info("two");
}

static void set_errno(void *arg)
{
	(void)arg;
	errno = EINVAL;
}

static void log_keeps_errno(void)
{
	die_set_program("prog");
	log_set_hooks(set_errno, set_errno, NULL);
	errno = ENOENT;
	log_info("%m");
	if (errno != ENOENT)
		_exit(1);
}

static void log_long_line(void)
{
	static char text[20000];

	memset(text, 'x', sizeof(text) - 1);
	log_info("%s", text);
}

static void die_early(void)
{
	die_set_program("/a/b/prog");
	printf("a row that was written before");
	die("no %s: %s", "device", "gone");
}

static void at_exit(void)
{
	if (write(STDERR_FILENO, "handler", 7) < 0)
		_exit(1);
}

static void die_runs_no_handlers(void)
{
	atexit(at_exit);
	die("x");
}

static void check_that_holds(void)
{
	CHECK(1 + 1 == 2);
}

static void check_that_fails(void)
{
	CHECK(1 + 1 == 3);
}

/* 2^64 + 4 bytes: 4 for who multiplies without looking */
static void allocate_too_much(void)
{
	free(xreallocarray(NULL, SIZE_MAX / 4 + 2, 4));
}

static void callocate_too_much(void)
{
	free(xcalloc(SIZE_MAX / 4 + 2, 4));
}

static void test_what_a_person_sees(void **state)
{
	static const struct {
		void (*fn)(void);
		const char *text; /* NULL = not looked at */
		int packets, exit_code, signal;
	} rows[] = {
		{log_levels,
		 "prog: error: e 1\n|prog: warning: w\n|prog: i\n|prog: debug: d\n|prog: error: "
		 "e2\n|",
		 5, 42, 0},
		{log_hooks, "<|prog: one\n|>|prog: two\n|", 4, 42, 0},
		{log_keeps_errno, "prog: No such file or directory\n|", 1, 42, 0},
		{log_long_line, NULL, 1, 42, 0},
		{die_early, "prog: no device: gone\n|", 1, 2, 0},
		{die_runs_no_handlers, NULL, 1, 2, 0},
		{check_that_holds, "", 0, 42, 0},
		{check_that_fails, NULL, 1, -1, SIGABRT},
		{allocate_too_much, NULL, 1, 2, 0},
		{callocate_too_much, NULL, 1, 2, 0},
	};

	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct outcome o;

		run_in_child(rows[i].fn, null, &o);
		if (rows[i].text)
			assert_string_equal(o.text, rows[i].text);
		assert_int_equal(o.packets, rows[i].packets);
		assert_int_equal(o.exit_code, rows[i].exit_code);
		assert_int_equal(o.signal, rows[i].signal);
		if (o.packets) /* a line, and whole */
			assert_memory_equal(o.text + strlen(o.text) - 2, "\n|", 2);
	}
	close(null);
}

static void test_check_names_the_place(void **state)
{
	struct outcome o;

	(void)state;
	run_in_child(check_that_fails, STDOUT_FILENO, &o);
	assert_non_null(strstr(o.text, "test_err_log.c:"));
	assert_non_null(strstr(o.text, ": check failed: 1 + 1 == 3\n"));
}

/* What was written to stdout before the end is there, once. */
static void test_die_keeps_what_was_written(void **state)
{
	char got[64] = "";
	struct outcome o;
	int ends[2];
	ssize_t n;

	(void)state;
	assert_int_equal(pipe(ends), 0);
	run_in_child(die_early, ends[1], &o);
	close(ends[1]);
	n = read(ends[0], got, sizeof(got) - 1);
	close(ends[0]);
	assert_int_equal(n, strlen("a row that was written before"));
	assert_string_equal(got, "a row that was written before");
}

static void test_allocators(void **state)
{
	char *s, *t;

	(void)state;
	s = xcalloc(3, 5);
	for (int i = 0; i < 15; i++)
		assert_int_equal(s[i], 0);
	s = xreallocarray(s, 100, 2);
	s = xreallocarray(s, 0, 2); /* not NULL, and the caller's to free */
	assert_non_null(s);
	free(s);
	s = xmalloc(0);
	assert_non_null(s);
	free(s);
	s = xcalloc(0, 8);
	assert_non_null(s);
	free(s);
	s = xstrdup("abcdef");
	t = xstrndup(s, 3);
	assert_string_equal(t, "abc");
	free(t);
	t = xasprintf("%s-%d", s, 7);
	assert_string_equal(t, "abcdef-7");
	free(t);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_err_set),
		cmocka_unit_test(test_err_prefix),
		cmocka_unit_test(test_a_cut_keeps_utf8_whole),
		cmocka_unit_test(test_what_a_person_sees),
		cmocka_unit_test(test_check_names_the_place),
		cmocka_unit_test(test_die_keeps_what_was_written),
		cmocka_unit_test(test_allocators),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

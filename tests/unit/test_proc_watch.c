/*
 * /proc/PID/stat read, with program names that try to look like fields; a process of our own
 * watched.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "../support/child.h"
#include "base/check.h"
#include "loadgen/proc_watch.h"

static void test_parse(void **state)
{
	static const char rest[] = " S 1 2 3 0 -1 4194560 100 0 0 0 250 50 7 8 20 0 1 0 5000 99999 "
				   "1234 18446744073709551615 1 1\n";
	static const char *const names[] = {"(fakeengine)", "(a b)", "() S 1 (2)", "(1 2 3)"};
	int64_t ticks, pages;
	char text[512];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(text, sizeof(text), "4711 %s%s", names[i], rest);
		assert_true(proc_stat_parse(text, &ticks, &pages));
		assert_int_equal(ticks, 300);
		assert_int_equal(pages, 1234);
	}
	assert_false(proc_stat_parse("", &ticks, &pages));
	assert_false(proc_stat_parse("1 (x) S 1 2", &ticks, &pages));
}

struct seen {
	struct evloop *loop;
	int cpu, rss;
	double bytes;
};

static void on_value(void *arg, int64_t t_ns, const char *name, double value)
{
	struct seen *s = arg;

	(void)t_ns;
	s->cpu += strcmp(name, "cpu_cores") == 0;
	s->rss += strcmp(name, "rss_bytes") == 0;
	if (strcmp(name, "rss_bytes") == 0)
		s->bytes = value;
	if (s->cpu && s->rss > 1)
		evloop_stop(s->loop);
}

static void test_child(void **state)
{
	struct seen seen = {.loop = evloop_new()};
	struct proc_watch *w;
	pid_t child = fork_bound();

	(void)state;
	if (child == 0) {
		pause();
		_exit(0);
	}
	w = proc_watch_new(seen.loop, getpid(), 1000000, on_value, &seen);
	assert_non_null(w);
	evloop_run(seen.loop);
	assert_true(seen.bytes > 10000 && seen.bytes < 1e9);
	proc_watch_free(w);
	kill(child, SIGKILL);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_null(proc_watch_new(seen.loop, getpid(), 1000000, on_value, &seen));
	evloop_free(seen.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_child),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

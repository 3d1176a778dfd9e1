/*
 * Owns the samples of an engine's processes. Loop thread; a sample is a read a process, about 10 us
 * each, and finding them is done once, for it means a read a thread. Must not know what an engine
 * is.
 */
#include "proc_watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/die.h"

#define MAX_PROCESSES 256

struct proc_watch {
	struct evloop *loop;
	struct timer timer;
	int64_t interval_ns;
	pid_t pid[MAX_PROCESSES];
	int n;
	int64_t ticks, t_ns; /* of the last sample; t_ns 0: there is none */
	void (*on_value)(void *arg, int64_t t_ns, const char *name, double value);
	void *arg;
};

/* ---- /proc ---- */

bool proc_stat_parse(const char *text, int64_t *ticks, int64_t *pages)
{
	const char *p = strrchr(text, ')'); /* a program's name may hold anything but ends so */
	long long user, system, resident;

	/* state ppid pgrp session tty tpgid flags minflt cminflt majflt cmajflt UTIME STIME cutime
	 * cstime priority nice threads itreal start vsize RSS */
	if (!p || sscanf(p + 1,
			 " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lld %lld %*d %*d %*d %*d "
			 "%*d %*d %*u %*u %lld",
			 &user, &system, &resident) != 3)
		return false;
	*ticks = user + system;
	*pages = resident;
	return true;
}

static bool read_stat(pid_t pid, int64_t *ticks, int64_t *pages)
{
	char path[64], text[1024];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return proc_stat_parse(text, ticks, pages);
}

/* A process's children are told thread by thread. */
static void add_children(struct proc_watch *w, pid_t parent)
{
	char path[320];
	struct dirent *task;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)parent);
	tasks = opendir(path);
	while (tasks && (task = readdir(tasks))) {
		FILE *f;
		int pid;

		snprintf(path, sizeof(path), "/proc/%d/task/%.200s/children", (int)parent,
			 task->d_name);
		f = fopen(path, "re");
		while (f && w->n < MAX_PROCESSES && fscanf(f, "%d", &pid) == 1)
			w->pid[w->n++] = pid;
		if (f)
			fclose(f);
	}
	if (tasks)
		closedir(tasks);
}

/* ---- samples ---- */

/* A process that has ended keeps no memory, and its share of this interval's CPU is lost. */
static void on_timer(struct timer *t, int64_t now_ns)
{
	struct proc_watch *w =
		(struct proc_watch *)((char *)t - offsetof(struct proc_watch, timer));
	int64_t ticks = 0, pages = 0;

	for (int i = 0; i < w->n; i++) {
		int64_t used, resident;

		if (!read_stat(w->pid[i], &used, &resident))
			continue;
		ticks += used;
		pages += resident;
	}
	if (w->t_ns && ticks >= w->ticks)
		w->on_value(w->arg, now_ns, "cpu_cores",
			    (double)(ticks - w->ticks) / (double)sysconf(_SC_CLK_TCK) * 1e9 /
				    (double)(now_ns - w->t_ns));
	if (pages)
		w->on_value(w->arg, now_ns, "rss_bytes",
			    (double)pages * (double)sysconf(_SC_PAGESIZE));
	w->ticks = ticks;
	w->t_ns = now_ns;
	evloop_timer(w->loop, t, now_ns + w->interval_ns);
}

struct proc_watch *
proc_watch_new(struct evloop *loop, pid_t parent, int64_t interval_ns,
	       void (*on_value)(void *arg, int64_t t_ns, const char *name, double value), void *arg)
{
	struct proc_watch *w = xcalloc(1, sizeof(*w));

	w->loop = loop;
	w->interval_ns = interval_ns;
	w->on_value = on_value;
	w->arg = arg;
	w->timer.fn = on_timer;
	add_children(w, parent);
	for (int i = 0; i < w->n; i++)
		add_children(w, w->pid[i]);
	if (!w->n) {
		free(w);
		return NULL;
	}
	evloop_timer(loop, &w->timer, monotonic_now_ns());
	return w;
}

void proc_watch_free(struct proc_watch *w)
{
	if (!w)
		return;
	evloop_timer_cancel(w->loop, &w->timer);
	free(w);
}

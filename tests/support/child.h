/*
 * Processes that a test starts and that end with it, however it ends: killed from outside it could
 * not stop them itself.
 */
#ifndef TESTS_CHILD_H
#define TESTS_CHILD_H

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

/* fork(), and in the child that promise, which an exec() keeps; of one thread, as all tests are
 * where they fork. */
static inline pid_t fork_bound(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent) /* it has gone before it was promised */
			_exit(1);
	}
	return pid;
}

#endif

/*
 * Owns the question whether there are files enough. Main thread, before a run. Must not know what
 * the files are used for.
 */
#include "file_limit.h"

#include <limits.h>
#include <sys/resource.h>

#include "curve.h"

/* Results, engines' logs and lifelines, scrapes, the loop; kept connections that are on their way
 * out while new ones come. */
#define SPARE_FILES 128

void file_limit_raise(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
}

int file_limit_streams(void)
{
	struct rlimit files;

	if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur > INT_MAX)
		return INT_MAX;
	return files.rlim_cur > SPARE_FILES ? (int)files.rlim_cur - SPARE_FILES : 0;
}

enum rc file_limit_check(const struct scenario *s, struct err *e)
{
	int64_t most = file_limit_streams(), targets = s->interleave ? s->n_targets : 1;

	for (int i = 0; i < s->n_levels && s->clock != RUN_CLOCK_VIRTUAL; i++) {
		const struct level *l = &s->levels[i];
		int64_t streams = targets * l->concurrency;
		char label[64];

		if (l->kind == LOAD_OPEN || (streams + s->workers - 1) / s->workers <= most)
			continue;
		level_label(l, label, sizeof(label));
		return err_set(e, RC_INPUT,
			       "%s: %lld streams at once, and a process may have %lld here (%lld "
			       "files, ulimit -Hn): raise the limit, or share the load out with "
			       "workers: %lld",
			       label, (long long)streams, (long long)most,
			       (long long)most + SPARE_FILES,
			       (long long)(most ? (streams + most - 1) / most : streams));
	}
	return RC_OK;
}

/*
 * The one line that tells a person where a run stands, on stderr: it rewrites itself on a terminal,
 * comes as a plain line every few seconds when piped, and stays away on request. Log lines pass it
 * unharmed (log.h hooks).
 */
#ifndef LOADGEN_PROGRESS_H
#define LOADGEN_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum progress_mode { PROGRESS_AUTO, PROGRESS_TTY, PROGRESS_PLAIN, PROGRESS_NONE };

/* What the line shows; filled by the run each time it is drawn. */
struct progress_now {
	const char *target;			/* or "3 targets" */
	const char *level;			/* "closed 8", "open 4/s" */
	int point, points;			/* done so far, of all */
	int64_t done, planned, running, failed; /* planned 0: by duration */
	double output_tokens_per_s;		/* over the last second or so */
	double ttft_p50_ms;			/* NaN = none yet */
	double fraction;			/* of the whole run, 0..1, by time or requests */
};

struct progress;

struct progress *progress_new(enum progress_mode mode);
void progress_free(struct progress *p); /* wipes the line */
/* How often to call progress_show(); 0 = never. */
int64_t progress_interval_ns(const struct progress *p);
void progress_show(struct progress *p, const struct progress_now *now, int64_t now_ns);

#endif

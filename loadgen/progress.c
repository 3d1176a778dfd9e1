/*
 * Owns the progress line. Main thread only. Writes to stderr alone: stdout carries the report.
 */
#include "progress.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/die.h"
#include "base/log.h"
#include "base/units.h"

#define TTY_INTERVAL_NS	  (100 * NS_PER_MS)
#define PLAIN_INTERVAL_NS (5 * NS_PER_S)

struct progress {
	enum progress_mode mode;
	char line[256];
	bool shown;
	int64_t started_ns;
};

static void wipe(void *arg)
{
	struct progress *p = arg;

	if (p->shown)
		fputs("\r\033[K", stderr);
}

static void redraw(void *arg)
{
	struct progress *p = arg;

	if (p->shown)
		fputs(p->line, stderr);
}

struct progress *progress_new(enum progress_mode mode)
{
	struct progress *p = xcalloc(1, sizeof(*p));
	const char *term = getenv("TERM");

	if (mode == PROGRESS_AUTO)
		mode = isatty(2) && term && strcmp(term, "dumb") != 0 ? PROGRESS_TTY
								      : PROGRESS_PLAIN;
	p->mode = mode;
	if (mode == PROGRESS_TTY)
		log_set_hooks(wipe, redraw, p);
	return p;
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	wipe(p);
	log_set_hooks(NULL, NULL, NULL);
	free(p);
}

int64_t progress_interval_ns(const struct progress *p)
{
	return p->mode == PROGRESS_TTY	   ? TTY_INTERVAL_NS
	       : p->mode == PROGRESS_PLAIN ? PLAIN_INTERVAL_NS
					   : 0;
}

/* Time left, from the share done; nothing before there is something to go by. */
static void format_eta(char *out, size_t cap, double fraction, int64_t elapsed_ns)
{
	int64_t left_s;

	out[0] = '\0';
	if (!(fraction > 0.01) || elapsed_ns < NS_PER_S)
		return;
	left_s = (int64_t)((double)elapsed_ns / 1e9 * (1 - fraction) / fraction + 0.5);
	if (left_s >= 60)
		snprintf(out, cap, "  ~%lldm%02llds left", (long long)left_s / 60,
			 (long long)left_s % 60);
	else
		snprintf(out, cap, "  ~%llds left", (long long)left_s);
}

void progress_show(struct progress *p, const struct progress_now *now, int64_t now_ns)
{
	char rate[32], planned[32] = "", ttft[48] = "", failed[32] = "", eta[32];
	struct winsize size = {0};
	size_t width = sizeof(p->line) - 1;

	if (p->mode == PROGRESS_NONE)
		return;
	if (!p->started_ns)
		p->started_ns = now_ns;
	format_count(rate, sizeof(rate), now->output_tokens_per_s);
	format_eta(eta, sizeof(eta), now->fraction, now_ns - p->started_ns);
	if (now->planned > 0)
		snprintf(planned, sizeof(planned), "/%lld", (long long)now->planned);
	if (!isnan(now->ttft_p50_ms))
		snprintf(ttft, sizeof(ttft), "  TTFT p50 %.1f ms", now->ttft_p50_ms);
	if (now->failed > 0)
		snprintf(failed, sizeof(failed), "  %lld failed", (long long)now->failed);
	snprintf(p->line, sizeof(p->line),
		 "[%d/%d] %s, %s: %lld%s done, %lld running%s  %s tok/s%s%s", now->point + 1,
		 now->points, now->target, now->level, (long long)now->done, planned,
		 (long long)now->running, failed, rate, ttft, eta);
	if (p->mode == PROGRESS_PLAIN) {
		log_info("%s", p->line);
		return;
	}
	if (ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 && size.ws_col - 1u < width)
		width = size.ws_col - 1u;
	p->line[width] = '\0';
	wipe(p);
	p->shown = true;
	redraw(p);
	fflush(stderr);
}

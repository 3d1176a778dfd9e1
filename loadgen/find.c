/*
 * Owns the search for the highest load that meets the SLO: which level is tried next, and what was
 * found. Pure. Must not know how a level is driven.
 */
#include "find.h"

#include <stdio.h>

#include "curve.h"

/* Over all repeats of a level: the share of the requests sent that met the SLO. False: not tried.
 */
static bool share_at(const struct point *points, size_t n, int target, int level, double *share)
{
	double good = 0, sent = 0;
	bool tried = false;

	for (size_t i = 0; i < n; i++) {
		const struct point *p = &points[i];
		double of_this = (double)(p->planned - p->dropped);

		if (p->target != target || p->level != level)
			continue;
		tried = true;
		if (p->goodput_share > 0)
			good += p->goodput_share * of_this;
		sent += of_this;
	}
	*share = sent > 0 ? good / sent : 0;
	return tried;
}

struct found find_state(const struct scenario *s, const struct point *points, size_t n, int target)
{
	struct found f = {.best = -1, .missed = s->n_levels};

	while (f.missed - f.best > 1) {
		double share;

		f.next = f.best + (f.missed - f.best) / 2;
		if (!share_at(points, n, target, f.next, &share))
			return f;
		f.probes++;
		/* a share is a quotient of counts: what is met exactly must not miss by rounding */
		if (share >= s->slo.share - 1e-9)
			f.best = f.next;
		else
			f.missed = f.next;
	}
	f.next = -1;
	return f;
}

static int phase_of(const struct phase *phases, int n_phases, int target, int level)
{
	for (int i = 0; i < n_phases; i++)
		if (phases[i].first_target == target && phases[i].level == level)
			return i;
	return n_phases;
}

int find_first_phase(const struct scenario *s, const struct phase *phases, int n_phases,
		     const struct point *points, size_t n_points, int target)
{
	int level = s->warmup_requests > 0 ? -1 : find_state(s, points, n_points, target).next;

	return phase_of(phases, n_phases, target, level);
}

int find_phase_after(const struct scenario *s, const struct phase *phases, int n_phases, int at,
		     const struct point *points, size_t n_points)
{
	int target = at < 0 ? 0 : phases[at].first_target, next;

	if (at >= 0 && phases[at].level >= 0 && phases[at].repeat + 1 < s->repeats)
		return at + 1;
	next = at < 0 ? -1 : find_state(s, points, n_points, target).next;
	if (next >= 0)
		return phase_of(phases, n_phases, target, next);
	return find_first_phase(s, phases, n_phases, points, n_points, at < 0 ? 0 : target + 1);
}

int find_probes(const struct scenario *s)
{
	int probes = 0;

	for (int left = s->n_levels; left > 0; left /= 2)
		probes++;
	return probes;
}

void find_words(const struct scenario *s, const struct point *points, size_t n, int target,
		char *out, size_t cap)
{
	struct found f = find_state(s, points, n, target);
	char best[32] = "", missed[32] = "";

	if (f.best >= 0)
		level_label(&s->levels[f.best], best, sizeof(best));
	if (f.missed < s->n_levels)
		level_label(&s->levels[f.missed], missed, sizeof(missed));
	if (!f.probes)
		snprintf(out, cap, "nothing was tried");
	else if (f.next >= 0)
		snprintf(out, cap, "the search was cut short after %d probes: %s%s%s%s%s", f.probes,
			 *best ? best : "nothing", " meets the SLO", *missed ? ", " : "", missed,
			 *missed ? " misses it" : "");
	else if (f.best < 0)
		snprintf(out, cap, "even %s misses the SLO (%d probes)", missed, f.probes);
	else if (f.missed == s->n_levels)
		snprintf(out, cap,
			 "%s, the highest load of the search, still meets the SLO: the limit lies "
			 "beyond (%d probes)",
			 best, f.probes);
	else
		snprintf(out, cap,
			 "%s is the highest load that meets the SLO; %s misses it (%d probes)",
			 best, missed, f.probes);
}

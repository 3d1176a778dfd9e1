/*
 * Owns the search for the best setting: which places of the grid are tried next, and what was
 * found. Pure. Must not know what the keys mean, nor how a setting is tried.
 *
 * The search is played again from its beginning each time, over what has been measured, up to where
 * it asks for a place that has not.
 */
#include "search.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"

/* The search among the places of one target. */
struct walk {
	const struct scenario *s;
	const struct setting *of; /* by place */
	int places;
	bool *seen;   /* the walk has asked for it */
	bool *summit; /* a climb ended here */
	int *near;    /* scratch: places */
	int *wanted, n_wanted;
};

static int place_at(const struct scenario *s, const int at[SEARCH_KEYS])
{
	int place = 0;

	for (int k = 0; k < s->n_sweep; k++)
		place = place * s->sweep[k].n + at[k];
	return place;
}

static void coordinates(const struct scenario *s, int place, int at[SEARCH_KEYS])
{
	for (int k = 0; k < s->n_sweep; k++)
		at[k] = sweep_value(s, place, k);
}

static void look(struct walk *w, int place)
{
	if (!w->seen[place] && !w->of[place].tried)
		w->wanted[w->n_wanted++] = place;
	w->seen[place] = true;
}

/* The best of some places; -1 if one of them has yet to be tried. */
static int best_of(struct walk *w, const int *place, int n)
{
	int best = -1;

	for (int i = 0; i < n; i++)
		look(w, place[i]);
	if (w->n_wanted)
		return -1;
	for (int i = 0; i < n; i++)
		if (best < 0 || setting_is_better(&w->of[place[i]], &w->of[best]))
			best = place[i];
	return best;
}

/* ---- climbing ---- */

/* The places beside one, so many steps along each key, but not beyond the grid's edge. */
static int neighbours(const struct scenario *s, int place, const int step[SEARCH_KEYS], int *out)
{
	int at[SEARCH_KEYS] = {0}, n = 0;

	CHECK(s->n_sweep <= SEARCH_KEYS);
	coordinates(s, place, at);
	for (int k = 0; k < s->n_sweep; k++) {
		const struct sweep_axis *a = &s->sweep[k];
		int here = at[k], below = here > step[k] ? here - step[k] : 0;
		int above = here + step[k] < a->n ? here + step[k] : a->n - 1;

		for (int v = 0; v < a->n; v++) {
			at[k] = v;
			if (v != here && (!a->rising || v == below || v == above))
				out[n++] = place_at(s, at);
		}
		at[k] = here;
	}
	return n;
}

/* One step along two keys at once: a ridge that runs between them. */
static int diagonals(const struct scenario *s, int place, int *out)
{
	static const int signs[4][2] = {{-1, -1}, {-1, 1}, {1, -1}, {1, 1}};
	int at[SEARCH_KEYS] = {0}, n = 0;

	CHECK(s->n_sweep <= SEARCH_KEYS);
	coordinates(s, place, at);
	for (int a = 0; a < s->n_sweep; a++) {
		for (int b = a + 1; b < s->n_sweep; b++) {
			int x = at[a], y = at[b];

			for (int i = 0; i < 4; i++) {
				at[a] = x + signs[i][0];
				at[b] = y + signs[i][1];
				if (s->sweep[a].rising && s->sweep[b].rising && at[a] >= 0 &&
				    at[a] < s->sweep[a].n && at[b] >= 0 && at[b] < s->sweep[b].n)
					out[n++] = place_at(s, at);
			}
			at[a] = x;
			at[b] = y;
		}
	}
	return n;
}

static bool halve(const struct scenario *s, int step[SEARCH_KEYS])
{
	bool any = false;

	CHECK(s->n_sweep <= SEARCH_KEYS);
	for (int k = 0; k < s->n_sweep; k++) {
		any |= step[k] > 1;
		step[k] = step[k] > 1 ? step[k] / 2 : 1;
	}
	return any;
}

/* Up from a place, with steps of an n-th of the grid at first. False: it lacks a place. */
static bool climb(struct walk *w, int place, int nth)
{
	int step[SEARCH_KEYS] = {1, 1, 1};

	for (int k = 0; k < w->s->n_sweep; k++)
		step[k] = w->s->sweep[k].n > nth ? w->s->sweep[k].n / nth : 1;
	while (!w->summit[place]) {
		int up = best_of(w, w->near, neighbours(w->s, place, step, w->near));

		if (w->n_wanted)
			return false;
		if (up < 0 || !setting_is_better(&w->of[up], &w->of[place])) {
			if (halve(w->s, step))
				continue;
			up = best_of(w, w->near, diagonals(w->s, place, w->near));
			if (w->n_wanted)
				return false;
		}
		if (up < 0 || !setting_is_better(&w->of[up], &w->of[place]))
			w->summit[place] = true;
		else
			place = up;
	}
	return true;
}

/* ---- where to begin ---- */

/* The middle, and the corners of the inner half. */
static int first_places(const struct scenario *s, int *out)
{
	int at[SEARCH_KEYS], n = 0;

	for (int k = 0; k < s->n_sweep; k++)
		at[k] = (s->sweep[k].n - 1) / 2;
	out[n++] = place_at(s, at);
	for (int corner = 0; corner < 1 << s->n_sweep; corner++) {
		for (int k = 0; k < s->n_sweep; k++) {
			int last = s->sweep[k].n - 1;

			at[k] = corner >> k & 1 ? last - last / 4 : last / 4;
		}
		out[n++] = place_at(s, at);
	}
	return n;
}

/* Squared, each key as long as any other. */
static double distance(const struct scenario *s, int place, int other)
{
	double sum = 0;

	for (int k = 0; k < s->n_sweep; k++) {
		const struct sweep_axis *a = &s->sweep[k];
		int d = sweep_value(s, place, k) - sweep_value(s, other, k);
		double share = a->n < 2 ? 0 : a->rising ? (double)d / (a->n - 1) : (double)(d != 0);

		sum += share * share;
	}
	return sum;
}

/* The place farthest from all that the walk has seen; -1: it has seen all. */
static int remotest(const struct walk *w)
{
	double most = 0;
	int found = -1;

	for (int p = 0; p < w->places; p++) {
		double nearest = HUGE_VAL;

		for (int q = 0; q < w->places && nearest > most; q++)
			if (w->seen[q])
				nearest = fmin(nearest, distance(w->s, p, q));
		if (nearest > most) {
			most = nearest;
			found = p;
		}
	}
	return found;
}

/* One more than there are keys, each far from the others too. */
static int far_places(struct walk *w, int *out)
{
	int n = 0;

	for (int i = 0; i <= w->s->n_sweep; i++) {
		int place = remotest(w);

		if (place < 0)
			break;
		look(w, place);
		out[n++] = place;
	}
	return n;
}

/* As far as what is known goes. */
static void walk(struct walk *w)
{
	int at = best_of(w, w->near, first_places(w->s, w->near));

	if (w->n_wanted || !climb(w, at, 4))
		return;
	at = best_of(w, w->near, far_places(w, w->near));
	if (!w->n_wanted && at >= 0)
		climb(w, at, 6);
}

/* ---- the whole ---- */

static void walk_init(struct walk *w, const struct scenario *s, const struct setting *of, int first)
{
	int places = sweep_places(s), values = 1 + (1 << SEARCH_KEYS) + 4 * SEARCH_KEYS;

	for (int k = 0; k < s->n_sweep; k++)
		values += s->sweep[k].n;
	CHECK(s->n_sweep <= SEARCH_KEYS);
	*w = (struct walk){.s = s, .of = of + first, .places = places};
	w->seen = xcalloc((size_t)places, sizeof(*w->seen));
	w->summit = xcalloc((size_t)places, sizeof(*w->summit));
	w->wanted = xcalloc((size_t)places, sizeof(*w->wanted));
	w->near = xcalloc((size_t)values, sizeof(*w->near));
}

static void walk_release(struct walk *w)
{
	free(w->seen);
	free(w->summit);
	free(w->wanted);
	free(w->near);
}

static int ascending(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

int search_next(const struct scenario *s, const struct point *points, size_t n, int *next)
{
	struct setting *of = settings_of_points(s, points, n);
	int n_next = 0, places = sweep_places(s);

	for (int first = 0; first < s->n_targets; first += places) {
		struct walk w;

		walk_init(&w, s, of, first);
		walk(&w);
		for (int i = 0; i < w.n_wanted; i++)
			next[n_next++] = first + w.wanted[i];
		walk_release(&w);
	}
	qsort(next, (size_t)n_next, sizeof(*next), ascending);
	free(of);
	return n_next;
}

struct searched search_state(const struct scenario *s, const struct setting *of, int first)
{
	struct searched out = {.best = -1};
	struct walk w;

	walk_init(&w, s, of, first);
	walk(&w);
	out.over = !w.n_wanted;
	for (int p = 0; p < w.places; p++) {
		if (!w.of[p].tried)
			continue;
		out.tried++;
		if (out.best < 0 || setting_is_better(&w.of[p], &of[out.best]))
			out.best = first + p;
	}
	walk_release(&w);
	return out;
}

int search_neighbours(const struct scenario *s, int target, int *out)
{
	static const int one[SEARCH_KEYS] = {1, 1, 1};
	int places = sweep_places(s), first = target / places * places;
	int n = neighbours(s, target - first, one, out);

	for (int i = 0; i < n; i++)
		out[i] += first;
	return n;
}

bool search_is_best(const struct scenario *s, const struct setting *of, int target)
{
	int places = sweep_places(s), first = target / places * places;

	for (int t = first; t < first + places; t++)
		if (setting_is_better(&of[t], &of[target]))
			return false;
	return of[target].tried;
}

void search_words(const struct scenario *s, const struct setting *of, int first, char *out,
		  size_t cap)
{
	struct searched x = search_state(s, of, first);
	const struct setting *best = x.best < 0 ? NULL : &of[x.best];
	char how_many[96], label[32];

	snprintf(how_many, sizeof(how_many), "%s%d of %d settings tried",
		 x.over ? "" : "the search was cut short, ", x.tried, sweep_places(s));
	if (!best) {
		snprintf(out, cap, "no setting was tried");
		return;
	}
	if (best->level < 0) {
		snprintf(out, cap,
			 "no setting met the SLO at any load (%s); %s came nearest, with %.4g good "
			 "requests/s",
			 how_many, s->targets[x.best].name, best->most_good_per_s);
		return;
	}
	level_label(&s->levels[best->level], label, sizeof(label));
	snprintf(out, cap, "%s is the best: %.4g good requests/s at %s (%s)",
		 s->targets[x.best].name, best->goodput_per_s, label, how_many);
}

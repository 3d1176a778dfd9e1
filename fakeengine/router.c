/*
 * Owns the rules by which requests are shared out among engines, and the counts they go by. Pure,
 * on one thread. Must not know how an engine works nor how long anything takes.
 */
#include "router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/die.h"
#include "base/rng.h"

/* Of all rows that count load it is the first knob. */
enum { LOAD, PREFIX_TOKENS, LOAD_BOUND, LOAD_FLOOR };
enum { BY_REQUESTS, BY_TOKENS };

static const char *const loads[] = {"requests", "tokens", NULL};

#define LOAD_KNOB                                                                                  \
	{                                                                                          \
		"load", KNOB_CHOICE, BY_REQUESTS, 0, 1, loads,                                     \
			"what a replica's load is counted in: requests with it, or their prompt "  \
			"tokens"                                                                   \
	}

struct router {
	const struct router_type *type;
	double knob[ROUTER_MAX_KNOBS];
	int32_t n, next; /* next: whose turn it is, among equals */
	struct rng rng;
	int64_t total, load[];
};

/* ---- the rules ---- */

static int32_t pick_round_robin(struct router *w, const struct genreq *r)
{
	(void)r;
	return w->next;
}

static int32_t pick_least_loaded(struct router *w, const struct genreq *r)
{
	int32_t best = w->next;

	(void)r;
	for (int32_t k = 1; k < w->n && w->load[best] > 0; k++) {
		int32_t i = w->next + k < w->n ? w->next + k : w->next + k - w->n;

		if (w->load[i] < w->load[best])
			best = i;
	}
	return best;
}

static int32_t pick_power_of_two(struct router *w, const struct genreq *r)
{
	int32_t a, b;

	(void)r;
	if (w->n == 1)
		return 0;
	a = (int32_t)rng_below(&w->rng, (uint64_t)w->n);
	b = (int32_t)rng_below(&w->rng, (uint64_t)w->n - 1);
	b += b >= a;
	return w->load[b] < w->load[a] ? b : a;
}

/* FNV-1a over the first tokens, its upper half mixed in: the remainder is taken of it. */
static uint64_t prefix_hash(const struct genreq *r, int32_t n)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325) ^ (uint32_t)r->adapter;

	for (int32_t i = 0; i < n && i < r->n_prompt; i++)
		h = (h ^ (uint32_t)r->tokens[i]) * UINT64_C(0x100000001b3);
	return h ^ h >> 32;
}

/* Consistent hashing with bounded loads (Mirrokni et al. 2018), the engines in a ring: a prefix has
 * a home, and goes to the first one from there whose load is below the bound. One of them is always
 * below the mean with r in it. The floor is for a fleet with little to do, where the mean says
 * nothing and one request more hurts nobody. */
static int32_t pick_prefix_aware(struct router *w, const struct genreq *r)
{
	int64_t more = w->knob[LOAD] == BY_TOKENS ? r->n_prompt : 1;
	double bound =
		fmax(w->knob[LOAD_BOUND] * (double)(w->total + more) / w->n, w->knob[LOAD_FLOOR]);
	int32_t i = (int32_t)(prefix_hash(r, (int32_t)w->knob[PREFIX_TOKENS]) % (uint64_t)w->n);

	while ((double)w->load[i] >= bound)
		i = i + 1 < w->n ? i + 1 : 0;
	return i;
}

static const struct knob no_knobs[] = {{.name = NULL}};
static const struct knob load_knobs[] = {[LOAD] = LOAD_KNOB, {.name = NULL}};
static const struct knob prefix_knobs[] = {
	[LOAD] = LOAD_KNOB,
	[PREFIX_TOKENS] = {"prefix_tokens", KNOB_INT, 256, 1, 1 << 30, NULL,
			   "prompts whose first tokens, so many, are the same have the same home"},
	[LOAD_BOUND] = {"load_bound", KNOB_REAL, 1.25, 1, 1000, NULL,
			"a replica with so many times the mean load gets nothing more: the next "
			"one does"},
	[LOAD_FLOOR] = {"load_floor", KNOB_REAL, 8, 0, 1e9, NULL,
			"... but never with less than this, counted as `load` says"},
	{.name = NULL},
};

static const struct router_type round_robin = {"round_robin", "one after the other", no_knobs,
					       pick_round_robin};
static const struct router_type least_loaded = {"least_loaded",
						"who has the least; of equals, the next in turn",
						load_knobs, pick_least_loaded};
static const struct router_type power_of_two = {
	"power_of_two", "who has less, of two drawn at random", load_knobs, pick_power_of_two};
static const struct router_type prefix_aware = {
	"prefix_aware", "who had prompts that begin alike, unless he has too much to do",
	prefix_knobs, pick_prefix_aware};

const struct router_type *const router_types[] = {&round_robin, &least_loaded, &prefix_aware,
						  &power_of_two, NULL};

/* ---- the table ---- */

enum rc router_find(const char *name, const struct router_type **out, struct err *e)
{
	struct buf names;
	enum rc rc;

	*out = NULL;
	buf_init(&names, 1024);
	for (size_t i = 0; router_types[i]; i++) {
		if (strcmp(router_types[i]->name, name) == 0)
			*out = router_types[i];
		buf_printf(&names, "%s%s", i ? ", " : "", router_types[i]->name);
	}
	rc = *out ? RC_OK
		  : err_set(e, RC_INPUT, "\"%s\": no such router; there are %s", name,
			    buf_cstr(&names));
	buf_release(&names);
	return rc;
}

void router_defaults(const struct router_type *t, double values[ROUTER_MAX_KNOBS])
{
	for (size_t i = 0; t->knobs[i].name; i++)
		values[i] = t->knobs[i].def;
}

struct router *router_new(const struct router_type *t, const double *knobs, int32_t n,
			  uint64_t seed)
{
	struct router *w = xcalloc(1, sizeof(*w) + (size_t)n * sizeof(w->load[0]));

	w->type = t;
	w->n = n;
	for (size_t i = 0; t->knobs[i].name; i++)
		w->knob[i] = knobs[i];
	rng_init(&w->rng, seed, "router", 0);
	return w;
}

void router_free(struct router *w)
{
	free(w);
}

int32_t router_pick(struct router *w, const struct genreq *r)
{
	int32_t i = w->type->pick(w, r);

	w->next = i + 1 < w->n ? i + 1 : 0;
	return i;
}

/* A row without the knob counts requests, and asks nobody. */
static int64_t weight(const struct router *w, const struct genreq *r)
{
	return w->knob[LOAD] == BY_TOKENS ? r->n_prompt : 1;
}

void router_begin(struct router *w, int32_t engine, const struct genreq *r)
{
	w->load[engine] += weight(w, r);
	w->total += weight(w, r);
}

void router_end(struct router *w, int32_t engine, const struct genreq *r)
{
	w->load[engine] -= weight(w, r);
	w->total -= weight(w, r);
}

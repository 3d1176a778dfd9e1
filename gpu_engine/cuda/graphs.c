/*
 * Owns which shapes of steps have a graph, and the way back when there can be none. Engine thread;
 * opened and closed on the loop thread. Must not know what a step puts to the stream.
 */
#include "graphs.h"

#include <string.h>

#include "base/log.h"

void step_graphs_init(struct step_graphs *g, struct cuda *c, struct graph_counts *counts)
{
	*g = (struct step_graphs){.cuda = c, .on = counts != NULL};
	g->counts = counts ? counts : &g->own;
}

static void forget_all(struct step_graphs *g)
{
	for (int32_t i = 0; i < g->n_known; i++)
		cuda_graph_free(g->cuda, g->known[i].graph);
	g->n_known = 0;
}

void step_graphs_release(struct step_graphs *g)
{
	forget_all(g);
	memset(g, 0, sizeof(*g));
}

/* What is wrong with the card itself comes again without a graph, and is then the step's error. */
static void give_up(struct step_graphs *g, struct err *e)
{
	log_warn("%s; going on without graphs, launching kernel by kernel", e->msg);
	*e = (struct err){.rc = RC_OK};
	forget_all(g);
	g->on = false;
}

static bool same_shape(const struct step_graph *s, const struct step_data *d)
{
	return s->n_rows == d->n.n_rows && s->n_splits == d->n_splits && s->told == d->told;
}

static struct step_graph *find(struct step_graphs *g, const struct step_data *d)
{
	for (int32_t i = 0; i < g->n_known; i++)
		if (same_shape(&g->known[i], d))
			return &g->known[i];
	return NULL;
}

static void remember(struct step_graphs *g, const struct step_data *d)
{
	struct step_graph *to = &g->known[0];

	if (g->n_known < MAX_GRAPHS) {
		to = &g->known[g->n_known++];
	} else {
		for (int32_t i = 1; i < g->n_known; i++)
			to = g->known[i].last_step < to->last_step ? &g->known[i] : to;
		cuda_graph_free(g->cuda, to->graph);
	}
	*to = (struct step_graph){.n_rows = d->n.n_rows,
				  .n_splits = d->n_splits,
				  .told = d->told,
				  .last_step = g->counts->steps};
}

static void record(struct step_graphs *g, struct step_graph *s, void (*put)(void *arg), void *arg,
		   struct err *e)
{
	if (cuda_capture_begin(g->cuda, e))
		return;
	put(arg);
	if (cuda_capture_end(g->cuda, &s->graph, e) == RC_OK)
		g->counts->recorded++;
}

/* Whether it is on the stream; if not, it is still to be put there, whatever the reason. */
static bool launch(struct step_graphs *g, const struct step_data *d, void (*put)(void *arg),
		   void *arg, struct err *e)
{
	struct step_graph *s;

	if (g->moves != d->moves)
		forget_all(g);
	g->moves = d->moves;
	s = find(g, d);
	if (!s) {
		remember(g, d);
		return false;
	}
	s->last_step = g->counts->steps;
	if (!s->graph)
		record(g, s, put, arg, e);
	if (cuda_graph_launch(g->cuda, s->graph, e)) {
		give_up(g, e);
		return false;
	}
	g->counts->launched++;
	return true;
}

void step_graphs_run(struct step_graphs *g, const struct step_data *d, void (*put)(void *arg),
		     void *arg, struct err *e)
{
	g->counts->steps++;
	if (!g->on || !d->padded || !launch(g, d, put, arg, e))
		put(arg);
}

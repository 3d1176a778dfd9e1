/*
 * Steps as graphs: what a padded step puts to the stream, both copies included, is recorded, and
 * the next step of its shape is one launch. A shape is recorded when it comes a second time: by the
 * first the driver has loaded all kernels, which it should not have to do while it records; and
 * many shapes come once only.
 *
 * A graph is never why a step fails. If one can not be recorded or launched, a line says so, and
 * from then on every step is put to the stream kernel by kernel.
 */
#ifndef CUDA_GRAPHS_H
#define CUDA_GRAPHS_H

#include <stdint.h>

#include "driver.h"
#include "step_data.h"

#define MAX_GRAPHS 64 /* each takes memory of the card; the one not used for longest makes room */

struct graph_counts {
	int64_t recorded;
	int64_t launched; /* steps that were one launch */
	int64_t steps;	  /* all of them */
};

/* A shape that was met. */
struct step_graph {
	int32_t n_rows, n_splits;
	bool told;
	struct cuda_graph *graph; /* NULL: met once */
	int64_t last_step;
};

struct step_graphs {
	struct cuda *cuda;
	bool on;
	struct step_graph known[MAX_GRAPHS];
	int32_t n_known;
	int32_t moves; /* step_data.moves that they were recorded with */
	struct graph_counts *counts, own;
};

/* counts: the caller's, kept up to date; NULL = there are to be no graphs. Stays where it is. */
void step_graphs_init(struct step_graphs *g, struct cuda *c, struct graph_counts *counts);
void step_graphs_release(struct step_graphs *g);

/* The work of the step in d goes to the stream: as a graph, or by put(arg), which leaves errors
 * latched in e. */
void step_graphs_run(struct step_graphs *g, const struct step_data *d, void (*put)(void *arg),
		     void *arg, struct err *e);

#endif

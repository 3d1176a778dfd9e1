/*
 * A target made ready for load: its engine launched where the scenario says so, its transport open,
 * its server looked at, its metrics scraped. Knows no level, no request and no record.
 */
#ifndef LOADGEN_DEPLOYMENT_H
#define LOADGEN_DEPLOYMENT_H

#include <signal.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/evloop.h"
#include "dialect.h"
#include "gpu_watch.h"
#include "launch.h"
#include "preflight_found.h"
#include "proc_watch.h"
#include "scenario.h"
#include "scrape.h"
#include "transport.h"

struct deployment {
	struct target *target;
	struct evloop *loop;
	const volatile sig_atomic_t
		*interrupted; /* stops every wait; whoever sets it wakes the loop */
	const struct dialect *dialect;
	const struct transport_type *transport_type;
	struct transport *transport; /* NULL until deployment_open() */
	struct launched *launched;   /* NULL: somebody else runs the engine */
	struct scrape *scrape;
	struct proc_watch *proc; /* of a launched engine */
	struct gpu_watch *gpu;	 /* of an engine on this machine, where it has cards */
	const char *model; /* what requests ask for: the target's, else the first one served */
	struct preflight_found found;
	bool looked; /* found is of a preflight; else nobody asked for one */
	bool death_told;
};

void deployment_init(struct deployment *d, struct target *t, struct evloop *loop,
		     const volatile sig_atomic_t *interrupted);

/* Starts the engine if the target has `launch:`; its log goes to log_path. Does not wait. */
enum rc deployment_launch(struct deployment *d, const char *log_path, struct err *e);
enum rc deployment_wait_ready(struct deployment *d, struct err *e); /* blocks; see launch.h */

enum rc deployment_open(struct deployment *d, int64_t connect_ns, struct err *e);

/* preflight.h; with_request: all of it, else only its models page, to learn the model. One line
 * tells what was found, more what is wrong; none of a simulated engine, whose transport must not be
 * open yet, or it would remember. *hopeless: no request would be answered. RC_INPUT if no model is
 * named and none is served, and where an engine of the scenario's own does not serve the model, or,
 * simulated, would refuse every request. */
enum rc deployment_look(struct deployment *d, const struct limits *limits, bool with_request,
			bool *hopeless, struct err *e);

/* Has what it says and takes sampled every interval_ns until it is closed; what cannot be sampled
 * is left out. *note: why there are no figures of cards, or empty. */
void deployment_watch(struct deployment *d, int64_t interval_ns,
		      void (*on_value)(void *arg, int64_t t_ns, const char *name, double value),
		      void *arg, struct err *note);

/* Warns, once, if a launched engine has died. If requests failed, word of it may be on its way. */
void deployment_tell_death(struct deployment *d, bool requests_failed);

/* Stops everything and the engine. What was never opened is left alone. */
void deployment_close(struct deployment *d);

#endif

/*
 * Owns what stands between a target's lines in the scenario and the first request to it. Main
 * thread, between phases; may block. Must not know how requests are scheduled.
 */
#include "deployment.h"

#include <string.h>

#include "base/check.h"
#include "base/log.h"
#include "preflight.h"

#define DEATH_PATIENCE_MS 100

void deployment_init(struct deployment *d, struct target *t, struct evloop *loop,
		     const volatile sig_atomic_t *interrupted)
{
	memset(d, 0, sizeof(*d));
	d->target = t;
	d->loop = loop;
	d->interrupted = interrupted;
	d->dialect = dialect_find(t->dialect);
	CHECK(d->dialect); /* the scenario checked the name */
	d->model = t->model;
	preflight_found_init(&d->found);
}

enum rc deployment_launch(struct deployment *d, const char *log_path, struct err *e)
{
	if (!d->target->launch)
		return RC_OK;
	if (launch_start(&d->launched, d->target->launch, log_path, e) != RC_OK)
		return err_prefix(e, "target %s: ", d->target->name);
	return RC_OK;
}

enum rc deployment_wait_ready(struct deployment *d, struct err *e)
{
	if (!d->launched)
		return RC_OK;
	if (launch_wait_ready(d->launched, d->target, d->interrupted, e) != RC_OK)
		return err_prefix(e, "target %s: ", d->target->name);
	return RC_OK;
}

enum rc deployment_open(struct deployment *d, int64_t connect_ns, struct err *e)
{
	d->transport_type = transport_for(d->target);
	if (d->transport_type->open(&d->transport, d->loop, d->target, connect_ns, e) != RC_OK)
		return err_prefix(e, "target %s: ", d->target->name);
	return RC_OK;
}

static void tell_models(const struct deployment *d)
{
	const struct preflight_found *f = &d->found;
	const struct target *t = d->target;

	if (f->tls_failed)
		log_warn("target %s: no TLS with %s: %s%s", t->name, t->url, f->why,
			 preflight_tls_advice(f));
	else if (!f->reachable)
		log_warn("target %s: nobody listens at %s (%s); start that engine, or leave the "
			 "target out with --target",
			 t->name, t->url, f->why);
	else if (f->status == 401 || f->status == 403)
		log_warn("target %s: %s answers %d: it wants a key (api_key_env: NAME_OF_VARIABLE)",
			 t->name, t->url, f->status);
	else if (!f->model_served)
		log_warn("target %s: model %s is not among those served at %s: %s", t->name,
			 t->model, t->url, f->listed);
}

static void tell_request(const struct deployment *d)
{
	struct buf line;
	bool warns;

	buf_init(&line, 4096);
	warns = preflight_tell(&d->found, &line);
	if (warns)
		log_warn("target %s: %s", d->target->name, buf_cstr(&line));
	else
		log_info("target %s: %s", d->target->name, buf_cstr(&line));
	buf_release(&line);
}

static enum rc tell_no_model(const struct deployment *d, struct err *e)
{
	const struct target *t = d->target;

	if (d->found.status == 0)
		return err_set(e, RC_IO,
			       "target %s: no model given, and %s does not answer as HTTP does: "
			       "%s; set targets[].model%s",
			       t->name, t->url, d->found.why,
			       t->scheme == URL_HTTP ? ", or is it https://?" : "");
	return err_set(e, RC_INPUT,
		       "target %s: no model given, and %s lists none; set targets[].model", t->name,
		       t->url);
}

enum rc deployment_look(struct deployment *d, const struct limits *limits, bool with_request,
			bool *hopeless, struct err *e)
{
	const struct target *t = d->target;
	const struct request_env env = {.loop = d->loop,
					.target = t,
					.model = t->model,
					.dialect = d->dialect,
					.transport_type = transport_for(t),
					.limits = limits};
	/* A simulated engine has no habits to be told of. */
	bool is_real = t->scheme != URL_PROFILE;

	preflight_found_release(&d->found);
	preflight_found_init(&d->found);
	if (preflight(&env, with_request, d->interrupted, &d->found, e) != RC_OK)
		return err_prefix(e, "target %s: ", t->name);
	d->looked = with_request && is_real;
	*hopeless = preflight_is_hopeless(&d->found);
	if (*hopeless && !d->found.model_served && (d->launched || !is_real))
		return err_set(e, RC_INPUT, "target %s: model %s is not among those served: %s",
			       t->name, t->model, d->found.listed);
	if (*hopeless && !is_real)
		return err_set(e, RC_INPUT, "target %s: every request would be refused: %s",
			       t->name, d->found.error);
	if (is_real)
		tell_models(d);
	if (is_real && d->found.asked && !*d->interrupted)
		tell_request(d);
	d->model = t->model ? t->model : d->found.model;
	if (!d->model && d->dialect->names_model && d->found.reachable)
		return tell_no_model(d, e);
	if (!d->model) /* it is not asked for, or nobody is there to hear */
		d->model = "";
	return RC_OK;
}

/* Cards are those of this machine, so the engine must be here, too. */
static bool is_local(const struct deployment *d)
{
	const struct target *t = d->target;

	return d->launched || t->scheme == URL_UNIX ||
	       (t->scheme != URL_PROFILE &&
		(strcmp(t->host, "localhost") == 0 || strncmp(t->host, "127.", 4) == 0 ||
		 strcmp(t->host, "::1") == 0));
}

void deployment_watch(struct deployment *d, int64_t interval_ns,
		      void (*on_value)(void *arg, int64_t t_ns, const char *name, double value),
		      void *arg, struct err *note)
{
	struct err e;

	note->msg[0] = '\0';
	if (scrape_new(&d->scrape, d->loop, d->target, interval_ns, on_value, arg, &e) != RC_OK)
		log_warn("target %s: no engine metrics: %s", d->target->name, e.msg);
	if (d->launched)
		d->proc = proc_watch_new(d->loop, launch_keeper(d->launched), interval_ns, on_value,
					 arg);
	if (is_local(d))
		gpu_watch_new(&d->gpu, d->loop, interval_ns, on_value, arg, note);
}

void deployment_tell_death(struct deployment *d, bool requests_failed)
{
	struct err died;

	if (!d->launched || d->death_told ||
	    !launch_died(d->launched, requests_failed ? DEATH_PATIENCE_MS : 0, &died))
		return;
	log_warn("target %s: %s", d->target->name, died.msg);
	d->death_told = true;
}

void deployment_close(struct deployment *d)
{
	scrape_free(d->scrape);
	proc_watch_free(d->proc);
	gpu_watch_free(d->gpu);
	if (d->transport)
		d->transport_type->close(d->transport);
	launch_stop(d->launched);
	preflight_found_release(&d->found);
	d->scrape = NULL;
	d->proc = NULL;
	d->gpu = NULL;
	d->transport = NULL;
	d->launched = NULL;
}

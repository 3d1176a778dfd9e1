/*
 * Owns the order in which an engine's parts come and go. Main thread, which is the loop thread.
 * Must not know what executes a step.
 *
 *     serving --SIGTERM, SIGINT--> draining --last connection closed, or drain_ns over--> gone
 *        \_____________________________\__________ a second signal ________________________/
 */
#include "serve_main.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/resource.h>

#include "api.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"

#define DRAIN_DEFAULT_NS (10 * NS_PER_S)

struct serving {
	const struct serve_config *c;
	struct engine *engine;
	struct api *api;
	struct http_server *http;
	struct timer drain;
	bool draining;
};

/* Streams are descriptors; the soft limit is a matter of habit, the hard one of permission. */
static void raise_descriptor_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		if (setrlimit(RLIMIT_NOFILE, &r))
			log_warn("the limit on open files stays as it is");
	}
}

static void on_request(struct http_exchange *x, void *arg)
{
	struct serving *s = arg;

	api_handle(x, s->api);
}

static void on_drained(void *arg)
{
	struct serving *s = arg;

	evloop_stop(s->c->loop);
}

static void on_drain_over(struct timer *t, int64_t now_ns)
{
	struct serving *s = (struct serving *)((char *)t - offsetof(struct serving, drain));

	(void)now_ns;
	log_warn("%d answers have not ended in time and are cut off",
		 http_server_open_exchanges(s->http));
	evloop_stop(s->c->loop);
}

static void on_signal(int signo, void *arg)
{
	struct serving *s = arg;
	int64_t drain_ns = s->c->drain_ns > 0 ? s->c->drain_ns : DRAIN_DEFAULT_NS;
	char text[32];

	(void)signo;
	if (s->draining) {
		evloop_stop(s->c->loop);
		return;
	}
	s->draining = true;
	s->api->draining = true;
	if (http_server_open_exchanges(s->http) > 0)
		log_info("stopping: %d answers have %s to end", http_server_open_exchanges(s->http),
			 format_duration(text, sizeof(text), drain_ns));
	evloop_timer(s->c->loop, &s->drain, monotonic_now_ns() + drain_ns);
	http_server_stop_accepting(s->http);
}

static enum rc serving_open(struct serving *s, struct err *e)
{
	const struct serve_config *c = s->c;
	const struct api_config api = {
		.engine_name = c->engine_name,
		.version = c->version,
		.models = c->models,
		.api_key = c->api_key,
		.codec = c->codec,
		.default_max_tokens = c->default_max_tokens,
		.forced_tokens = c->forced_tokens,
		.seed = c->seed,
		.prepare = c->prepare,
		.prepare_arg = c->prepare_arg,
		.keep_said = c->keep_said,
		.wire = c->wire,
		.admit = c->admit,
		.admit_arg = c->admit_arg,
		.loop = c->loop,
		.more_metrics = c->more_metrics,
		.more_metrics_arg = c->more_metrics_arg,
	};
	const struct http_config http = {
		.host = c->host,
		.port = c->port,
		.uds = c->uds,
		.limits = http_limits_default(),
		.server_name = c->engine_name,
		.habit = c->wire ? c->wire->http : NULL,
		.handle = on_request,
		.drained = on_drained,
		.arg = s,
	};
	enum rc rc;

	rc = engine_new(&s->engine, c->loop, &c->engine, e);
	if (rc)
		return rc;
	s->api = api_new(&api, s->engine);
	return http_server_new(&s->http, c->loop, &http, e);
}

int serve_main(const struct serve_config *c)
{
	struct serving s = {.c = c, .drain = {.fn = on_drain_over}};
	struct err e;
	int code = 0;

	signal(SIGPIPE, SIG_IGN); /* a client that leaves is a return value, never a signal */
	raise_descriptor_limit();
	if (serving_open(&s, &e) != RC_OK) {
		log_error("%s", e.msg);
		code = 2;
	} else {
		evloop_on_signal(c->loop, SIGTERM, on_signal, &s);
		evloop_on_signal(c->loop, SIGINT, on_signal, &s);
		if (c->uds)
			printf("listening on unix:%s\n", c->uds);
		else
			printf("listening on http://%s:%d\n", c->host, http_server_port(s.http));
		fflush(stdout);
		evloop_run(c->loop);
	}
	evloop_timer_cancel(c->loop, &s.drain);
	http_server_free(s.http); /* first: exchanges that are open cancel their requests */
	engine_free(s.engine);	  /* then: requests that are left go back to their answers */
	api_free(s.api);
	return code;
}

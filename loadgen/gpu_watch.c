/*
 * Owns the names under which a run records what cards do. Loop thread; the asking has its own
 * (base/nvml.h). Must not know what an engine is, nor which card is whose.
 */
#include "gpu_watch.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"
#include "base/nvml.h"

static const struct {
	const char *name;
	size_t at;
} figures[] = {
	{"memory_bytes", offsetof(struct nvml_card, memory_bytes)},
	{"utilisation", offsetof(struct nvml_card, utilisation)},
	{"power_w", offsetof(struct nvml_card, power_w)},
};

struct gpu_watch {
	struct nvml_watch *nvml;
	int64_t interval_ns;
	struct evloop *loop;
	struct timer timer;
	int64_t told_ns; /* which sample was passed on last */
	void (*on_value)(void *arg, int64_t t_ns, const char *name, double value);
	void *arg;
};

static void tell_card(const struct gpu_watch *w, int64_t t_ns, int i, const struct nvml_card *card)
{
	for (size_t k = 0; k < ARRAY_LEN(figures); k++) {
		double value;
		char name[48];

		memcpy(&value, (const char *)card + figures[k].at, sizeof(value));
		if (isnan(value))
			continue;
		snprintf(name, sizeof(name), "gpu%d_%s", i, figures[k].name);
		w->on_value(w->arg, t_ns, name, value);
	}
}

static void on_timer(struct timer *t, int64_t now_ns)
{
	struct gpu_watch *w = (struct gpu_watch *)((char *)t - offsetof(struct gpu_watch, timer));
	struct nvml_sample sample;

	nvml_watch_newest(w->nvml, &sample);
	evloop_timer(w->loop, t, now_ns + w->interval_ns);
	if (sample.t_ns == w->told_ns)
		return;
	w->told_ns = sample.t_ns;
	for (int i = 0; i < sample.n_cards; i++)
		tell_card(w, sample.t_ns, i, &sample.card[i]);
}

enum rc gpu_watch_new(struct gpu_watch **out, struct evloop *loop, int64_t interval_ns,
		      void (*on_value)(void *arg, int64_t t_ns, const char *name, double value),
		      void *arg, struct err *e)
{
	struct nvml_watch *nvml;
	struct gpu_watch *w;
	enum rc rc = nvml_watch_new(&nvml, getenv(GPU_LIBRARY_ENV), NULL, interval_ns, e);

	if (rc)
		return rc;
	w = xcalloc(1, sizeof(*w));
	*w = (struct gpu_watch){.nvml = nvml,
				.interval_ns = interval_ns,
				.loop = loop,
				.timer = {.fn = on_timer},
				.on_value = on_value,
				.arg = arg};
	evloop_timer(loop, &w->timer, monotonic_now_ns() + interval_ns);
	*out = w;
	return RC_OK;
}

void gpu_watch_free(struct gpu_watch *w)
{
	if (!w)
		return;
	evloop_timer_cancel(w->loop, &w->timer);
	nvml_watch_free(w->nvml);
	free(w);
}

/*
 * Owns the driver's library and the samples taken through it. Two threads: one asks the driver and
 * leaves the newest sample in a place both can reach, the loop picks it up. Must not know what an
 * engine is, nor which card is whose.
 *
 * The prototypes are our own: the library is found at run time, so that a machine without a card
 * needs neither it nor its header.
 */
#include "gpu_watch.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/die.h"

enum { MAX_CARDS = 16 };

/* ---- the library ---- */

enum { NVML_SUCCESS = 0 };

struct nvml_device; /* opaque there too */

struct nvml_memory {
	unsigned long long total, free, used; /* bytes */
};

struct nvml_utilisation {
	unsigned gpu, memory; /* per cent of the time since the driver's last sample */
};

struct nvml {
	void *library;
	int (*init)(void);
	int (*shutdown)(void);
	int (*count)(unsigned *n);
	int (*device)(unsigned index, struct nvml_device **out);
	int (*memory)(struct nvml_device *d, struct nvml_memory *out);
	int (*utilisation)(struct nvml_device *d, struct nvml_utilisation *out);
	int (*power)(struct nvml_device *d, unsigned *milliwatts);
};

static enum rc nvml_open(struct nvml *m, struct err *e)
{
	const char *name = getenv(GPU_LIBRARY_ENV);
	const struct {
		const char *name;
		void *slot;
	} symbols[] = {
		{"nvmlInit_v2", &m->init},
		{"nvmlShutdown", &m->shutdown},
		{"nvmlDeviceGetCount_v2", &m->count},
		{"nvmlDeviceGetHandleByIndex_v2", &m->device},
		{"nvmlDeviceGetMemoryInfo", &m->memory},
		{"nvmlDeviceGetUtilizationRates", &m->utilisation},
		{"nvmlDeviceGetPowerUsage", &m->power},
	};
	int rc;

	name = name && *name ? name : "libnvidia-ml.so.1";
	m->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (!m->library)
		return err_set(e, RC_IO, "no figures of graphics cards: %s", dlerror());
	for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
		void *symbol = dlsym(m->library, symbols[i].name);

		if (!symbol) {
			dlclose(m->library);
			return err_set(e, RC_IO, "no figures of graphics cards: %s has no %s", name,
				       symbols[i].name);
		}
		memcpy(symbols[i].slot, &symbol, sizeof(symbol)); /* as dlsym(3) has it */
	}
	rc = m->init();
	if (rc != NVML_SUCCESS) {
		dlclose(m->library);
		return err_set(e, RC_IO, "no figures of graphics cards: nvmlInit gives error %d",
			       rc);
	}
	return RC_OK;
}

static void nvml_close(struct nvml *m)
{
	m->shutdown();
	dlclose(m->library);
}

/* ---- samples ---- */

enum figure { CARD_MEMORY, CARD_UTILISATION, CARD_POWER, CARD_FIGURES };
static const char *const figure_names[CARD_FIGURES] = {"memory_bytes", "utilisation", "power_w"};

struct card_sample {
	int64_t t_ns; /* 0: there is none yet */
	double v[MAX_CARDS][CARD_FIGURES];
};

struct gpu_watch {
	struct nvml nvml;
	struct nvml_device *card[MAX_CARDS];
	int n_cards;
	int64_t interval_ns;

	/* the loop's */
	struct evloop *loop;
	struct timer timer;
	int64_t told_ns; /* which sample was passed on last */
	void (*on_value)(void *arg, int64_t t_ns, const char *name, double value);
	void *arg;

	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake;
	bool stopping;
	struct card_sample newest;
};

static void ask_cards(const struct gpu_watch *w, struct card_sample *out)
{
	out->t_ns = monotonic_now_ns();
	for (int i = 0; i < w->n_cards; i++) {
		struct nvml_memory memory;
		struct nvml_utilisation busy;
		double *v = out->v[i];
		unsigned milliwatts;

		v[CARD_MEMORY] = v[CARD_UTILISATION] = v[CARD_POWER] = NAN;
		if (w->nvml.memory(w->card[i], &memory) == NVML_SUCCESS)
			v[CARD_MEMORY] = (double)memory.used;
		if (w->nvml.utilisation(w->card[i], &busy) == NVML_SUCCESS)
			v[CARD_UTILISATION] = busy.gpu / 100.0;
		if (w->nvml.power(w->card[i], &milliwatts) == NVML_SUCCESS)
			v[CARD_POWER] = milliwatts / 1e3;
	}
}

static void *sampling_thread(void *arg)
{
	struct gpu_watch *w = arg;

	pthread_mutex_lock(&w->lock);
	while (!w->stopping) {
		struct card_sample sample;
		struct timespec until;
		int64_t next_ns;

		pthread_mutex_unlock(&w->lock);
		ask_cards(w, &sample);
		next_ns = sample.t_ns + w->interval_ns;
		until = (struct timespec){.tv_sec = next_ns / NS_PER_S,
					  .tv_nsec = next_ns % NS_PER_S};
		pthread_mutex_lock(&w->lock);
		w->newest = sample;
		while (!w->stopping && pthread_cond_timedwait(&w->wake, &w->lock, &until) == 0)
			;
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

static void on_timer(struct timer *t, int64_t now_ns)
{
	struct gpu_watch *w = (struct gpu_watch *)((char *)t - offsetof(struct gpu_watch, timer));
	struct card_sample sample;

	pthread_mutex_lock(&w->lock);
	sample = w->newest;
	pthread_mutex_unlock(&w->lock);
	evloop_timer(w->loop, t, now_ns + w->interval_ns);
	if (sample.t_ns == w->told_ns)
		return;
	w->told_ns = sample.t_ns;
	for (int i = 0; i < w->n_cards; i++) {
		for (int k = 0; k < CARD_FIGURES; k++) {
			char name[48];

			snprintf(name, sizeof(name), "gpu%d_%s", i, figure_names[k]);
			if (!isnan(sample.v[i][k]))
				w->on_value(w->arg, sample.t_ns, name, sample.v[i][k]);
		}
	}
}

/* ---- life ---- */

static int find_cards(struct gpu_watch *w)
{
	unsigned n = 0;

	if (w->nvml.count(&n) != NVML_SUCCESS)
		return 0;
	for (unsigned i = 0; i < n && w->n_cards < MAX_CARDS; i++)
		if (w->nvml.device(i, &w->card[w->n_cards]) == NVML_SUCCESS)
			w->n_cards++;
	return w->n_cards;
}

/* Signals are the main thread's. */
static void start_thread(struct gpu_watch *w)
{
	pthread_condattr_t monotonic;
	sigset_t all, before;

	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&w->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	if (pthread_create(&w->thread, NULL, sampling_thread, w) != 0)
		die("no thread for the graphics cards' samples");
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

enum rc gpu_watch_new(struct gpu_watch **out, struct evloop *loop, int64_t interval_ns,
		      void (*on_value)(void *arg, int64_t t_ns, const char *name, double value),
		      void *arg, struct err *e)
{
	struct gpu_watch *w = xcalloc(1, sizeof(*w));
	enum rc rc = nvml_open(&w->nvml, e);

	if (rc) {
		free(w);
		return rc;
	}
	if (!find_cards(w)) {
		nvml_close(&w->nvml);
		free(w);
		return err_set(e, RC_IO, "no figures of graphics cards: the driver finds none");
	}
	w->loop = loop;
	w->interval_ns = interval_ns;
	w->on_value = on_value;
	w->arg = arg;
	w->timer.fn = on_timer;
	start_thread(w);
	evloop_timer(loop, &w->timer, monotonic_now_ns() + interval_ns);
	*out = w;
	return RC_OK;
}

void gpu_watch_free(struct gpu_watch *w)
{
	if (!w)
		return;
	evloop_timer_cancel(w->loop, &w->timer);
	pthread_mutex_lock(&w->lock);
	w->stopping = true;
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	nvml_close(&w->nvml);
	free(w);
}

/*
 * Owns the driver's management library and the samples taken through it. Two threads: one asks the
 * driver, any other picks up the newest sample. Must not know whose cards they are.
 *
 * The prototypes are our own: the library is found at run time, so that a machine without a card
 * needs neither it nor its header.
 */
#include "nvml.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "check.h"
#include "clock.h"
#include "die.h"

#define LIBRARY "libnvidia-ml.so.1"

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
	int (*device_at)(const char *bus_id, struct nvml_device **out);
	int (*memory)(struct nvml_device *d, struct nvml_memory *out);
	int (*utilisation)(struct nvml_device *d, struct nvml_utilisation *out);
	int (*power)(struct nvml_device *d, unsigned *milliwatts);
};

static enum rc nvml_open(struct nvml *m, const char *name, struct err *e)
{
	const struct {
		const char *name;
		void *slot;
	} symbols[] = {
		{"nvmlInit_v2", &m->init},
		{"nvmlShutdown", &m->shutdown},
		{"nvmlDeviceGetCount_v2", &m->count},
		{"nvmlDeviceGetHandleByIndex_v2", &m->device},
		{"nvmlDeviceGetHandleByPciBusId_v2", &m->device_at},
		{"nvmlDeviceGetMemoryInfo", &m->memory},
		{"nvmlDeviceGetUtilizationRates", &m->utilisation},
		{"nvmlDeviceGetPowerUsage", &m->power},
	};
	int rc;

	name = name && *name ? name : LIBRARY;
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

struct nvml_watch {
	struct nvml nvml;
	struct nvml_device *card[NVML_MAX_CARDS];
	int n_cards;
	int64_t interval_ns;

	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t wake;
	bool stopping;
	struct nvml_sample newest;
};

static void ask_cards(const struct nvml_watch *w, struct nvml_sample *out)
{
	out->t_ns = monotonic_now_ns();
	out->n_cards = w->n_cards;
	for (int i = 0; i < w->n_cards; i++) {
		struct nvml_memory memory;
		struct nvml_utilisation busy;
		unsigned milliwatts;

		out->card[i] = (struct nvml_card){NAN, NAN, NAN};
		if (w->nvml.memory(w->card[i], &memory) == NVML_SUCCESS)
			out->card[i].memory_bytes = (double)memory.used;
		if (w->nvml.utilisation(w->card[i], &busy) == NVML_SUCCESS)
			out->card[i].utilisation = busy.gpu / 100.0;
		if (w->nvml.power(w->card[i], &milliwatts) == NVML_SUCCESS)
			out->card[i].power_w = milliwatts / 1e3;
	}
}

/* The first sample is there already. */
static void *sampling_thread(void *arg)
{
	struct nvml_watch *w = arg;
	struct nvml_sample sample = w->newest;

	pthread_mutex_lock(&w->lock);
	while (!w->stopping) {
		int64_t next_ns = sample.t_ns + w->interval_ns;
		struct timespec until = {.tv_sec = next_ns / NS_PER_S,
					 .tv_nsec = next_ns % NS_PER_S};

		if (pthread_cond_timedwait(&w->wake, &w->lock, &until) == 0)
			continue;
		pthread_mutex_unlock(&w->lock);
		ask_cards(w, &sample);
		pthread_mutex_lock(&w->lock);
		w->newest = sample;
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

void nvml_watch_newest(struct nvml_watch *w, struct nvml_sample *out)
{
	pthread_mutex_lock(&w->lock);
	*out = w->newest;
	pthread_mutex_unlock(&w->lock);
}

/* ---- life ---- */

static int find_cards(struct nvml_watch *w, const char *bus_id)
{
	unsigned n = 0;

	if (bus_id)
		w->n_cards = w->nvml.device_at(bus_id, &w->card[0]) == NVML_SUCCESS;
	else if (w->nvml.count(&n) != NVML_SUCCESS)
		return 0;
	for (unsigned i = 0; i < n && w->n_cards < NVML_MAX_CARDS; i++)
		if (w->nvml.device(i, &w->card[w->n_cards]) == NVML_SUCCESS)
			w->n_cards++;
	return w->n_cards;
}

/* Signals are the main thread's. */
static void start_thread(struct nvml_watch *w)
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

enum rc nvml_watch_new(struct nvml_watch **out, const char *library, const char *bus_id,
		       int64_t interval_ns, struct err *e)
{
	struct nvml_watch *w = xcalloc(1, sizeof(*w));
	enum rc rc = nvml_open(&w->nvml, library, e);

	if (rc) {
		free(w);
		return rc;
	}
	if (!find_cards(w, bus_id)) {
		nvml_close(&w->nvml);
		free(w);
		return err_set(e, RC_IO, "no figures of graphics cards: the driver finds none");
	}
	w->interval_ns = interval_ns;
	ask_cards(w, &w->newest);
	start_thread(w);
	*out = w;
	return RC_OK;
}

void nvml_watch_free(struct nvml_watch *w)
{
	if (!w)
		return;
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

/*
 * Stands in for NVIDIA's management library where there is no card: the same symbols, two cards of
 * known figures. Card 1 does not tell its power. STANDIN_NVML in the environment: "init" (it does
 * not come up), "none" (there is no card).
 */
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, DRIVER_NOT_LOADED = 9 };

struct nvmlDevice_st {
	unsigned index;
};

static struct nvmlDevice_st cards[2] = {{0}, {1}};

struct memory {
	unsigned long long total, free, used;
};

struct utilization {
	unsigned gpu, memory;
};

int nvmlInit_v2(void);
int nvmlShutdown(void);
int nvmlDeviceGetCount_v2(unsigned *n);
int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct nvmlDevice_st **out);
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, struct nvmlDevice_st **out);
int nvmlDeviceGetMemoryInfo(struct nvmlDevice_st *d, struct memory *out);
int nvmlDeviceGetUtilizationRates(struct nvmlDevice_st *d, struct utilization *out);
int nvmlDeviceGetPowerUsage(struct nvmlDevice_st *d, unsigned *milliwatts);

static int is_asked(const char *what)
{
	const char *asked = getenv("STANDIN_NVML");

	return asked && strcmp(asked, what) == 0;
}

int nvmlInit_v2(void)
{
	return is_asked("init") ? DRIVER_NOT_LOADED : SUCCESS;
}

int nvmlShutdown(void)
{
	return SUCCESS;
}

int nvmlDeviceGetCount_v2(unsigned *n)
{
	*n = is_asked("none") ? 0 : 2;
	return SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct nvmlDevice_st **out)
{
	if (index > 1)
		return INVALID_ARGUMENT;
	*out = &cards[index];
	return SUCCESS;
}

/* Card 0 is where the stand-in for libcuda has its second device, card 1 where its first. */
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, struct nvmlDevice_st **out)
{
	static const char *const at[] = {"0000:02:00.0", "0000:01:00.0"};

	for (unsigned i = 0; i < 2; i++) {
		if (strcmp(bus_id, at[i]) == 0 && !is_asked("none")) {
			*out = &cards[i];
			return SUCCESS;
		}
	}
	return NOT_FOUND;
}

int nvmlDeviceGetMemoryInfo(struct nvmlDevice_st *d, struct memory *out)
{
	*out = (struct memory){80ULL << 30, 60ULL << 30, (20ULL + d->index) << 30};
	return SUCCESS;
}

int nvmlDeviceGetUtilizationRates(struct nvmlDevice_st *d, struct utilization *out)
{
	*out = (struct utilization){50 + 30 * d->index, 10};
	return SUCCESS;
}

int nvmlDeviceGetPowerUsage(struct nvmlDevice_st *d, unsigned *milliwatts)
{
	*milliwatts = 312500;
	return d->index == 0 ? SUCCESS : NOT_SUPPORTED;
}

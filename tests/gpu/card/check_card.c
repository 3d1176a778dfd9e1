/*
 * Owns what is told of the card, and the roofs that all speeds are held against: what its memory
 * and its tensor cores give on paper, and what a kernel that only reads gets. Must not know what
 * comes near them.
 */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/jsonx.h"
#include "base/log.h"
#include "check.h"
#include "cuda/driver.h"
#include "cuda/roof_cuda.h"

#define TRANSFERS_A_CLOCK 2 /* of every kind of memory that cards have */

/* Products of halves with sums in float, dense, by the vendor's papers: operations a clock and
 * multiprocessor, a multiplication and an addition each counted. GeForce has half of it where its
 * siblings have all. */
static const struct {
	int32_t sm;
	double flops_a_clock, geforce;
} tensor_cores[] = {{80, 2048, 1},  {86, 1024, 0.5}, {89, 1024, 0.5}, {90, 4096, 1},
		    {100, 8192, 1}, {103, 8192, 1},  {120, 1024, 0.5}};

static double peak_flops(const struct cuda_facts *f)
{
	bool geforce = strstr(f->name, "GeForce") != NULL;

	for (size_t i = 0; i < ARRAY_LEN(tensor_cores); i++)
		if (tensor_cores[i].sm == f->sm)
			return tensor_cores[i].flops_a_clock *
			       (geforce ? tensor_cores[i].geforce : 1) * f->multiprocessors *
			       f->clock_hz;
	return 0;
}

/* "580.65.06", where the kernel's module tells it. */
static void add_driver(cJSON *o)
{
	FILE *f = fopen("/proc/driver/nvidia/version", "re");
	char line[256] = "", version[32];
	const char *at = f && fgets(line, sizeof(line), f) ? strstr(line, "Module") : NULL;

	if (at && (at += strcspn(at, "0123456789"), sscanf(at, "%31[0-9.]", version) == 1))
		cJSON_AddStringToObject(o, "driver", version);
	if (f)
		fclose(f);
}

static void describe(cJSON *o, struct cuda *card, const struct cuda_facts *f)
{
	double bytes_per_s = TRANSFERS_A_CLOCK * f->memory_clock_hz * f->memory_bits / 8;
	struct err e = {.rc = RC_OK};
	int64_t free_bytes = 0;
	char text[64];

	cuda_free_bytes(card, &free_bytes, &e);
	cJSON_AddStringToObject(o, "name", f->name);
	snprintf(text, sizeof(text), "sm_%d", f->sm);
	cJSON_AddStringToObject(o, "generation", text);
	add_driver(o);
	snprintf(text, sizeof(text), "%d.%d", f->driver / 1000, f->driver % 1000 / 10);
	cJSON_AddStringToObject(o, "driver_is_for_cuda", text);
	cJSON_AddStringToObject(o, "bus_id", f->bus_id);
	cJSON_AddBoolToObject(o, "emulated", strstr(f->name, "(no GPU)") != NULL);
	json_add_number(o, "memory_bytes", (double)f->memory_bytes);
	json_add_number(o, "free_bytes", (double)free_bytes);
	json_add_number(o, "l2_bytes", (double)f->l2_bytes);
	json_add_number(o, "multiprocessors", f->multiprocessors);
	json_add_number(o, "clock_hz", f->clock_hz);
	json_add_number(o, "memory_clock_hz", f->memory_clock_hz);
	json_add_number(o, "memory_bits", f->memory_bits);
	json_add_number(o, "peak_bytes_per_s", bytes_per_s);
	json_add_number(o, "peak_flops", peak_flops(f));
}

cJSON *check_card(const struct check *c)
{
	struct err e = {.rc = RC_OK};
	cJSON *o = object_new();
	struct cuda_facts facts;
	struct cuda *card;
	double read;

	(void)c;
	if (cuda_open(&card, &e) != RC_OK || cuda_facts(card, &facts, &e) != RC_OK) {
		add_wrong(o, "%s", e.msg);
		return o;
	}
	describe(o, card, &facts);
	read = cuda_roof_bytes_per_s(card);
	json_add_number(o, "read_bytes_per_s", read);
	if (read <= 0)
		add_wrong(o, "what its memory gives can not be measured");
	cuda_close(card);
	return o;
}

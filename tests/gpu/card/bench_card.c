/*
 * The kernels on a card, for the tests of ../simt: whatever driver gpu_engine/cuda/driver.h finds
 * (ENGINE_LIBCUDA: the stand-in, which proves this file). Memory is shared by card and host, so
 * that the tests look at it as they do elsewhere; each launch is waited for.
 *
 * Behind every block stand bytes that nobody may write, looked at when it is freed. BENCH_EXACT
 * leaves them out, for a sanitizer that watches the ends of blocks itself. BENCH_COUNTS names a
 * file to which each kernel's launches are added: who has been tested.
 */
#include "bench.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/die.h"
#include "cuda/driver.h"

#define GUARD_BYTES 256
#define FILLING	    0xff /* NaN in every format */
#define MAX_BLOCKS  8192

const int bench_n_orders = 1; /* the card's own, whatever it is */

struct block {
	uint8_t *at;
	size_t bytes, guard_bytes;
};

static struct cuda *card;
static struct block blocks[MAX_BLOCKS];
static int n_blocks;
static int64_t launches[GPU_KERNEL_COUNT];

static void need(const struct err *e)
{
	if (e->rc)
		fail_msg("%s", e->msg);
}

static void write_counts(void)
{
	const char *path = getenv("BENCH_COUNTS");
	FILE *f = path ? fopen(path, "a") : NULL;

	for (int k = 0; f && k < GPU_KERNEL_COUNT; k++)
		fprintf(f, "%s %lld\n", gpu_kernel_info((enum gpu_kernel)k)->name,
			(long long)launches[k]);
	if (f)
		fclose(f);
	cuda_close(card);
}

static void begin(void)
{
	struct err e = {.rc = RC_OK};

	if (card)
		return;
	if (cuda_open(&card, &e) != RC_OK)
		die("%s", e.msg);
	atexit(write_counts);
}

static enum rc launch(struct gpu_queue *q, const struct gpu_launch *l, struct err *e)
{
	struct err own = {.rc = RC_OK};

	(void)q;
	(void)e; /* what a card refuses ends the test */
	begin();
	cuda_queue(card)->launch(cuda_queue(card), l, &own);
	cuda_wait(card, &own);
	need(&own);
	launches[l->kernel]++;
	return RC_OK;
}

struct gpu_queue bench_queue = {launch};

void bench_begin_order(int order)
{
	(void)order;
}

const char *bench_order_name(void)
{
	return "on the card";
}

void *bench_alloc(size_t bytes)
{
	size_t guard = getenv("BENCH_EXACT") ? 0 : GUARD_BYTES;
	struct err e = {.rc = RC_OK};
	void *at;

	begin();
	CHECK(n_blocks < MAX_BLOCKS);
	bytes = bytes > 0 ? bytes : 1;
	cuda_alloc_shared(card, &at, bytes + guard, "a test", &e);
	need(&e);
	memset(at, FILLING, bytes + guard);
	blocks[n_blocks++] = (struct block){at, bytes, guard};
	return at;
}

void bench_free(void *p)
{
	int i = n_blocks - 1;

	while (i >= 0 && blocks[i].at != p)
		i--;
	CHECK(i >= 0);
	for (size_t k = 0; k < blocks[i].guard_bytes; k++)
		if (blocks[i].at[blocks[i].bytes + k] != FILLING)
			fail_msg("byte %zu behind a block of %zu was written", k, blocks[i].bytes);
	cuda_free(card, p);
	blocks[i] = blocks[--n_blocks];
}

/* Pure arithmetic. */
#include "occupancy.h"

#include <stddef.h>

#define WARP_THREADS	  32
#define REGISTERS	  65536 /* of a multiprocessor */
#define REGISTERS_AT_ONCE 256	/* a warp's come in portions */
#define PARTITIONS	  4	/* of a multiprocessor, each with its own registers */
#define SHARED_AT_ONCE	  128
#define KIB		  1024

/* Of a multiprocessor. */
static const struct limits {
	int32_t sm, warps, blocks, shared_bytes;
} table[] = {{80, 64, 32, 164 * KIB}, {86, 48, 16, 100 * KIB},	{89, 48, 24, 100 * KIB},
	     {90, 64, 32, 228 * KIB}, {100, 64, 32, 228 * KIB}, {120, 48, 24, 100 * KIB}};

static int32_t least(int32_t a, int32_t b)
{
	return a < b ? a : b;
}

static int32_t portions(int32_t n, int32_t each)
{
	return (n + each - 1) / each * each;
}

int32_t occupancy_warps(int32_t sm, int32_t registers, int32_t threads, int32_t shared_bytes)
{
	int32_t warps = (threads + WARP_THREADS - 1) / WARP_THREADS, blocks;
	int32_t of_warp = portions(registers * WARP_THREADS, REGISTERS_AT_ONCE);
	const struct limits *l = NULL;

	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
		if (table[i].sm == sm)
			l = &table[i];
	if (!l || warps == 0)
		return 0;
	blocks = least(l->blocks, l->warps / warps);
	if (of_warp > 0)
		blocks = least(blocks, REGISTERS / PARTITIONS / of_warp * PARTITIONS / warps);
	if (shared_bytes > 0)
		blocks = least(blocks, l->shared_bytes / portions(shared_bytes, SHARED_AT_ONCE));
	return blocks * warps;
}

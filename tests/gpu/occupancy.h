/* How many warps of a kernel a multiprocessor holds at a time, by the limits that the CUDA
 * programming guide documents for each compute capability. */
#ifndef GPU_OCCUPANCY_H
#define GPU_OCCUPANCY_H

#include <stdint.h>

/* What the card keeps for itself of each block's shared memory. */
#define OCCUPANCY_RESERVED_BYTES 1024

/* sm: 80, 86, ...; 0 for one that is not in the table. shared_bytes: static, dynamic and reserved.
 */
int32_t occupancy_warps(int32_t sm, int32_t registers, int32_t threads, int32_t shared_bytes);

#endif

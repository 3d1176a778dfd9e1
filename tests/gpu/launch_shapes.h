/* How many threads and how much dynamic shared memory each kernel is launched with, as the
 * launchers decide it for the shapes of Llama-3.1-8B. */
#ifndef GPU_LAUNCH_SHAPES_H
#define GPU_LAUNCH_SHAPES_H

#include <stdint.h>

#include "cuda/launch.h"

struct launch_shape {
	int32_t threads, dynamic_bytes;
};

/* of: [GPU_KERNEL_COUNT]; zeros for a kernel that none of them launches. */
void launch_shapes(struct launch_shape *of);

#endif

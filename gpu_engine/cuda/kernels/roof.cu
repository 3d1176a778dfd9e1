/*
 * Reads memory and does nothing else: what it gets a second is the roof of kernels that live from
 * memory.
 */
#include "gpu.h"

#define AT_ONCE 4 /* loads of a thread that are under way together */

/* A thread's exclusive or of all the words it read, which together are all there are, once. */
KERNEL(256, read_words,
       (uint32_t *__restrict__ out, const uint32_t *__restrict__ words, uint64_t n_chunks))
{
	uint64_t stride = (uint64_t)gridDim.x * blockDim.x;
	uint64_t thread = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
	uint32_t all = 0;

	for (uint64_t i = thread; i < n_chunks; i += AT_ONCE * stride) {
		UNROLL
		for (int32_t k = 0; k < AT_ONCE; k++) {
			uint64_t at = i + (uint64_t)k * stride;

			if (at < n_chunks) {
				uint4 v = __ldg((const uint4 *)words + at);

				all ^= v.x ^ v.y ^ v.z ^ v.w;
			}
		}
	}
	out[thread] = all;
}

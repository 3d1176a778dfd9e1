/*
 * The kernels as nvcc wrote them, embedded by the build: for each .cu the PTX, which any later card
 * can compile, and a cubin for each card that is known. Without nvcc there are none, and the device
 * table says so.
 */
#ifndef CUDA_MODULES_H
#define CUDA_MODULES_H

#include <stddef.h>
#include <stdint.h>

struct gpu_image {
	int32_t sm; /* 80, 86, ...: what it was made for */
	const void *data;
	size_t bytes;
};

struct gpu_module {
	const char *name; /* of the .cu, as in gpu_kernel_info.file */
	const char *ptx;  /* ends with a NUL */
	const struct gpu_image *cubins;
	int32_t n_cubins;
};

extern const struct gpu_module gpu_modules[];
extern const int32_t gpu_n_modules; /* 0 = built without nvcc */

#endif

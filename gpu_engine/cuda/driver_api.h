/*
 * What this folder calls of the CUDA driver, declared here so that nothing of CUDA is needed to
 * build: the names, types and codes are those of the driver's binary interface, which is stable.
 * The oldest driver that has them is that of CUDA 11; with graphs, that of CUDA 11.4.
 */
#ifndef CUDA_DRIVER_API_H
#define CUDA_DRIVER_API_H

#include <stddef.h>

/* Handles; the driver's own. */
struct CUctx_st;
struct CUmod_st;
struct CUfunc_st;
struct CUstream_st;
struct CUgraph_st;
struct CUgraphExec_st;
struct CUevent_st;

/* A result is 0 or one of many codes; these are looked at. */
enum { CU_OK = 0, CU_OUT_OF_MEMORY = 2, CU_NO_DEVICE = 100, CU_NO_BINARY_FOR_GPU = 209 };

enum { /* of a device; clocks in kHz */
       CU_CLOCK = 13,
       CU_MULTIPROCESSORS = 16,
       CU_MEMORY_CLOCK = 36,
       CU_MEMORY_BITS = 37,
       CU_L2_BYTES = 38,
       CU_CAPABILITY_MAJOR = 75,
       CU_CAPABILITY_MINOR = 76,
};
enum { CU_ATTACH_GLOBAL = 1 };					   /* of managed memory */
enum { CU_JIT_ERROR_LOG = 5, CU_JIT_ERROR_LOG_BYTES = 6 };	   /* of loading a module */
enum { CU_STREAM_NON_BLOCKING = 1, CU_CONTEXT_BLOCKING_SYNC = 4 }; /* flags */
enum { CU_CAPTURE_THREAD_LOCAL = 1 }; /* what other threads ask of the driver spoils no capture */

/* X(name, parameters): all return an int. Addresses of the device are unsigned long long. */
#define CUDA_FUNCTIONS(X)                                                                          \
	X(cuInit, unsigned flags)                                                                  \
	X(cuDriverGetVersion, int *version)                                                        \
	X(cuGetErrorName, int code, const char **name)                                             \
	X(cuGetErrorString, int code, const char **text)                                           \
	X(cuDeviceGetCount, int *count)                                                            \
	X(cuDeviceGet, int *device, int ordinal)                                                   \
	X(cuDeviceGetName, char *name, int size, int device)                                       \
	X(cuDeviceGetAttribute, int *value, int attribute, int device)                             \
	X(cuDeviceTotalMem_v2, size_t *bytes, int device)                                          \
	X(cuDeviceGetPCIBusId, char *id, int size, int device)                                     \
	X(cuDevicePrimaryCtxRetain, struct CUctx_st **context, int device)                         \
	X(cuDevicePrimaryCtxRelease_v2, int device)                                                \
	X(cuCtxSetCurrent, struct CUctx_st *context)                                               \
	X(cuModuleLoadDataEx, struct CUmod_st **module, const void *image, unsigned n_options,     \
	  int *options, void **values)                                                             \
	X(cuModuleUnload, struct CUmod_st *module)                                                 \
	X(cuModuleGetFunction, struct CUfunc_st **function, struct CUmod_st *module,               \
	  const char *name)                                                                        \
	X(cuMemGetInfo_v2, size_t *free_bytes, size_t *total_bytes)                                \
	X(cuMemAlloc_v2, unsigned long long *at, size_t bytes)                                     \
	X(cuMemAllocManaged, unsigned long long *at, size_t bytes, unsigned flags)                 \
	X(cuMemFree_v2, unsigned long long at)                                                     \
	X(cuMemHostAlloc, void **at, size_t bytes, unsigned flags)                                 \
	X(cuMemFreeHost, void *at)                                                                 \
	X(cuMemcpyHtoDAsync_v2, unsigned long long to, const void *from, size_t bytes,             \
	  struct CUstream_st *stream)                                                              \
	X(cuMemcpyDtoHAsync_v2, void *to, unsigned long long from, size_t bytes,                   \
	  struct CUstream_st *stream)                                                              \
	X(cuMemcpyDtoDAsync_v2, unsigned long long to, unsigned long long from, size_t bytes,      \
	  struct CUstream_st *stream)                                                              \
	X(cuMemsetD8Async, unsigned long long at, unsigned char value, size_t n,                   \
	  struct CUstream_st *stream)                                                              \
	X(cuStreamCreate, struct CUstream_st **stream, unsigned flags)                             \
	X(cuStreamDestroy_v2, struct CUstream_st *stream)                                          \
	X(cuStreamSynchronize, struct CUstream_st *stream)                                         \
	X(cuEventCreate, struct CUevent_st **event, unsigned flags)                                \
	X(cuEventDestroy_v2, struct CUevent_st *event)                                             \
	X(cuEventRecord, struct CUevent_st *event, struct CUstream_st *stream)                     \
	X(cuEventElapsedTime, float *ms, struct CUevent_st *from, struct CUevent_st *to)           \
	X(cuLaunchKernel, struct CUfunc_st *function, unsigned grid_x, unsigned grid_y,            \
	  unsigned grid_z, unsigned block_x, unsigned block_y, unsigned block_z,                   \
	  unsigned shared_bytes, struct CUstream_st *stream, void **arguments, void **extra)

/* Those that a driver may lack. */
#define CUDA_GRAPH_FUNCTIONS(X)                                                                    \
	X(cuStreamBeginCapture_v2, struct CUstream_st *stream, int mode)                           \
	X(cuStreamEndCapture, struct CUstream_st *stream, struct CUgraph_st **graph)               \
	X(cuGraphInstantiateWithFlags, struct CUgraphExec_st **exec, struct CUgraph_st *graph,     \
	  unsigned long long flags)                                                                \
	X(cuGraphLaunch, struct CUgraphExec_st *exec, struct CUstream_st *stream)                  \
	X(cuGraphExecDestroy, struct CUgraphExec_st *exec)                                         \
	X(cuGraphDestroy, struct CUgraph_st *graph)

#define CUDA_FUNCTION(name, ...) int (*name)(__VA_ARGS__);
struct cuda_api {
	CUDA_FUNCTIONS(CUDA_FUNCTION)
	CUDA_GRAPH_FUNCTIONS(CUDA_FUNCTION) /* NULL if it lacks them */
};
#undef CUDA_FUNCTION

#endif

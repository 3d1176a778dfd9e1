/*
 * Owns the way to the driver: its library, its table of functions, the card's context and stream,
 * and the modules that hold the kernels. Whichever thread is attached. Must not know what is
 * computed.
 */
#include "driver.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "base/units.h"
#include "driver_api.h"
#include "modules.h"

#define LIBRARY	      "libcuda.so.1"
#define LIBRARY_ENV   "ENGINE_LIBCUDA"
#define OLDEST_SM     80 /* what the PTX was made for */
#define JIT_LOG_BYTES 4096

struct cuda {
	struct gpu_queue queue; /* the first: a queue's pointer is its cuda's */
	struct cuda_api api;
	const char *lacks; /* a function of graphs; or NULL */
	int device, version;
	bool retained;
	char name[96];
	int32_t sm;
	struct CUctx_st *context;
	struct CUstream_st *stream;
	struct CUevent_st *event[2]; /* cuda_time_start(), cuda_time_stop() */
	struct CUmod_st **module;
	struct CUfunc_st *kernel[GPU_KERNEL_COUNT];
};

/* ---- what a call returned ---- */

static enum rc failed(const struct cuda *c, int code, const char *what, struct err *e)
{
	const char *name = NULL, *text = NULL;

	if (c->api.cuGetErrorName(code, &name) != CU_OK || !name)
		name = "an unknown error";
	if (c->api.cuGetErrorString(code, &text) != CU_OK || !text)
		text = "no text";
	return err_set(e, code == CU_OUT_OF_MEMORY ? RC_LIMIT : RC_IO, "CUDA: %s: %s %d (%s)", what,
		       name, code, text);
}

static enum rc check(const struct cuda *c, int code, const char *what, struct err *e)
{
	return code == CU_OK ? RC_OK : failed(c, code, what, e);
}

/* function(...), whose failure is told by its name */
#define CALL(c, e, function, ...) check(c, (c)->api.function(__VA_ARGS__), #function, e)

/* ---- the library ---- */

#define FUNCTION_ROW(name, ...)	      {#name, offsetof(struct cuda_api, name), true},
#define GRAPH_FUNCTION_ROW(name, ...) {#name, offsetof(struct cuda_api, name), false},
static const struct {
	const char *name;
	size_t at;
	bool needed;
} functions[] = {CUDA_FUNCTIONS(FUNCTION_ROW) CUDA_GRAPH_FUNCTIONS(GRAPH_FUNCTION_ROW)};

/* Stays open to the end: drivers have threads of their own, which would return into nothing. */
static enum rc open_library(struct cuda *c, struct err *e)
{
	const char *path = getenv(LIBRARY_ENV);
	void *library;

	if (!path || !*path)
		path = LIBRARY;
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return err_set(e, RC_IO, "no CUDA driver: %s", dlerror());
	for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
		void *f = dlsym(library, functions[i].name);

		if (!f && functions[i].needed)
			return err_set(e, RC_IO,
				       "the CUDA driver %s is too old: it has no function %s", path,
				       functions[i].name);
		if (!f && !c->lacks)
			c->lacks = functions[i].name;
		memcpy((char *)&c->api + functions[i].at, &f, sizeof(f));
	}
	return RC_OK;
}

/* ---- the card ---- */

static enum rc open_card(struct cuda *c, struct err *e)
{
	int count = 0, major = 0, minor = 0, code = c->api.cuInit(0);
	enum rc rc = RC_OK;

	if (code == CU_OK)
		code = c->api.cuDeviceGetCount(&count);
	if (code == CU_NO_DEVICE || (code == CU_OK && count == 0))
		return err_set(e, RC_IO, "there is a CUDA driver but no card");
	if ((rc = check(c, code, "cuInit", e)) ||
	    (rc = CALL(c, e, cuDriverGetVersion, &c->version)) ||
	    (rc = CALL(c, e, cuDeviceGet, &c->device, 0)) ||
	    (rc = CALL(c, e, cuDeviceGetName, c->name, (int)sizeof(c->name), c->device)) ||
	    (rc = CALL(c, e, cuDeviceGetAttribute, &major, CU_CAPABILITY_MAJOR, c->device)) ||
	    (rc = CALL(c, e, cuDeviceGetAttribute, &minor, CU_CAPABILITY_MINOR, c->device)))
		return rc;
	c->sm = 10 * major + minor;
	if (c->sm < OLDEST_SM)
		return err_set(e, RC_IO, "%s is of sm_%d, and the kernels need sm_%d or later",
			       c->name, c->sm, OLDEST_SM);
	rc = CALL(c, e, cuDevicePrimaryCtxRetain, &c->context, c->device);
	c->retained = rc == RC_OK;
	if (rc || (rc = cuda_attach(c, e)))
		return rc;
	rc = CALL(c, e, cuStreamCreate, &c->stream, CU_STREAM_NON_BLOCKING);
	for (size_t i = 0; i < ARRAY_LEN(c->event) && !rc; i++)
		rc = CALL(c, e, cuEventCreate, &c->event[i], 0);
	return rc;
}

enum rc cuda_attach(struct cuda *c, struct err *e)
{
	return CALL(c, e, cuCtxSetCurrent, c->context);
}

void cuda_describe(const struct cuda *c, char *out, size_t size)
{
	snprintf(out, size, "%s (sm_%d), driver %d.%d", c->name, c->sm, c->version / 1000,
		 c->version % 1000 / 10);
}

static double told(const struct cuda *c, int attribute)
{
	int value = 0;

	return c->api.cuDeviceGetAttribute(&value, attribute, c->device) == CU_OK ? value : 0;
}

enum rc cuda_facts(const struct cuda *c, struct cuda_facts *out, struct err *e)
{
	size_t bytes = 0;
	enum rc rc = CALL(c, e, cuDeviceTotalMem_v2, &bytes, c->device);

	*out = (struct cuda_facts){.sm = c->sm,
				   .driver = c->version,
				   .multiprocessors = (int32_t)told(c, CU_MULTIPROCESSORS),
				   .memory_bits = (int32_t)told(c, CU_MEMORY_BITS),
				   .memory_bytes = (int64_t)bytes,
				   .l2_bytes = (int64_t)told(c, CU_L2_BYTES),
				   .clock_hz = told(c, CU_CLOCK) * 1e3,
				   .memory_clock_hz = told(c, CU_MEMORY_CLOCK) * 1e3};
	snprintf(out->name, sizeof(out->name), "%s", c->name);
	if (rc == RC_OK)
		rc = CALL(c, e, cuDeviceGetPCIBusId, out->bus_id, (int)sizeof(out->bus_id),
			  c->device);
	return rc;
}

enum rc cuda_free_bytes(const struct cuda *c, int64_t *out, struct err *e)
{
	size_t left = 0, total;
	enum rc rc = CALL(c, e, cuMemGetInfo_v2, &left, &total);

	*out = (int64_t)left;
	return rc;
}

/* ---- kernels ---- */

/* A cubin runs on cards of its own generation that are not older than it. */
static const struct gpu_image *best_cubin(const struct gpu_module *m, int32_t sm)
{
	const struct gpu_image *best = NULL;

	for (int32_t i = 0; i < m->n_cubins; i++) {
		const struct gpu_image *one = &m->cubins[i];

		if (one->sm / 10 == sm / 10 && one->sm <= sm && (!best || one->sm > best->sm))
			best = one;
	}
	return best;
}

static enum rc load_module(struct cuda *c, int32_t i, struct err *e)
{
	const struct gpu_module *m = &gpu_modules[i];
	const struct gpu_image *cubin = best_cubin(m, c->sm);
	char log[JIT_LOG_BYTES] = "", what[JIT_LOG_BYTES + 64];
	int options[] = {CU_JIT_ERROR_LOG, CU_JIT_ERROR_LOG_BYTES};
	void *values[] = {log, (void *)(uintptr_t)sizeof(log)};
	int code = CU_NO_BINARY_FOR_GPU;

	if (cubin)
		code = c->api.cuModuleLoadDataEx(&c->module[i], cubin->data, 0, NULL, NULL);
	if (code == CU_NO_BINARY_FOR_GPU)
		code = c->api.cuModuleLoadDataEx(&c->module[i], m->ptx,
						 (unsigned)ARRAY_LEN(options), options, values);
	log[sizeof(log) - 1] = '\0';
	log[strcspn(log, "\n")] = '\0';
	snprintf(what, sizeof(what), "the kernels of %s.cu%s%s", m->name, *log ? ": " : "", log);
	return check(c, code, what, e);
}

static int32_t module_of(const struct gpu_kernel_info *kernel)
{
	for (int32_t i = 0; i < gpu_n_modules; i++)
		if (strcmp(gpu_modules[i].name, kernel->file) == 0)
			return i;
	CHECK(!"every kernel's file is a module");
	return -1;
}

static enum rc load_kernels(struct cuda *c, struct err *e)
{
	enum rc rc = RC_OK;

	c->module = xcalloc((size_t)gpu_n_modules, sizeof(struct CUmod_st *));
	for (int32_t i = 0; i < gpu_n_modules && !rc; i++)
		rc = load_module(c, i, e);
	for (int k = 0; k < GPU_KERNEL_COUNT && !rc; k++) {
		const struct gpu_kernel_info *info = gpu_kernel_info((enum gpu_kernel)k);

		rc = check(c,
			   c->api.cuModuleGetFunction(&c->kernel[k], c->module[module_of(info)],
						      info->name),
			   info->name, e);
	}
	return rc;
}

static enum rc launch(struct gpu_queue *q, const struct gpu_launch *l, struct err *e)
{
	struct cuda *c = (struct cuda *)q;
	void *args[GPU_MAX_ARGS];

	if (e->rc)
		return e->rc;
	for (int32_t i = 0; i < l->n_args; i++)
		args[i] = (void *)l->args[i].at; /* only read */
	return check(c,
		     c->api.cuLaunchKernel(c->kernel[l->kernel], l->grid[0], l->grid[1], l->grid[2],
					   l->block[0], l->block[1], l->block[2], l->shared_bytes,
					   c->stream, args, NULL),
		     gpu_kernel_info(l->kernel)->name, e);
}

struct gpu_queue *cuda_queue(struct cuda *c)
{
	return &c->queue;
}

/* ---- memory ---- */

static enum rc allocated(const struct cuda *c, int code, size_t bytes, const char *what,
			 struct err *e)
{
	char size[32], message[128];

	snprintf(message, sizeof(message), "%s for %s",
		 format_bytes(size, sizeof(size), (double)bytes), what);
	return check(c, code, message, e);
}

enum rc cuda_alloc(struct cuda *c, void **out, size_t bytes, const char *what, struct err *e)
{
	unsigned long long at = 0;

	*out = NULL;
	if (e->rc)
		return e->rc;
	CHECK(bytes > 0);
	if (allocated(c, c->api.cuMemAlloc_v2(&at, bytes), bytes, what, e) == RC_OK)
		*out = (void *)(uintptr_t)at;
	return e->rc;
}

enum rc cuda_alloc_shared(struct cuda *c, void **out, size_t bytes, const char *what, struct err *e)
{
	unsigned long long at = 0;
	int code;

	*out = NULL;
	if (e->rc)
		return e->rc;
	CHECK(bytes > 0);
	code = c->api.cuMemAllocManaged(&at, bytes, CU_ATTACH_GLOBAL);
	if (allocated(c, code, bytes, what, e) == RC_OK)
		*out = (void *)(uintptr_t)at;
	return e->rc;
}

/* What a free says is left alone: it repeats the error of a card that is lost. */
void cuda_free(struct cuda *c, void *p)
{
	if (p)
		c->api.cuMemFree_v2((uintptr_t)p);
}

enum rc cuda_alloc_host(struct cuda *c, void **out, size_t bytes, const char *what, struct err *e)
{
	*out = NULL;
	if (e->rc)
		return e->rc;
	CHECK(bytes > 0);
	return allocated(c, c->api.cuMemHostAlloc(out, bytes, 0), bytes, what, e);
}

void cuda_free_host(struct cuda *c, void *p)
{
	if (p)
		c->api.cuMemFreeHost(p);
}

/* ---- the stream ---- */

enum rc cuda_upload(struct cuda *c, void *to, const void *from, size_t bytes, struct err *e)
{
	if (e->rc || bytes == 0)
		return e->rc;
	return CALL(c, e, cuMemcpyHtoDAsync_v2, (uintptr_t)to, from, bytes, c->stream);
}

enum rc cuda_download(struct cuda *c, void *to, const void *from, size_t bytes, struct err *e)
{
	if (e->rc || bytes == 0)
		return e->rc;
	return CALL(c, e, cuMemcpyDtoHAsync_v2, to, (uintptr_t)from, bytes, c->stream);
}

enum rc cuda_clear(struct cuda *c, void *at, size_t bytes, struct err *e)
{
	if (e->rc || bytes == 0)
		return e->rc;
	return CALL(c, e, cuMemsetD8Async, (uintptr_t)at, 0, bytes, c->stream);
}

enum rc cuda_wait(struct cuda *c, struct err *e)
{
	int code = c->api.cuStreamSynchronize(c->stream);

	return e->rc ? e->rc : check(c, code, "the card's work", e);
}

/* ---- graphs ---- */

struct cuda_graph {
	struct CUgraphExec_st *exec;
};

enum rc cuda_capture_begin(struct cuda *c, struct err *e)
{
	if (e->rc)
		return e->rc;
	if (c->lacks)
		return err_set(e, RC_IO,
			       "the CUDA driver is too old for graphs: it has no function %s",
			       c->lacks);
	return CALL(c, e, cuStreamBeginCapture_v2, c->stream, CU_CAPTURE_THREAD_LOCAL);
}

enum rc cuda_capture_end(struct cuda *c, struct cuda_graph **out, struct err *e)
{
	struct CUgraph_st *recorded = NULL;
	struct CUgraphExec_st *exec = NULL;
	int code = c->api.cuStreamEndCapture(c->stream, &recorded);

	*out = NULL;
	if (e->rc == RC_OK)
		check(c, code, "cuStreamEndCapture", e);
	if (e->rc == RC_OK)
		CALL(c, e, cuGraphInstantiateWithFlags, &exec, recorded, 0);
	if (recorded)
		c->api.cuGraphDestroy(recorded);
	if (e->rc)
		return e->rc;
	*out = xcalloc(1, sizeof(**out));
	(*out)->exec = exec;
	return RC_OK;
}

enum rc cuda_graph_launch(struct cuda *c, const struct cuda_graph *g, struct err *e)
{
	return e->rc ? e->rc : CALL(c, e, cuGraphLaunch, g->exec, c->stream);
}

void cuda_graph_free(struct cuda *c, struct cuda_graph *g)
{
	if (!g)
		return;
	c->api.cuGraphExecDestroy(g->exec);
	free(g);
}

/* ---- time ---- */

enum rc cuda_time_start(struct cuda *c, struct err *e)
{
	return e->rc ? e->rc : CALL(c, e, cuEventRecord, c->event[0], c->stream);
}

enum rc cuda_time_stop(struct cuda *c, double *out_s, struct err *e)
{
	float ms = 0;

	if (!e->rc)
		CALL(c, e, cuEventRecord, c->event[1], c->stream);
	cuda_wait(c, e);
	if (!e->rc)
		CALL(c, e, cuEventElapsedTime, &ms, c->event[0], c->event[1]);
	*out_s = e->rc ? 0 : (double)ms / 1e3;
	return e->rc;
}

/* ---- open and close ---- */

enum rc cuda_open(struct cuda **out, struct err *e)
{
	struct cuda *c = xcalloc(1, sizeof(*c));
	enum rc rc;

	*out = NULL;
	c->queue.launch = launch;
	if (gpu_n_modules == 0)
		rc = err_set(e, RC_IO,
			     "this program has no CUDA kernels: it was built without nvcc");
	else
		rc = open_library(c, e);
	if (rc) {
		free(c);
		return rc;
	}
	rc = open_card(c, e);
	if (rc == RC_OK)
		rc = load_kernels(c, e);
	if (rc) {
		cuda_close(c);
		return rc;
	}
	*out = c;
	return RC_OK;
}

void cuda_close(struct cuda *c)
{
	if (!c)
		return;
	for (int32_t i = 0; c->module && i < gpu_n_modules; i++)
		if (c->module[i])
			c->api.cuModuleUnload(c->module[i]);
	for (size_t i = 0; i < ARRAY_LEN(c->event); i++)
		if (c->event[i])
			c->api.cuEventDestroy_v2(c->event[i]);
	if (c->stream)
		c->api.cuStreamDestroy_v2(c->stream);
	if (c->retained)
		c->api.cuDevicePrimaryCtxRelease_v2(c->device);
	free(c->module);
	free(c);
}

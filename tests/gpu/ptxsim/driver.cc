/* Devices, contexts, memory, streams, events, graphs of the stand-in driver. Functions and
 * launches: driver_launch.cc. */
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <time.h>
#include "driver.h"

driver_state drv;
thread_local pretended_device *current;

static uint64_t env_number(const char *name, uint64_t otherwise)
{
	const char *v = getenv(name);
	return v ? strtoull(v, nullptr, 0) : otherwise;
}

static bool env_is(const char *name, const char *value)
{
	const char *v = getenv(name);
	return v && !strcmp(v, value);
}

static void faults_read(const char *list)
{
	std::string all = list ? list : "";
	for (size_t from = 0; from < all.size();) {
		size_t to = std::min(all.find(',', from), all.size());
		std::string one = all.substr(from, to - from);
		size_t colon = std::min(one.find(':'), one.size() - 1);
		std::string what = one.substr(0, colon), value = one.substr(colon + 1);
		uint64_t n = strtoull(value.c_str(), nullptr, 0);
		if (what == "alloc")
			drv.fail_alloc = n;
		else if (what == "launch")
			drv.fail_launch = n;
		else if (what == "lost")
			drv.lost_after = n;
		else if (what == "version")
			drv.version = (int)n;
		else if (what == "missing")
			drv.missing.insert(value);
		else
			fprintf(stderr, "ptxsim: PTXSIM_FAULTS: no fault '%s'\n", one.c_str()),
				abort();
		from = to + 1;
	}
}

static void at_end()
{
	report_write(drv.modules);
	for (auto &f : drv.functions)
		delete f.second;
	for (module *m : drv.modules)
		delete m;
	drv.functions.clear();
	drv.modules.clear();
}

EXPORTED CUresult cuInit(unsigned)
{
	held h(drv.lock);
	options_read();
	drv.devices.assign(env_number("PTXSIM_DEVICES", 1), {});
	for (size_t n = 0; n < drv.devices.size(); n++)
		drv.devices[n].number = (int)n;
	drv.memory_bytes = env_number("PTXSIM_MEMORY", 8ull << 30);
	drv.faults_abort = !env_is("PTXSIM_ON_FAULT", "error");
	drv.late = env_is("PTXSIM_ASYNC", "late");
	drv.fail_alloc = drv.fail_launch = drv.lost_after = 0;
	drv.allocs = drv.launches = 0;
	drv.version = 13000;
	drv.broken = CUDA_SUCCESS;
	drv.missing.clear();
	drv.pending.clear();
	drv.last_fault.clear();
	faults_read(getenv("PTXSIM_FAULTS"));
	if (!drv.ready)
		atexit(at_end);
	drv.ready = true;
	return drv.devices.empty() ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}

EXPORTED const char *ptxsim_last_fault()
{
	return drv.last_fault.c_str();
}

CUresult usable()
{
	if (!drv.ready)
		return CUDA_ERROR_NOT_INITIALIZED;
	if (drv.broken)
		return drv.broken;
	return current ? CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT;
}

double now_ms()
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static CUresult perform(const work &w)
{
	return drv.broken ? drv.broken : w();
}

CUresult settle()
{
	std::vector<work> todo;
	todo.swap(drv.pending);
	for (auto &w : todo)
		perform(w);
	return drv.broken;
}

static stream *stream_of(CUstream s)
{
	/* null, and the legacy and per-thread default streams by their numbers */
	return (size_t)s <= 2 ? &drv.default_stream : drv.streams.count(s) ? s : nullptr;
}

CUresult submit(CUstream s, work w)
{
	CUresult rc = usable();
	stream *st = stream_of(s);
	if (rc)
		return rc;
	if (!st)
		return CUDA_ERROR_INVALID_HANDLE;
	if (st->capture)
		st->capture->nodes.push_back(std::move(w));
	else if (drv.late)
		drv.pending.push_back(std::move(w));
	else
		return perform(w);
	return CUDA_SUCCESS;
}

/* Waiting inside of a capture is an error of the caller. */
static CUresult wait_for_all(CUstream s, bool of_stream)
{
	CUresult rc = usable();
	if (rc)
		return rc;
	for (stream *st : drv.streams)
		if (st->capture && (!of_stream || st == s))
			return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	return settle();
}

EXPORTED CUresult cuDriverGetVersion(int *version)
{
	*version = drv.ready ? drv.version : 13000;
	return CUDA_SUCCESS;
}

EXPORTED CUresult cuDeviceGetCount(int *count)
{
	if (!drv.ready)
		return CUDA_ERROR_NOT_INITIALIZED;
	*count = (int)drv.devices.size();
	return CUDA_SUCCESS;
}

EXPORTED CUresult cuDeviceGet(CUdevice *d, int n)
{
	if (!drv.ready)
		return CUDA_ERROR_NOT_INITIALIZED;
	if (n < 0 || n >= (int)drv.devices.size())
		return CUDA_ERROR_INVALID_DEVICE;
	*d = n;
	return CUDA_SUCCESS;
}

EXPORTED CUresult cuDeviceGetName(char *name, int bytes, CUdevice d)
{
	snprintf(name, (size_t)bytes, "PTX interpreter %d (no GPU)", d);
	return CUDA_SUCCESS;
}

EXPORTED CUresult cuDeviceGetUuid_v2(unsigned char *uuid, CUdevice d)
{
	memset(uuid, 0, 16);
	uuid[15] = (unsigned char)(d + 1);
	return CUDA_SUCCESS;
}

EXPORTED CUresult cuDeviceGetPCIBusId(char *id, int bytes, CUdevice d)
{
	snprintf(id, (size_t)bytes, "0000:%02x:00.0", d + 1);
	return CUDA_SUCCESS;
}

EXPORTED CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice)
{
	*bytes = drv.memory_bytes;
	return CUDA_SUCCESS;
}

/* Of the smallest card that runs compute_80 code; few multiprocessors, so that grids stay small. */
static const struct {
	int attribute, value;
} attributes[] = {
	{ATTRIBUTE_MAX_THREADS_PER_BLOCK, 1024},
	{ATTRIBUTE_MAX_BLOCK_DIM_X, 1024},
	{ATTRIBUTE_MAX_BLOCK_DIM_Y, 1024},
	{ATTRIBUTE_MAX_BLOCK_DIM_Z, 64},
	{ATTRIBUTE_MAX_GRID_DIM_X, 2147483647},
	{ATTRIBUTE_MAX_GRID_DIM_Y, 65535},
	{ATTRIBUTE_MAX_GRID_DIM_Z, 65535},
	{ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK, 49152},
	{ATTRIBUTE_WARP_SIZE, 32},
	{ATTRIBUTE_MAX_REGISTERS_PER_BLOCK, 65536},
	{ATTRIBUTE_CLOCK_RATE, 1410000},
	{ATTRIBUTE_MULTIPROCESSOR_COUNT, 4},
	{ATTRIBUTE_INTEGRATED, 0},
	{ATTRIBUTE_CAN_MAP_HOST_MEMORY, 1},
	{ATTRIBUTE_CONCURRENT_KERNELS, 1},
	{ATTRIBUTE_PCI_BUS_ID, 1},
	{ATTRIBUTE_PCI_DEVICE_ID, 0},
	{ATTRIBUTE_MEMORY_CLOCK_RATE, 1215000},
	{ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH, 5120},
	{ATTRIBUTE_L2_CACHE_SIZE, 4 << 20},
	{ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR, 2048},
	{ATTRIBUTE_ASYNC_ENGINE_COUNT, 1},
	{ATTRIBUTE_UNIFIED_ADDRESSING, 1},
	{ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 8},
	{ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, 0},
	{ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR, 167936},
	{ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR, 65536},
	{ATTRIBUTE_MANAGED_MEMORY, 0},
	{ATTRIBUTE_COOPERATIVE_LAUNCH, 1},
	{ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN, 166912},
	{ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK, 1024},
};

EXPORTED CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice d)
{
	if (!drv.ready)
		return CUDA_ERROR_NOT_INITIALIZED;
	if (d < 0 || d >= (int)drv.devices.size())
		return CUDA_ERROR_INVALID_DEVICE;
	for (auto &row : attributes) {
		if (row.attribute == attribute) {
			*value = row.value + (attribute == ATTRIBUTE_PCI_BUS_ID ? d : 0);
			return CUDA_SUCCESS;
		}
	}
	return CUDA_ERROR_INVALID_VALUE;
}

EXPORTED CUresult cuDeviceCanAccessPeer(int *can, CUdevice, CUdevice)
{
	*can = 1;
	return CUDA_SUCCESS;
}

EXPORTED CUresult cuCtxEnablePeerAccess(CUcontext, unsigned)
{
	return usable();
}

EXPORTED CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d)
{
	if (!drv.ready)
		return CUDA_ERROR_NOT_INITIALIZED;
	if (d < 0 || d >= (int)drv.devices.size())
		return CUDA_ERROR_INVALID_DEVICE;
	*c = &drv.devices[(size_t)d];
	return CUDA_SUCCESS;
}

EXPORTED CUresult cuDevicePrimaryCtxRelease_v2(CUdevice)
{
	held h(drv.lock);
	settle();
	return CUDA_SUCCESS;
}

EXPORTED CUresult cuCtxSetCurrent(CUcontext c)
{
	current = c;
	return drv.broken;
}

EXPORTED CUresult cuCtxGetCurrent(CUcontext *c)
{
	*c = current;
	return CUDA_SUCCESS;
}

EXPORTED CUresult cuCtxGetDevice(CUdevice *d)
{
	if (!current)
		return CUDA_ERROR_INVALID_CONTEXT;
	*d = current->number;
	return CUDA_SUCCESS;
}

EXPORTED CUresult cuCtxSynchronize()
{
	held h(drv.lock);
	return wait_for_all(nullptr, false);
}

/* Memory */

static CUresult allocate(uint64_t bytes, bool pinned, uint64_t *at)
{
	CUresult rc = usable();
	if (rc)
		return rc;
	if (!bytes)
		return CUDA_ERROR_INVALID_VALUE;
	if (!pinned &&
	    (++drv.allocs == drv.fail_alloc || current->allocated + bytes > drv.memory_bytes))
		return CUDA_ERROR_OUT_OF_MEMORY;
	void *p = memory_alloc(bytes, pinned);
	if (!p)
		return CUDA_ERROR_OUT_OF_MEMORY;
	if (!pinned)
		current->allocated += bytes;
	drv.owners[(uint64_t)p] = {pinned ? -1 : current->number, bytes};
	*at = (uint64_t)p;
	return CUDA_SUCCESS;
}

static CUresult release(uint64_t at, bool pinned)
{
	auto o = drv.owners.find(at);
	if (o == drv.owners.end() || (o->second.first < 0) != pinned)
		return CUDA_ERROR_INVALID_VALUE;
	settle();
	if (!pinned)
		drv.devices[(size_t)o->second.first].allocated -= o->second.second;
	drv.owners.erase(o);
	memory_free((void *)at);
	return drv.broken;
}

EXPORTED CUresult cuMemAlloc_v2(CUdeviceptr *p, size_t bytes)
{
	held h(drv.lock);
	uint64_t at = 0;
	CUresult rc = allocate(bytes, false, &at);
	*p = at;
	return rc;
}

EXPORTED CUresult cuMemFree_v2(CUdeviceptr p)
{
	held h(drv.lock);
	return p ? release(p, false) : CUDA_SUCCESS;
}

EXPORTED CUresult cuMemHostAlloc(void **p, size_t bytes, unsigned)
{
	held h(drv.lock);
	uint64_t at = 0;
	CUresult rc = allocate(bytes, true, &at);
	*p = (void *)at;
	return rc;
}

EXPORTED CUresult cuMemAllocHost_v2(void **p, size_t bytes)
{
	return cuMemHostAlloc(p, bytes, 0);
}

EXPORTED CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr *d, void *p, unsigned)
{
	*d = (CUdeviceptr)p;
	return CUDA_SUCCESS;
}

EXPORTED CUresult cuMemFreeHost(void *p)
{
	held h(drv.lock);
	return release((uint64_t)p, true);
}

EXPORTED CUresult cuMemGetInfo_v2(size_t *left, size_t *total)
{
	held h(drv.lock);
	CUresult rc = usable();
	if (rc)
		return rc;
	*left = drv.memory_bytes - current->allocated;
	*total = drv.memory_bytes;
	return CUDA_SUCCESS;
}

enum direction { HTOD = 1, DTOH = 2, DTOD = 3, EITHER = 0 };

static CUresult copy_work(CUstream s, uint64_t to, uint64_t from, size_t bytes, int how)
{
	bool to_device = how & HTOD, from_device = how & DTOH;
	if ((to_device && !memory_inside(to, bytes)) ||
	    (from_device && !memory_inside(from, bytes)))
		return CUDA_ERROR_INVALID_VALUE;
	return submit(s, [=] {
		memmove((void *)to, (const void *)from, bytes);
		memory_host_wrote(to, bytes);
		return CUDA_SUCCESS;
	});
}

static CUresult fill_work(CUstream s, uint64_t at, unsigned value, size_t count, unsigned width)
{
	if (!memory_inside(at, count * width) || at % width)
		return CUDA_ERROR_INVALID_VALUE;
	return submit(s, [=] {
		for (size_t n = 0; n < count; n++)
			memcpy((char *)at + n * width, &value, width);
		memory_host_wrote(at, count * width);
		return CUDA_SUCCESS;
	});
}

static CUresult copy_sync(uint64_t to, uint64_t from, size_t bytes, int how)
{
	held h(drv.lock);
	CUresult rc = wait_for_all(nullptr, false);
	if (!rc)
		rc = copy_work(nullptr, to, from, bytes, how);
	return rc ? rc : settle();
}

static CUresult copy_async(CUstream s, uint64_t to, uint64_t from, size_t bytes, int how)
{
	held h(drv.lock);
	return copy_work(s, to, from, bytes, how);
}

EXPORTED CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes)
{
	return copy_sync(to, (uint64_t)from, bytes, HTOD);
}
EXPORTED CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes)
{
	return copy_sync((uint64_t)to, from, bytes, DTOH);
}
EXPORTED CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
	return copy_sync(to, from, bytes, DTOD);
}
EXPORTED CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, size_t bytes)
{
	return copy_sync(to, from, bytes, EITHER);
}
EXPORTED CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream s)
{
	return copy_async(s, to, (uint64_t)from, bytes, HTOD);
}
EXPORTED CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream s)
{
	return copy_async(s, (uint64_t)to, from, bytes, DTOH);
}
EXPORTED CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream s)
{
	return copy_async(s, to, from, bytes, DTOD);
}
EXPORTED CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, size_t bytes, CUstream s)
{
	return copy_async(s, to, from, bytes, EITHER);
}
EXPORTED CUresult cuMemsetD8Async(CUdeviceptr at, unsigned char v, size_t count, CUstream s)
{
	held h(drv.lock);
	return fill_work(s, at, v, count, 1);
}
EXPORTED CUresult cuMemsetD32Async(CUdeviceptr at, unsigned v, size_t count, CUstream s)
{
	held h(drv.lock);
	return fill_work(s, at, v, count, 4);
}
EXPORTED CUresult cuMemsetD8_v2(CUdeviceptr at, unsigned char v, size_t count)
{
	return cuMemsetD8Async(at, v, count, nullptr);
}
EXPORTED CUresult cuMemsetD32_v2(CUdeviceptr at, unsigned v, size_t count)
{
	return cuMemsetD32Async(at, v, count, nullptr);
}

/* Streams and events */

EXPORTED CUresult cuStreamCreate(CUstream *s, unsigned)
{
	held h(drv.lock);
	CUresult rc = usable();
	if (rc)
		return rc;
	*s = new stream();
	drv.streams.insert(*s);
	return CUDA_SUCCESS;
}
EXPORTED CUresult cuStreamCreateWithPriority(CUstream *s, unsigned flags, int)
{
	return cuStreamCreate(s, flags);
}
EXPORTED CUresult cuStreamDestroy_v2(CUstream s)
{
	held h(drv.lock);
	settle();
	if (!drv.streams.erase(s))
		return CUDA_ERROR_INVALID_HANDLE;
	delete s;
	return CUDA_SUCCESS;
}
EXPORTED CUresult cuStreamSynchronize(CUstream s)
{
	held h(drv.lock);
	return wait_for_all(s, true);
}
EXPORTED CUresult cuStreamQuery(CUstream s)
{
	return cuStreamSynchronize(s);
}
EXPORTED CUresult cuLaunchHostFunc(CUstream s, void (*f)(void *), void *arg)
{
	held h(drv.lock);
	return submit(s, [=] {
		f(arg);
		return CUDA_SUCCESS;
	});
}

EXPORTED CUresult cuEventCreate(CUevent *e, unsigned)
{
	held h(drv.lock);
	CUresult rc = usable();
	if (!rc)
		*e = new event{nullptr, -1};
	return rc;
}
EXPORTED CUresult cuEventDestroy_v2(CUevent e)
{
	held h(drv.lock);
	settle();
	delete e;
	return CUDA_SUCCESS;
}
EXPORTED CUresult cuEventRecord(CUevent e, CUstream s)
{
	held h(drv.lock);
	stream *st = stream_of(s);
	if (!st)
		return CUDA_ERROR_INVALID_HANDLE;
	e->capture = st->capture;
	if (st->capture)
		return usable();
	return submit(s, [=] {
		e->recorded_ms = now_ms();
		return CUDA_SUCCESS;
	});
}
/* All work is in one order, so waiting is free; waiting for an event of a capture joins that
 * capture. */
EXPORTED CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned)
{
	held h(drv.lock);
	stream *st = stream_of(s);
	if (!st)
		return CUDA_ERROR_INVALID_HANDLE;
	if (e->capture)
		st->capture = e->capture;
	return usable();
}
EXPORTED CUresult cuEventSynchronize(CUevent e)
{
	held h(drv.lock);
	return e->capture ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : usable() ? usable() : settle();
}
EXPORTED CUresult cuEventQuery(CUevent e)
{
	return cuEventSynchronize(e);
}
EXPORTED CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to)
{
	held h(drv.lock);
	settle();
	if (from->recorded_ms < 0 || to->recorded_ms < 0)
		return CUDA_ERROR_INVALID_HANDLE;
	*ms = (float)(to->recorded_ms - from->recorded_ms);
	return CUDA_SUCCESS;
}

/* Graphs: the work of a capture, done again in its order */

EXPORTED CUresult cuStreamBeginCapture_v2(CUstream s, int)
{
	held h(drv.lock);
	if (usable())
		return usable();
	if (!drv.streams.count(s) || s->capture)
		return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
	s->capture = new graph();
	return CUDA_SUCCESS;
}
EXPORTED CUresult cuStreamEndCapture(CUstream s, CUgraph *g)
{
	held h(drv.lock);
	if (!drv.streams.count(s) || !s->capture)
		return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
	*g = s->capture;
	for (stream *other : drv.streams)
		if (other->capture == *g)
			other->capture = nullptr;
	return usable();
}
EXPORTED CUresult cuStreamIsCapturing(CUstream s, int *status)
{
	held h(drv.lock);
	stream *st = stream_of(s);
	*status = st && st->capture;
	return st ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}
EXPORTED CUresult cuGraphInstantiateWithFlags(CUgraphExec *e, CUgraph g, unsigned long long)
{
	held h(drv.lock);
	if (usable())
		return usable();
	*e = new graph(*g);
	return CUDA_SUCCESS;
}
EXPORTED CUresult cuGraphGetNodes(CUgraph g, void **nodes, size_t *count)
{
	if (nodes)
		return CUDA_ERROR_NOT_SUPPORTED;
	*count = g->nodes.size();
	return CUDA_SUCCESS;
}
EXPORTED CUresult cuGraphUpload(CUgraphExec, CUstream)
{
	return usable();
}
EXPORTED CUresult cuGraphLaunch(CUgraphExec e, CUstream s)
{
	held h(drv.lock);
	for (auto &w : e->nodes) {
		CUresult rc = submit(s, w);
		if (rc)
			return rc;
	}
	return CUDA_SUCCESS;
}
EXPORTED CUresult cuGraphDestroy(CUgraph g)
{
	delete g;
	return CUDA_SUCCESS;
}
EXPORTED CUresult cuGraphExecDestroy(CUgraphExec e)
{
	delete e;
	return CUDA_SUCCESS;
}

/* Errors, and functions by name */

static const struct {
	CUresult code;
	const char *name, *text;
} errors[] = {
	{CUDA_SUCCESS, "CUDA_SUCCESS", "no error"},
	{CUDA_ERROR_INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
	{CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
	{CUDA_ERROR_NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
	{CUDA_ERROR_DEVICE_UNAVAILABLE, "CUDA_ERROR_DEVICE_UNAVAILABLE",
	 "the device is busy or unavailable"},
	{CUDA_ERROR_NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
	{CUDA_ERROR_INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
	{CUDA_ERROR_INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
	{CUDA_ERROR_NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU",
	 "no kernel image for this device"},
	{CUDA_ERROR_INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
	{CUDA_ERROR_INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
	{CUDA_ERROR_NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
	{CUDA_ERROR_NOT_READY, "CUDA_ERROR_NOT_READY", "device not ready"},
	{CUDA_ERROR_ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS",
	 "an illegal memory access was encountered"},
	{CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES",
	 "too many resources requested"},
	{CUDA_ERROR_ASSERT, "CUDA_ERROR_ASSERT", "device-side assert triggered"},
	{CUDA_ERROR_MISALIGNED_ADDRESS, "CUDA_ERROR_MISALIGNED_ADDRESS", "misaligned address"},
	{CUDA_ERROR_LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
	{CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE",
	 "too many blocks in cooperative launch"},
	{CUDA_ERROR_NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
	{CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
	 "operation not permitted when stream is capturing"},
	{CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
	 "operation failed due to a previous error during capture"},
};

EXPORTED CUresult cuGetErrorName(CUresult code, const char **name)
{
	for (auto &row : errors)
		if (row.code == code)
			return *name = row.name, CUDA_SUCCESS;
	*name = nullptr;
	return CUDA_ERROR_INVALID_VALUE;
}
EXPORTED CUresult cuGetErrorString(CUresult code, const char **text)
{
	for (auto &row : errors)
		if (row.code == code)
			return *text = row.text, CUDA_SUCCESS;
	*text = nullptr;
	return CUDA_ERROR_INVALID_VALUE;
}

/* The plain name means the newest version of the function. */
EXPORTED CUresult cuGetProcAddress_v2(const char *name, void **f, int, unsigned long long,
				      int *status)
{
	Dl_info self;
	std::string plain = name;
	void *library = dladdr((void *)cuGetProcAddress_v2, &self)
				? dlopen(self.dli_fname, RTLD_NOLOAD | RTLD_NOW)
				: nullptr;
	*f = nullptr;
	for (const char *version : {"_v2", ""})
		if (library && !*f && !drv.missing.count(plain))
			*f = dlsym(library, (plain + version).c_str());
	if (library)
		dlclose(library);
	if (status)
		*status = *f ? 0 : 1;
	return *f ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
}

/* Modules, functions and launches of the stand-in driver: what a launch may ask for, and what
 * becomes of its mistakes. */
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include "driver.h"

constexpr int STATIC_SHARED_LIMIT = 48 * 1024, OPTIN_SHARED_LIMIT = 163 * 1024;
constexpr int MULTIPROCESSORS = 4, SHARED_OF_MULTIPROCESSOR = 164 * 1024,
	      THREADS_OF_MULTIPROCESSOR = 2048;

EXPORTED CUresult cuModuleLoadData(CUmodule *m, const void *image)
{
	held h(drv.lock);
	CUresult rc = usable();
	if (rc)
		return rc;
	static const unsigned char elf[] = {0x7f, 'E', 'L', 'F'},
				   fatbin[] = {0x50, 0xed, 0x55, 0xba};
	if (!memcmp(image, elf, 4) || !memcmp(image, fatbin, 4))
		return CUDA_ERROR_NO_BINARY_FOR_GPU;
	try {
		*m = module_load((const char *)image);
	} catch (const load_error &e) {
		drv.last_fault = e.what();
		fprintf(stderr, "ptxsim: %s\n", e.what());
		return CUDA_ERROR_INVALID_PTX;
	}
	drv.modules.push_back(*m);
	return CUDA_SUCCESS;
}

EXPORTED CUresult cuModuleLoadDataEx(CUmodule *m, const void *image, unsigned, int *, void **)
{
	return cuModuleLoadData(m, image);
}

/* The counters are still wanted at the end. */
EXPORTED CUresult cuModuleUnload(CUmodule)
{
	held h(drv.lock);
	return settle();
}

EXPORTED CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name)
{
	held h(drv.lock);
	auto k = m->kernels.find(name);
	if (k == m->kernels.end())
		return CUDA_ERROR_NOT_FOUND;
	function *&known = drv.functions[{m, name}];
	if (!known)
		known = new function{&k->second};
	*f = known;
	return usable();
}

EXPORTED CUresult cuModuleGetGlobal_v2(CUdeviceptr *p, size_t *bytes, CUmodule m, const char *name)
{
	auto s = m->symbols.find(name);
	if (s == m->symbols.end() || (s->second.space != GLOBAL && s->second.space != CONST))
		return CUDA_ERROR_NOT_FOUND;
	if (p)
		*p = s->second.at;
	if (bytes)
		*bytes = s->second.bytes;
	return CUDA_SUCCESS;
}

EXPORTED CUresult cuFuncGetAttribute(int *value, int attribute, CUfunction f)
{
	const kernel &k = *f->k;
	switch (attribute) {
	case FUNCTION_MAX_THREADS_PER_BLOCK:
		*value = k.max_threads;
		return CUDA_SUCCESS;
	case FUNCTION_SHARED_SIZE_BYTES:
		*value = k.shared_bytes;
		return CUDA_SUCCESS;
	case FUNCTION_CONST_SIZE_BYTES:
		*value = 0;
		return CUDA_SUCCESS;
	case FUNCTION_LOCAL_SIZE_BYTES:
		*value = k.local_bytes;
		return CUDA_SUCCESS;
	case FUNCTION_NUM_REGS: /* what ptxas would give is not known here */
		*value = 64;
		return CUDA_SUCCESS;
	case FUNCTION_PTX_VERSION:
	case FUNCTION_BINARY_VERSION:
		*value = 80;
		return CUDA_SUCCESS;
	case FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES:
		*value = k.max_dynamic;
		return CUDA_SUCCESS;
	default:
		return CUDA_ERROR_INVALID_VALUE;
	}
}

EXPORTED CUresult cuFuncSetAttribute(CUfunction f, int attribute, int value)
{
	if (attribute == FUNCTION_PREFERRED_SHARED_MEMORY_CARVEOUT)
		return CUDA_SUCCESS;
	if (attribute != FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES || value < 0 ||
	    value + f->k->shared_bytes > OPTIN_SHARED_LIMIT)
		return CUDA_ERROR_INVALID_VALUE;
	f->k->max_dynamic = value;
	return CUDA_SUCCESS;
}

EXPORTED CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int *blocks, CUfunction f,
							      int threads, size_t dynamic)
{
	if (threads <= 0)
		return CUDA_ERROR_INVALID_VALUE;
	size_t shared = (size_t)f->k->shared_bytes + dynamic + 1024;
	size_t by_shared = SHARED_OF_MULTIPROCESSOR / shared;
	*blocks = (int)std::min<size_t>(std::min<size_t>(by_shared, 32),
					(size_t)(THREADS_OF_MULTIPROCESSOR / threads));
	return CUDA_SUCCESS;
}

/* What a driver would refuse before anything runs. */
static CUresult checked(const launch &l)
{
	const kernel &k = *l.k;
	uint64_t threads = 1;
	for (int d = 0; d < 3; d++) {
		if (!l.grid[d] || !l.threads[d] || (d && l.grid[d] > 65535))
			return CUDA_ERROR_INVALID_VALUE;
		threads *= l.threads[d];
	}
	if (threads > 1024 || l.threads[2] > 64)
		return CUDA_ERROR_INVALID_VALUE;
	if ((int)threads > k.max_threads)
		return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
	int dynamic_limit = std::max(k.max_dynamic, STATIC_SHARED_LIMIT);
	if (k.shared_bytes > STATIC_SHARED_LIMIT || (int64_t)l.dynamic_bytes > k.max_dynamic ||
	    (int64_t)l.dynamic_bytes + k.shared_bytes >
		    dynamic_limit + (k.max_dynamic > STATIC_SHARED_LIMIT ? k.shared_bytes : 0))
		return CUDA_ERROR_INVALID_VALUE;
	int resident;
	function f = {l.k};
	cuOccupancyMaxActiveBlocksPerMultiprocessor(&resident, &f, (int)threads, l.dynamic_bytes);
	if (l.cooperative &&
	    (uint64_t)l.grid[0] * l.grid[1] * l.grid[2] > (uint64_t)resident * MULTIPROCESSORS)
		return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
	return CUDA_SUCCESS;
}

static CUresult perform_launch(launch l, const std::vector<char> &params)
{
	drv.launches++;
	if (drv.lost_after && drv.launches > drv.lost_after)
		return drv.broken = CUDA_ERROR_DEVICE_UNAVAILABLE;
	if (drv.launches == drv.fail_launch)
		return drv.broken = CUDA_ERROR_LAUNCH_FAILED;
	l.params = params.data();
	try {
		grid_run(l);
	} catch (const fault &f) {
		drv.last_fault = f.what();
		fprintf(stderr, "ptxsim: %s\n", f.what());
		if (drv.faults_abort)
			abort();
		return drv.broken = f.code;
	}
	return CUDA_SUCCESS;
}

static CUresult launch_work(CUfunction f, const unsigned *grid, const unsigned *threads,
			    unsigned dynamic, CUstream s, bool cooperative, void **arguments,
			    void **extra)
{
	held h(drv.lock);
	if (extra)
		return CUDA_ERROR_NOT_SUPPORTED;
	launch l = {};
	l.k = f->k;
	memcpy(l.grid, grid, sizeof l.grid);
	memcpy(l.threads, threads, sizeof l.threads);
	l.dynamic_bytes = dynamic;
	l.cooperative = cooperative;
	CUresult rc = usable() ? usable() : checked(l);
	if (rc)
		return rc;
	std::vector<char> params((size_t)f->k->params_bytes + 1);
	for (size_t n = 0; n < f->k->param_at.size(); n++)
		memcpy(params.data() + f->k->param_at[n], arguments[n],
		       (size_t)f->k->param_bytes[n]);
	return submit(s, [=] { return perform_launch(l, params); });
}

EXPORTED CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
				 unsigned by, unsigned bz, unsigned dynamic, CUstream s,
				 void **arguments, void **extra)
{
	unsigned grid[] = {gx, gy, gz}, threads[] = {bx, by, bz};
	return launch_work(f, grid, threads, dynamic, s, false, arguments, extra);
}

EXPORTED CUresult cuLaunchCooperativeKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz,
					    unsigned bx, unsigned by, unsigned bz, unsigned dynamic,
					    CUstream s, void **arguments)
{
	unsigned grid[] = {gx, gy, gz}, threads[] = {bx, by, bz};
	return launch_work(f, grid, threads, dynamic, s, true, arguments, nullptr);
}

EXPORTED CUresult cuLaunchKernelEx(const launch_config *c, CUfunction f, void **arguments,
				   void **extra)
{
	bool cooperative = false;
	for (unsigned n = 0; n < c->attribute_count; n++) {
		const launch_attribute &a = c->attributes[n];
		if (a.id == LAUNCH_ATTRIBUTE_COOPERATIVE)
			cooperative = a.value.flag;
		else if (a.id != LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION)
			return CUDA_ERROR_NOT_SUPPORTED;
	}
	return launch_work(f, c->grid, c->threads, c->shared_bytes, c->stream, cooperative,
			   arguments, extra);
}

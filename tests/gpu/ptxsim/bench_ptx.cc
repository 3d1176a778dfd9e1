/*
 * The kernels as nvcc wrote them, on the stand-in driver: what the tests of ../simt run on instead
 * of the SIMT runtime. BENCH_PTX: the folder of the PTX. A mistake of a kernel ends the program,
 * with the place; races are looked for always.
 */
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include "client.h"
extern "C" {
#include "../simt/bench.h"

extern const int bench_n_orders = 1; /* interpreting is slow: ../simt has the others */
}

static std::map<std::string, CUmodule> modules;

static void need(CUresult rc, const char *what)
{
	if (rc != CUDA_SUCCESS) {
		fprintf(stderr, "%s: error %d\n", what, rc);
		abort();
	}
}

static void begin()
{
	static bool begun;
	CUcontext c;

	if (begun)
		return;
	begun = true;
	setenv("PTXSIM_CHECK", "race", 0);
	need(cuInit(0), "cuInit");
	need(cuDevicePrimaryCtxRetain(&c, 0), "cuDevicePrimaryCtxRetain");
	need(cuCtxSetCurrent(c), "cuCtxSetCurrent");
}

static CUmodule module_of(const char *file)
{
	CUmodule &m = modules[file];

	if (!m) {
		const char *folder = getenv("BENCH_PTX");
		std::string path = std::string(folder ? folder : ".") + "/" + file + ".ptx";
		need(cuModuleLoadData(&m, text_of(path.c_str()).c_str()), path.c_str());
	}
	return m;
}

static enum rc launch(struct gpu_queue *, const struct gpu_launch *l, struct err *e)
{
	const struct gpu_kernel_info *info = gpu_kernel_info(l->kernel);
	void *arguments[GPU_MAX_ARGS];
	CUfunction f;

	begin();
	for (int32_t i = 0; i < l->n_args; i++)
		arguments[i] = const_cast<void *>(l->args[i].at);
	if (cuModuleGetFunction(&f, module_of(info->file), info->name) != CUDA_SUCCESS)
		return err_set(e, RC_IO, "no kernel %s", info->name);
	need(cuLaunchKernel(f, l->grid[0], l->grid[1], l->grid[2], l->block[0], l->block[1],
			    l->block[2], l->shared_bytes, nullptr, arguments, nullptr),
	     info->name);
	return RC_OK;
}

extern "C" {
struct gpu_queue bench_queue = {launch};

void bench_begin_order(int)
{
}

const char *bench_order_name(void)
{
	return "interpreted";
}

void *bench_alloc(size_t bytes)
{
	CUdeviceptr p;

	begin();
	need(cuMemAlloc_v2(&p, bytes ? bytes : 1), "cuMemAlloc");
	return (void *)p;
}

void bench_free(void *p)
{
	need(cuMemFree_v2((CUdeviceptr)p), "cuMemFree");
}
}

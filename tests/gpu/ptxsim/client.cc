/* What the tests of the stand-in share: the driver under a chosen environment, a module with
 * buffers around it. */
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include "client.h"
extern "C" {
#include <cmocka.h>
}

std::string text_of(const char *path)
{
	std::ifstream f(path);
	std::stringstream s;
	s << f.rdbuf();
	return s.str();
}

void driver_begin(std::initializer_list<const char *> environment)
{
	static const char *const names[] = {"CHECK",  "CP_ASYNC", "SEED",  "MAX_STEPS", "DEVICES",
					    "MEMORY", "ON_FAULT", "ASYNC", "FAULTS"};
	for (const char *name : names)
		unsetenv((std::string("PTXSIM_") + name).c_str());
	setenv("PTXSIM_ON_FAULT", "error", 1);
	for (const char *pair : environment) {
		std::string s = pair;
		size_t at = s.find('=');
		setenv(s.substr(0, at).c_str(), s.substr(at + 1).c_str(), 1);
	}
	CUcontext c;
	assert_int_equal(cuInit(0), CUDA_SUCCESS);
	assert_int_equal(cuDevicePrimaryCtxRetain(&c, 0), CUDA_SUCCESS);
	assert_int_equal(cuCtxSetCurrent(c), CUDA_SUCCESS);
}

bench::bench(const char *ptx_path)
{
	std::string ptx = text_of(ptx_path);
	assert_int_equal(cuModuleLoadData(&module, ptx.c_str()), CUDA_SUCCESS);
}

bench::~bench()
{
	for (CUdeviceptr p : buffers)
		cuMemFree_v2(p);
}

CUdeviceptr bench::room(size_t bytes)
{
	CUdeviceptr p = 0;
	assert_int_equal(cuMemAlloc_v2(&p, bytes), CUDA_SUCCESS);
	buffers.push_back(p);
	return p;
}

CUfunction bench::find(const char *kernel)
{
	CUfunction f = nullptr;
	assert_int_equal(cuModuleGetFunction(&f, module, kernel), CUDA_SUCCESS);
	return f;
}

CUresult bench::launch(const char *kernel, unsigned blocks, unsigned threads, void **arguments)
{
	CUfunction f = find(kernel);
	if (cooperative)
		return cuLaunchCooperativeKernel(f, blocks, 1, 1, threads, 1, 1, dynamic, stream,
						 arguments);
	return cuLaunchKernel(f, blocks, 1, 1, threads, 1, 1, dynamic, stream, arguments, nullptr);
}

/*
 * The stand-in driver: memory, streams, graphs, several devices, launches that are refused, faults
 * on demand, an old driver, code that it can not run; and the counters it leaves.
 */
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include "client.h"
extern "C" {
#include <cmocka.h>
}

#define PTX(name) PTX_DIR "/" name ".ptx"

static const std::vector<float> four = {1, 2, 3, 4};

static const char *head =
	".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 p)\n{\n"
	".reg .b32 %r<4>;\n.reg .b64 %rd<4>;\n.reg .pred %p<2>;\n";

/* Whatever is not in the tables is named with its line; nothing is run on a guess. */
static void refuses_what_it_does_not_know(void **)
{
	static const char *const lines[] = {
		"wgmma.fence.sync.aligned;",
		"add.cc.u32 %r1, %r2, %r3;",
		"cvt.rn.satfinite.e4m3x2.f32 %r1, %r2, %r3;",
		"mov.u32 %r1, %smid;",
		"ld.global.v4.u64 {%rd1, %rd2, %rd3, %rd1}, [%rd0];",
		"bar.sync 0, 64;",
		"mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%r0,%r1,%r2,%r3}, {%r0,%r1}, "
		"{%r2}, {%r0,%r1,%r2,%r3};",
		"cp.async.cg.shared.global [%r0], [%rd0], 8;",
		"call.uni vprintf;",
		"shfl.sync.bfly.b64 %rd1, %rd2, 1, 31, -1;",
		"min.u32 %r1, %r2;",
		"setp.zz.s32 %p1, %r1, %r2;",
	};
	driver_begin({});
	for (const char *line : lines) {
		std::string text = std::string(head) + line + "\nret;\n}\n";
		CUmodule m;
		if (cuModuleLoadData(&m, text.c_str()) != CUDA_ERROR_INVALID_PTX)
			fail_msg("taken: %s", line);
		if (!strstr(ptxsim_last_fault(), "at line 9"))
			fail_msg("%s: \"%s\"", line, ptxsim_last_fault());
	}
	CUmodule m;
	assert_int_equal(cuModuleLoadData(&m, "\177ELF and what follows"),
			 CUDA_ERROR_NO_BINARY_FOR_GPU);
	assert_int_equal(cuModuleLoadData(&m, "no program"), CUDA_ERROR_INVALID_PTX);
}

static void memory_is_counted_and_bounded(void **)
{
	size_t left, total;
	CUdeviceptr p, q;
	void *pinned;
	char byte[2000] = {};
	driver_begin({"PTXSIM_MEMORY=4096"});
	assert_int_equal(cuMemAlloc_v2(&p, 3000), CUDA_SUCCESS);
	assert_int_equal(cuMemGetInfo_v2(&left, &total), CUDA_SUCCESS);
	assert_int_equal(left, 1096);
	assert_int_equal(total, 4096);
	assert_int_equal(cuMemAlloc_v2(&q, 2000), CUDA_ERROR_OUT_OF_MEMORY);
	assert_int_equal(cuMemHostAlloc(&pinned, 8192, 0), CUDA_SUCCESS);
	assert_int_equal(cuMemcpyHtoD_v2(p + 1000, byte, 2000), CUDA_SUCCESS);
	assert_int_equal(cuMemcpyHtoD_v2(p + 1001, byte, 2000), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemcpyDtoH_v2(byte, p - 1, 1), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemsetD32_v2(p, 7, 750), CUDA_SUCCESS);
	assert_int_equal(cuMemsetD32_v2(p, 7, 751), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemFree_v2(p + 1), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemFree_v2(p), CUDA_SUCCESS);
	assert_int_equal(cuMemFree_v2(p), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemFreeHost(pinned), CUDA_SUCCESS);
	assert_int_equal(cuMemGetInfo_v2(&left, &total), CUDA_SUCCESS);
	assert_int_equal(left, 4096);
}

static void devices_are_apart(void **)
{
	int count, value;
	CUcontext c;
	CUdeviceptr p;
	size_t left, total;
	driver_begin({"PTXSIM_DEVICES=4", "PTXSIM_MEMORY=1000"});
	assert_int_equal(cuDeviceGetCount(&count), CUDA_SUCCESS);
	assert_int_equal(count, 4);
	assert_int_equal(cuDeviceGet(&value, 4), CUDA_ERROR_INVALID_DEVICE);
	assert_int_equal(cuDeviceGetAttribute(&value, ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, 3),
			 CUDA_SUCCESS);
	assert_int_equal(value, 8);
	assert_int_equal(cuDeviceGetAttribute(&value, 9999, 0), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuMemAlloc_v2(&p, 900), CUDA_SUCCESS);
	assert_int_equal(cuDevicePrimaryCtxRetain(&c, 2), CUDA_SUCCESS);
	assert_int_equal(cuCtxSetCurrent(c), CUDA_SUCCESS);
	assert_int_equal(cuMemGetInfo_v2(&left, &total), CUDA_SUCCESS);
	assert_int_equal(left, 1000);
	assert_int_equal(cuMemFree_v2(p), CUDA_SUCCESS);
	setenv("PTXSIM_DEVICES", "0", 1);
	assert_int_equal(cuInit(0), CUDA_ERROR_NO_DEVICE);
}

static void launches_are_checked(void **)
{
	int value;
	driver_begin({});
	bench t(PTX("warps"));
	CUdeviceptr x = t.upload(four), out = t.room(4096);
	CUfunction f = t.find("k_exchange"), none;
	assert_int_equal(cuModuleGetFunction(&none, t.module, "k_nothing"), CUDA_ERROR_NOT_FOUND);
	assert_int_equal(t.run("k_exchange", 1, 1025, out, x), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(t.run("k_exchange", 0, 32, out, x), CUDA_ERROR_INVALID_VALUE);
	t.dynamic = 49153;
	assert_int_equal(t.run("k_exchange", 1, 1, out, x), CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuFuncSetAttribute(f, FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES, 200000),
			 CUDA_ERROR_INVALID_VALUE);
	assert_int_equal(cuFuncSetAttribute(f, FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES, 100000),
			 CUDA_SUCCESS);
	assert_int_equal(cuFuncGetAttribute(&value, FUNCTION_MAX_DYNAMIC_SHARED_SIZE_BYTES, f),
			 CUDA_SUCCESS);
	assert_int_equal(value, 100000);
	t.dynamic = 100000, t.cooperative = true;
	assert_int_equal(t.run("k_exchange", 5, 32, out, x),
			 CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE);
}

/* A captured step on two streams, done again with other data; late: nothing happens before somebody
 * waits. */
static void graphs_repeat(void **)
{
	for (const char *mode : {"PTXSIM_ASYNC=", "PTXSIM_ASYNC=late"}) {
		driver_begin({mode});
		bench t(PTX("warps"));
		CUdeviceptr x = t.room(16), out = t.room(4);
		CUstream a, b;
		CUevent fork, join;
		CUgraph g;
		CUgraphExec e;
		float *in, sum = -1, ms;
		int n = 4;
		assert_int_equal(cuMemHostAlloc((void **)&in, 16, 0), CUDA_SUCCESS);
		assert_int_equal(cuStreamCreate(&a, 1), CUDA_SUCCESS);
		assert_int_equal(cuStreamCreate(&b, 1), CUDA_SUCCESS);
		assert_int_equal(cuEventCreate(&fork, 0), CUDA_SUCCESS);
		assert_int_equal(cuEventCreate(&join, 0), CUDA_SUCCESS);
		assert_int_equal(cuStreamBeginCapture_v2(a, 0), CUDA_SUCCESS);
		assert_int_equal(cuMemcpyHtoDAsync_v2(x, in, 16, a), CUDA_SUCCESS);
		assert_int_equal(cuStreamSynchronize(a), CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
		assert_int_equal(cuEventRecord(fork, a), CUDA_SUCCESS);
		assert_int_equal(cuStreamWaitEvent(b, fork, 0), CUDA_SUCCESS);
		t.stream = b;
		assert_int_equal(t.run("k_block_sum", 1, 32, out, x, n), CUDA_SUCCESS);
		assert_int_equal(cuEventRecord(join, b), CUDA_SUCCESS);
		assert_int_equal(cuStreamWaitEvent(a, join, 0), CUDA_SUCCESS);
		assert_int_equal(cuMemcpyDtoHAsync_v2(&sum, out, 4, a), CUDA_SUCCESS);
		assert_int_equal(cuStreamEndCapture(a, &g), CUDA_SUCCESS);
		assert_int_equal(cuGraphInstantiateWithFlags(&e, g, 0), CUDA_SUCCESS);
		assert_int_equal(cuGraphDestroy(g), CUDA_SUCCESS);
		assert_true(sum == -1);
		for (int round = 1; round < 4; round++) {
			for (int i = 0; i < 4; i++)
				in[i] = (float)(round * i);
			assert_int_equal(cuEventRecord(fork, a), CUDA_SUCCESS);
			assert_int_equal(cuGraphLaunch(e, a), CUDA_SUCCESS);
			if (strstr(mode, "late"))
				assert_true(sum == (round == 1 ? -1 : (float)(6 * (round - 1))));
			assert_int_equal(cuEventRecord(join, a), CUDA_SUCCESS);
			assert_int_equal(cuStreamSynchronize(a), CUDA_SUCCESS);
			assert_true(sum == (float)(6 * round));
			assert_int_equal(cuEventElapsedTime(&ms, fork, join), CUDA_SUCCESS);
			assert_true(ms >= 0);
		}
		cuGraphExecDestroy(e);
		cuEventDestroy_v2(fork), cuEventDestroy_v2(join);
		cuStreamDestroy_v2(a), cuStreamDestroy_v2(b);
		cuMemFreeHost(in);
	}
}

static void faults_on_demand(void **)
{
	CUdeviceptr p;
	int n = 4, version;
	driver_begin({"PTXSIM_FAULTS=alloc:3,version:11040"});
	assert_int_equal(cuDriverGetVersion(&version), CUDA_SUCCESS);
	assert_int_equal(version, 11040);
	for (int k = 1; k <= 4; k++) {
		assert_int_equal(cuMemAlloc_v2(&p, 16),
				 k == 3 ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_SUCCESS);
		assert_int_equal(cuMemFree_v2(p), CUDA_SUCCESS);
	}

	driver_begin({"PTXSIM_FAULTS=launch:2"});
	{
		bench t(PTX("warps"));
		CUdeviceptr x = t.upload(four), out = t.room(4);
		assert_int_equal(t.run("k_block_sum", 1, 32, out, x, n), CUDA_SUCCESS);
		assert_int_equal(t.run("k_block_sum", 1, 32, out, x, n), CUDA_ERROR_LAUNCH_FAILED);
		assert_int_equal(cuMemAlloc_v2(&p, 16), CUDA_ERROR_LAUNCH_FAILED);
		assert_int_equal(cuCtxSynchronize(), CUDA_ERROR_LAUNCH_FAILED);
	}
	driver_begin({"PTXSIM_FAULTS=lost:1", "PTXSIM_ASYNC=late"});
	{
		bench t(PTX("warps"));
		CUdeviceptr x = t.upload(four), out = t.room(4);
		float sum;
		assert_int_equal(t.run("k_block_sum", 1, 32, out, x, n), CUDA_SUCCESS);
		assert_int_equal(t.run("k_block_sum", 1, 32, out, x, n), CUDA_SUCCESS);
		assert_int_equal(cuMemcpyDtoH_v2(&sum, out, 4), CUDA_ERROR_DEVICE_UNAVAILABLE);
		assert_int_equal(cuMemcpyDtoH_v2(&sum, out, 4), CUDA_ERROR_DEVICE_UNAVAILABLE);
	}
	const char *name;
	assert_int_equal(cuGetErrorName(CUDA_ERROR_DEVICE_UNAVAILABLE, &name), CUDA_SUCCESS);
	assert_string_equal(name, "CUDA_ERROR_DEVICE_UNAVAILABLE");
}

static void old_drivers_lack_functions(void **)
{
	void *f;
	driver_begin({"PTXSIM_FAULTS=missing:cuGraphLaunch"});
	assert_int_equal(cuGetProcAddress_v2("cuMemAlloc", &f, 12000, 0, nullptr), CUDA_SUCCESS);
	assert_ptr_equal(f, (void *)cuMemAlloc_v2);
	assert_int_equal(cuGetProcAddress_v2("cuGraphLaunch", &f, 12000, 0, nullptr),
			 CUDA_ERROR_NOT_FOUND);
	assert_int_equal(cuGetProcAddress_v2("cuNothing", &f, 12000, 0, nullptr),
			 CUDA_ERROR_NOT_FOUND);
	void *old = dlopen(OLD_LIBRARY, RTLD_NOW | RTLD_LOCAL);
	assert_non_null(old);
	assert_non_null(dlsym(old, "cuLaunchKernel"));
	assert_null(dlsym(old, "cuGraphLaunch"));
	dlclose(old);
}

/* The counters of a run, as the process leaves them in a file. */
static void counters_are_left(void **)
{
	char path[] = "/tmp/ptxsim_report_XXXXXX";
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	std::string command = std::string("PTXSIM_REPORT=") + path + " " + SELF + " count";
	assert_int_equal(system(command.c_str()), 0);
	std::string report = text_of(path);
	/* two launches of 64 threads: 256 bytes each way, in as few sectors as hold them, without
	 * bank conflicts */
	for (const char *want : {"{\"kernel\":\"k_exchange\",\"launches\":2,",
				 "\"global_read_bytes\":512,\"global_write_bytes\":512,"
				 "\"sectors\":32,\"ideal_sectors\":32,"})
		if (!strstr(report.c_str(), want))
			fail_msg("no %s in %s", want, report.c_str());
	assert_null(strstr(report.c_str(), "\"line\""));
	remove(path);
}

static int count()
{
	setenv("PTXSIM_ON_FAULT", "error", 1);
	CUcontext c;
	if (cuInit(0) || cuDevicePrimaryCtxRetain(&c, 0) || cuCtxSetCurrent(c))
		return 1;
	bench t(PTX("warps"));
	CUdeviceptr x = t.upload(std::vector<float>(64)), out = t.room(256);
	t.dynamic = 256;
	return t.run("k_exchange", 1, 64, out, x) || t.run("k_exchange", 1, 64, out, x);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "count"))
		return count();
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refuses_what_it_does_not_know),
		cmocka_unit_test(memory_is_counted_and_bounded),
		cmocka_unit_test(devices_are_apart),
		cmocka_unit_test(launches_are_checked),
		cmocka_unit_test(graphs_repeat),
		cmocka_unit_test(faults_on_demand),
		cmocka_unit_test(old_drivers_lack_functions),
		cmocka_unit_test(counters_are_left),
	};
	return cmocka_run_group_tests(tests, nullptr, nullptr);
}

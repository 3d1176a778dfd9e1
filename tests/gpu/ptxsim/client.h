/* The driver API as the tests of the stand-in call it; and a module with the buffers of one test
 * around it. */
#ifndef PTXSIM_CLIENT_H
#define PTXSIM_CLIENT_H

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>
#include "cuda_api.h"

extern "C" {
CUresult cuInit(unsigned flags);
CUresult cuDriverGetVersion(int *version);
CUresult cuDeviceGetCount(int *count);
CUresult cuDeviceGet(CUdevice *d, int n);
CUresult cuDeviceGetName(char *name, int bytes, CUdevice d);
CUresult cuDeviceGetAttribute(int *value, int attribute, CUdevice d);
CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d);
CUresult cuCtxSetCurrent(CUcontext c);
CUresult cuCtxSynchronize(void);
CUresult cuMemAlloc_v2(CUdeviceptr *p, size_t bytes);
CUresult cuMemFree_v2(CUdeviceptr p);
CUresult cuMemGetInfo_v2(size_t *left, size_t *total);
CUresult cuMemHostAlloc(void **p, size_t bytes, unsigned flags);
CUresult cuMemFreeHost(void *p);
CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void *from, size_t bytes);
CUresult cuMemcpyDtoH_v2(void *to, CUdeviceptr from, size_t bytes);
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t bytes, CUstream s);
CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t bytes, CUstream s);
CUresult cuMemsetD8_v2(CUdeviceptr at, unsigned char v, size_t count);
CUresult cuMemsetD32_v2(CUdeviceptr at, unsigned v, size_t count);
CUresult cuStreamCreate(CUstream *s, unsigned flags);
CUresult cuStreamSynchronize(CUstream s);
CUresult cuStreamDestroy_v2(CUstream s);
CUresult cuStreamWaitEvent(CUstream s, CUevent e, unsigned flags);
CUresult cuEventCreate(CUevent *e, unsigned flags);
CUresult cuEventRecord(CUevent e, CUstream s);
CUresult cuEventElapsedTime(float *ms, CUevent from, CUevent to);
CUresult cuEventDestroy_v2(CUevent e);
CUresult cuModuleLoadData(CUmodule *m, const void *image);
CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name);
CUresult cuModuleGetGlobal_v2(CUdeviceptr *p, size_t *bytes, CUmodule m, const char *name);
CUresult cuFuncGetAttribute(int *value, int attribute, CUfunction f);
CUresult cuFuncSetAttribute(CUfunction f, int attribute, int value);
CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
			unsigned by, unsigned bz, unsigned dynamic, CUstream s, void **arguments,
			void **extra);
CUresult cuLaunchCooperativeKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
				   unsigned by, unsigned bz, unsigned dynamic, CUstream s,
				   void **arguments);
CUresult cuStreamBeginCapture_v2(CUstream s, int mode);
CUresult cuStreamEndCapture(CUstream s, CUgraph *g);
CUresult cuGraphInstantiateWithFlags(CUgraphExec *e, CUgraph g, unsigned long long flags);
CUresult cuGraphLaunch(CUgraphExec e, CUstream s);
CUresult cuGraphDestroy(CUgraph g);
CUresult cuGraphExecDestroy(CUgraphExec e);
CUresult cuGetErrorName(CUresult code, const char **name);
CUresult cuGetProcAddress_v2(const char *name, void **f, int version, unsigned long long flags,
			     int *status);
const char *ptxsim_last_fault(void);
}

std::string text_of(const char *path);

/* Starts the driver anew under the variables given ("NAME=value"; all others of the stand-in are
 * taken away). */
void driver_begin(std::initializer_list<const char *> environment);

/* A module of the build and what one test gives it; buffers are freed with it. */
class bench
{
      public:
	explicit bench(const char *ptx_path);
	~bench();
	template <class T> CUdeviceptr upload(const std::vector<T> &v)
	{
		CUdeviceptr p = room(v.size() * sizeof(T));
		cuMemcpyHtoD_v2(p, v.data(), v.size() * sizeof(T));
		return p;
	}
	template <class T> std::vector<T> download(CUdeviceptr p, size_t count)
	{
		std::vector<T> v(count);
		cuMemcpyDtoH_v2(v.data(), p, count * sizeof(T));
		return v;
	}
	CUdeviceptr room(size_t bytes);
	template <class... A>
	CUresult run(const char *kernel, unsigned blocks, unsigned threads, A... arguments)
	{
		void *list[] = {(void *)&arguments...};
		return launch(kernel, blocks, threads, list);
	}
	CUfunction find(const char *kernel);
	unsigned dynamic = 0;
	bool cooperative = false;
	CUstream stream = nullptr;
	CUmodule module = nullptr;

      private:
	CUresult launch(const char *kernel, unsigned blocks, unsigned threads, void **arguments);
	std::vector<CUdeviceptr> buffers;
};

#endif

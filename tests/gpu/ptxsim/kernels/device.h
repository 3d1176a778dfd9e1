/* The instructions that CUDA C++ has no name for, for the kernels of this folder. */
#pragma once
#include <cooperative_groups.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>

#define KERNEL extern "C" __global__ void
#define FULL   0xffffffffu
#define INLINE static __device__ __forceinline__

INLINE uint32_t shared_address(const void *p)
{
	return (uint32_t)__cvta_generic_to_shared(p);
}

INLINE void copy16(void *to, const void *from)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)),
		     "l"(from)
		     : "memory");
}

INLINE void copy16_or_zero(void *to, const void *from, int bytes)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)),
		     "l"(from), "r"(bytes)
		     : "memory");
}

INLINE void copy_commit()
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}

template <int left> INLINE void copy_wait()
{
	asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory");
}

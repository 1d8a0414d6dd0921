// A threadgroup as a block of CUDA: its threads' positions, threadgroup memory, barriers, atomics. A simdgroup is a
// warp (warp.h). The mathematics is types.h's and math.h's, compiled without fast-math.
#pragma once
#define MSL_CUDA
#include "msl/runtime.h"
#include "msl/warp.h"

namespace msl
{
extern __shared__ __align__(16) unsigned char dynamic[]; // all [[threadgroup(n)]], one after the other

__device__ inline uint32_t block_index()
{
    return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
}
__device__ inline uint32_t lane()
{
    return block_index() % 32;
}
__device__ inline uint32_t members()
{
    const uint32_t rest = blockDim.x * blockDim.y * blockDim.z - block_index() / 32 * 32;
    return rest >= 32 ? 0xffffffffu : (1u << rest) - 1;
}

// Where this thread is; false for one behind the end of an uneven grid. There the threads of a threadgroup that is cut
// off are the block's first, so that simdgroups are whole warps.
__device__ inline bool here(const msl_cuda_parameters &given, group &g, thread &t)
{
    uint32_t x = threadIdx.x, y = threadIdx.y, z = threadIdx.z;
    g.position = {blockIdx.x, blockIdx.y, blockIdx.z};
    g.count = {gridDim.x, gridDim.y, gridDim.z};
    g.size = g.full_size = {blockDim.x, blockDim.y, blockDim.z};
    g.grid = {g.count.x * g.size.x, g.count.y * g.size.y, g.count.z * g.size.z};
    if (given.grid[0] != 0) {
        g.grid = {given.grid[0], given.grid[1], given.grid[2]};
        g.size = {min(g.size.x, g.grid.x - g.position.x * g.size.x), min(g.size.y, g.grid.y - g.position.y * g.size.y),
                  min(g.size.z, g.grid.z - g.position.z * g.size.z)};
        const uint32_t index = block_index();
        x = index % g.size.x;
        y = index / g.size.x % g.size.y;
        z = index / g.size.x / g.size.y;
        if (z >= g.size.z) return false;
    }
    t = thread_at(g, x, y, z);
    return true;
}

// One variable of a kernel's: numbers tell them apart.
template <class T, int Number> __device__ __forceinline__ T &threadgroup_variable(const group &)
{
    __shared__ __align__(16) unsigned char memory[sizeof(T)];
    return *reinterpret_cast<T *>(memory);
}
} // namespace msl

namespace metal
{
__device__ inline void threadgroup_barrier(mem_flags)
{
    __syncthreads();
}

// Atomics have four bytes.
template <class T> struct atomic {
    static_assert(sizeof(T) == 4, "atomic_bool is not there in CUDA");
    T value;
};
template <class T> __device__ T msl_value_of(const volatile atomic<T> *a)
{
    return a->value;
}
template <class T> __device__ void msl_set_value(volatile atomic<T> *a, T value)
{
    a->value = value;
}
template <class T> __device__ bool msl_replace_value(volatile atomic<T> *a, T *expected, T value)
{
    const uint was = ::atomicCAS((uint *)&a->value, as_type<uint>(*expected), as_type<uint>(value));
    const bool done = was == as_type<uint>(*expected);
    *expected = as_type<T>(was);
    return done;
}
} // namespace metal
#define MSL_COUNT_ATOMIC(pointer) (void)0
#include "msl/atomics.h"
namespace metal
{
template <class T>
__device__ T atomic_fetch_add_explicit(volatile atomic<T> *a, typename msl_exactly<T>::type y, memory_order)
{
    return ::atomicAdd((T *)&a->value, y);
}
} // namespace metal

#define is_function_constant_defined(name) name##_msl_defined

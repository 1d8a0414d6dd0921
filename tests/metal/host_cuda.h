// CUDA's words for a host's compiler, so that what tools/metal makes for CUDA runs on the CPU: a thread is a fiber,
// blocks run one after the other, __syncthreads and the functions of a warp let fibers wait for each other. A kernel
// whose threads wait for ever ends the process. Included before a translated file; host_driver.cpp launches.
#pragma once
#include "msl_abi.h"

#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#define __device__
#define __host__
#define __global__ __attribute__((visibility("default")))
#define __constant__ __attribute__((visibility("default")))
#define __shared__ thread_local
#define __align__(n) __attribute__((aligned(n)))
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(n)

struct host_index {
    unsigned x, y, z;
};
enum host_state { READY, AT_BLOCK, AT_WARP, DONE };
struct host_fiber {
    ucontext_t start; // what makes its stack; from then on jumps, which ask nothing of the kernel
    jmp_buf here;
    bool started;
    host_index at;
    host_state state;
    unsigned slot;
};
static host_fiber host_fibers[1024];
static unsigned host_current, host_count;
static jmp_buf host_scheduler;
static host_index blockIdx, blockDim, gridDim;
#define threadIdx (host_fibers[host_current].at)

__attribute__((noinline)) static void host_wait(host_state state)
{
    host_fibers[host_current].state = state;
    if (_setjmp(host_fibers[host_current].here) == 0) _longjmp(host_scheduler, 1);
}
// Until the fiber waits or ends.
__attribute__((noinline)) static void host_resume(unsigned index)
{
    host_fiber *f = &host_fibers[index];
    host_current = index;
    if (_setjmp(host_scheduler) != 0) return;
    if (f->started) _longjmp(f->here, 1);
    f->started = true;
    setcontext(&f->start);
}
static inline void __syncthreads()
{
    host_wait(AT_BLOCK);
}
static inline void __syncwarp(unsigned)
{
    host_wait(AT_WARP);
}
static inline unsigned __shfl_sync(unsigned, unsigned value, int lane)
{
    host_fibers[host_current].slot = value;
    host_wait(AT_WARP);
    const unsigned other = host_fibers[host_current / 32 * 32 + unsigned(lane)].slot;
    host_wait(AT_WARP);
    return other;
}
static inline unsigned __ballot_sync(unsigned members, int value)
{
    host_fibers[host_current].slot = value != 0;
    host_wait(AT_WARP);
    unsigned bits = 0, first = host_current / 32 * 32;
    for (unsigned l = 0; l < 32 && first + l < host_count; l++)
        if ((members >> l & 1) && host_fibers[first + l].state != DONE) bits |= host_fibers[first + l].slot << l;
    host_wait(AT_WARP);
    return bits;
}
static inline unsigned min(unsigned a, unsigned b)
{
    return a < b ? a : b;
}
static inline unsigned atomicCAS(unsigned *p, unsigned expected, unsigned value)
{
    const unsigned was = *p;
    if (was == expected) *p = value;
    return was;
}
template <class T> static inline T atomicAdd(T *p, T value)
{
    const T was = *p;
    *p += value;
    return was;
}

namespace msl
{
alignas(16) thread_local unsigned char dynamic[32768];
}
typedef void host_kernel(const msl_cuda_parameters l);
static host_kernel *host_running;
static const msl_cuda_parameters *host_given;
static void host_begin()
{
    host_running(*host_given);
    host_fibers[host_current].state = DONE;
    _longjmp(host_scheduler, 1);
}
static void host_block()
{
    static char *stacks;
    enum { STACK = 32 << 10 };
    if (!stacks) stacks = (char *)malloc(1024 * STACK);
    for (unsigned i = 0; i < host_count; i++) {
        host_fiber *f = &host_fibers[i];
        f->at = {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
        f->state = READY;
        f->started = false;
        getcontext(&f->start);
        f->start.uc_stack.ss_sp = stacks + (size_t)i * STACK;
        f->start.uc_stack.ss_size = STACK;
        makecontext(&f->start, host_begin, 0);
    }
    for (;;) {
        bool ran = false;
        unsigned done = 0, block = 0;
        for (unsigned w = 0; w < host_count; w += 32) {
            unsigned end = w + 32 < host_count ? w + 32 : host_count, waiting = 0, gone = 0;
            for (unsigned i = w; i < end; i++) {
                if (host_fibers[i].state == READY) {
                    host_resume(i);
                    ran = true;
                }
                waiting += host_fibers[i].state == AT_WARP;
                gone += host_fibers[i].state == DONE;
                block += host_fibers[i].state == AT_BLOCK;
            }
            done += gone;
            if (waiting && waiting + gone == end - w) {
                for (unsigned i = w; i < end; i++)
                    if (host_fibers[i].state == AT_WARP) host_fibers[i].state = READY;
                ran = true;
            }
        }
        if (done == host_count) return;
        if (block && block + done == host_count) {
            for (unsigned i = 0; i < host_count; i++)
                if (host_fibers[i].state == AT_BLOCK) host_fibers[i].state = READY;
        } else if (!ran) {
            fprintf(stderr, "threads wait for each other for ever\n");
            abort();
        }
    }
}
extern "C" __attribute__((visibility("default"))) void host_run(host_kernel *kernel, const unsigned *grid,
                                                                const unsigned *block, const msl_cuda_parameters *l)
{
    host_running = kernel;
    host_given = l;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    host_count = block[0] * block[1] * block[2];
    for (unsigned z = 0; z < grid[2]; z++)
        for (unsigned y = 0; y < grid[1]; y++)
            for (unsigned x = 0; x < grid[0]; x++) {
                blockIdx = {x, y, z};
                host_block();
            }
}

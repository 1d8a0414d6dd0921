/* What happens beside the threads of a block: copies into shared memory (compute capability 8.0), mbarriers that count what
 * has arrived, bulk copies, and clusters, blocks that write into one another's shared memory (9.0). PTX ISA, "Data Movement
 * and Conversion Instructions" and "Parallel Synchronization". Shared memory and mbarriers go by their 32-bit address.
 * Before 8.0 copies are done when they return; the rest is empty where it does not exist, and must not be called. */
#ifndef TW_DEVICES_CUDA_ASYNC_CUH
#define TW_DEVICES_CUDA_ASYNC_CUH

#include "devices/cuda/kernel.h"

__device__ static inline unsigned tw_shared_address(const void *pointer)
{
    return (unsigned)__cvta_generic_to_shared(pointer);
}

/* ---- copies ---- */

/* 16 bytes, past L1, or 4; zeros where there is nothing to read (then `from` only has to be valid). */
__device__ static inline void tw_copy_async(unsigned to, const void *from, bool there)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(there ? 16 : 0) : "memory");
#else
    const int4 v = there ? *(const int4 *)from : make_int4(0, 0, 0, 0);
    asm volatile("st.shared.v4.s32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(v.x), "r"(v.y), "r"(v.z), "r"(v.w)
                 : "memory");
#endif
}
__device__ static inline void tw_copy_async_4(unsigned to, const float *from, bool there)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(there ? 4 : 0) : "memory");
#else
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(to), "f"(there ? *from : 0.0f) : "memory");
#endif
}
__device__ static inline void tw_copy_commit(void)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}
/* Until at most `pending` of the groups committed last are under way. */
template <int pending> __device__ static inline void tw_copy_wait(void)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(pending) : "memory");
#endif
}
/* Until all of this thread's copies are there, committed or not. */
__device__ static inline void tw_copy_wait_all(void)
{
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

/* ---- mbarriers: a phase ends when so many have arrived, and the bytes that they announced ---- */

__device__ static inline void tw_barrier_init(unsigned barrier, int arrivals)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
#endif
}

/* What this thread has initialised is seen by copies and by other blocks. */
__device__ static inline void tw_barrier_publish(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

__device__ static inline void tw_barrier_arrive(unsigned barrier)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
#endif
}

/* Arrives once this thread's copies up to here are there. */
__device__ static inline void tw_barrier_arrive_after_copies(unsigned barrier)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
#endif
}

/* Arrives, and announces bytes that are to come. */
__device__ static inline void tw_barrier_expect(unsigned barrier, int bytes)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
#endif
}

/* Until the phase of this parity has ended. */
__device__ static inline void tw_barrier_wait(unsigned barrier, int parity)
{
#if __CUDA_ARCH__ >= 900
    unsigned done;
    do
        asm volatile("{\n\t.reg .pred p;\n\t"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n\t"
                     "selp.u32 %0, 1, 0, p;\n\t}"
                     : "=r"(done)
                     : "r"(barrier), "r"(parity)
                     : "memory");
    while (!done);
#endif
}

/* 16-byte aligned, a multiple of 16 bytes, by one thread. */
__device__ static inline void tw_copy_bulk(unsigned to, const void *from, int bytes, unsigned barrier)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(to),
                 "l"(from), "r"(bytes), "r"(barrier)
                 : "memory");
#endif
}

/* ---- clusters ----
 *
 * A block sends numbers to another's shared memory, where an mbarrier counts the bytes that have arrived. */

/* All blocks have come so far. For those who have written nothing yet: tw_cluster_sync() waits for every write to be seen,
 * which is every access to memory that is under way. Whole warps. */
__device__ static inline void tw_cluster_arrive(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
#endif
}
__device__ static inline void tw_cluster_wait(void)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
}

__device__ static inline void tw_cluster_sync(void)
{
#if __CUDA_ARCH__ >= 900
    __syncwarp();
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
    tw_cluster_wait();
#endif
}

/* The same place in another block's shared memory. */
__device__ static inline unsigned tw_cluster_place(unsigned address, unsigned rank)
{
    unsigned there = 0;
#if __CUDA_ARCH__ >= 900
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address), "r"(rank));
#endif
    return there;
}

/* To a place in another block, whose mbarrier counts 4 or 8 bytes. */
__device__ static inline void tw_cluster_send(unsigned to, unsigned barrier, float x)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.f32 [%0], %1, [%2];" ::"r"(to), "f"(x),
                 "r"(barrier)
                 : "memory");
#endif
}
__device__ static inline void tw_cluster_send(unsigned to, unsigned barrier, float x, float y)
{
#if __CUDA_ARCH__ >= 900
    asm volatile("st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1, %2}, [%3];" ::"r"(to),
                 "f"(x), "f"(y), "r"(barrier)
                 : "memory");
#endif
}

/* tw_barrier_wait() for what other blocks have sent. */
__device__ static inline void tw_cluster_receive(unsigned barrier, int parity)
{
#if __CUDA_ARCH__ >= 900
    unsigned done;
    do
        asm volatile("{\n\t.reg .pred p;\n\t"
                     "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2;\n\t"
                     "selp.u32 %0, 1, 0, p;\n\t}"
                     : "=r"(done)
                     : "r"(barrier), "r"(parity)
                     : "memory");
    while (!done);
#endif
}

#endif

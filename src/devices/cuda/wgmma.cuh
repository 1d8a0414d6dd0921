/* Hopper's warpgroup matrix products, for compute capability 9.0a alone: wgmma with both operands in shared memory (PTX ISA, "Asynchronous Warpgroup Level Matrix Multiply-Accumulate"). */
#ifndef TW_DEVICES_CUDA_WGMMA_CUH
#define TW_DEVICES_CUDA_WGMMA_CUH

#include "devices/cuda/mma.cuh"

#include <stdint.h>

/* What this thread's copies wrote, the tensor core may read once the barrier is passed. */
__device__ static inline void tw_hand_over(uint32_t barrier)
{
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    tw_barrier_arrive(barrier);
}

/* ---- products ---- */

/* wgmma's matrix descriptor: rows of 128 bytes, groups of 8 rows `eight_rows` bytes apart, swizzled: 16-byte column i of the
 * row at address a lies at i ^ (a / 128 mod 8), whichever row a matrix begins with. */
__device__ static inline uint64_t tw_wgmma_matrix(uint32_t address, int eight_rows)
{
    return (uint64_t)(address >> 4 & 0x3fff) | (uint64_t)1 << 16 | (uint64_t)(eight_rows >> 4) << 32 |
           (uint64_t)1 << 62;
}

/* Inline assembly wants every register named. */
template <class T, int N> struct tw_wgmma;

#define TW_SUMS_8(i)                                                                                                   \
    "+f"(s[i]), "+f"(s[i + 1]), "+f"(s[i + 2]), "+f"(s[i + 3]), "+f"(s[i + 4]), "+f"(s[i + 5]), "+f"(s[i + 6]),        \
        "+f"(s[i + 7])
#define TW_SUMS_32(i) TW_SUMS_8(i), TW_SUMS_8(i + 8), TW_SUMS_8(i + 16), TW_SUMS_8(i + 24)
#define TW_NAMES_32                                                                                                    \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, "   \
    "%24, %25, %26, %27, %28, %29, %30, %31"
#define TW_NAMES_64                                                                                                    \
    TW_NAMES_32                                                                                                        \
    ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, "           \
    "%52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define TW_NAMES_128                                                                                                   \
    TW_NAMES_64                                                                                                        \
    ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

/* sums += a * b: 64 rows, n columns, 32 bytes of k. */
#define TW_WGMMA(type, n, sums, a_name, b_name, instruction, flags)                                                    \
    template <> struct tw_wgmma<type, n> {                                                                             \
        __device__ static inline void add(float *s, uint64_t a, uint64_t b)                                            \
        {                                                                                                              \
            asm volatile("wgmma.mma_async.sync.aligned." instruction " {" TW_NAMES_##sums "}, %" #a_name ", %" #b_name \
                                                                                          ", 1, 1, 1" flags ";"        \
                         : TW_WGMMA_SUMS_##sums                                                                        \
                         : "l"(a), "l"(b));                                                                            \
        }                                                                                                              \
    };
#define TW_WGMMA_SUMS_32 TW_SUMS_32(0)
#define TW_WGMMA_SUMS_64 TW_SUMS_32(0), TW_SUMS_32(32)
#define TW_WGMMA_SUMS_128 TW_SUMS_32(0), TW_SUMS_32(32), TW_SUMS_32(64), TW_SUMS_32(96)
TW_WGMMA(__half, 256, 128, 128, 129, "m64n256k16.f32.f16.f16", ", 0, 0")
TW_WGMMA(__nv_bfloat16, 256, 128, 128, 129, "m64n256k16.f32.bf16.bf16", ", 0, 0")
TW_WGMMA(float, 256, 128, 128, 129, "m64n256k8.f32.tf32.tf32", "")
TW_WGMMA(__half, 128, 64, 64, 65, "m64n128k16.f32.f16.f16", ", 0, 0")
TW_WGMMA(__nv_bfloat16, 128, 64, 64, 65, "m64n128k16.f32.bf16.bf16", ", 0, 0")
TW_WGMMA(float, 128, 64, 64, 65, "m64n128k8.f32.tf32.tf32", "")
TW_WGMMA(__half, 64, 32, 32, 33, "m64n64k16.f32.f16.f16", ", 0, 0")
TW_WGMMA(__nv_bfloat16, 64, 32, 32, 33, "m64n64k16.f32.bf16.bf16", ", 0, 0")
TW_WGMMA(float, 64, 32, 32, 33, "m64n64k8.f32.tf32.tf32", "")

#undef TW_SUMS_8
#undef TW_SUMS_32
#undef TW_NAMES_32
#undef TW_NAMES_64
#undef TW_NAMES_128
#undef TW_WGMMA
#undef TW_WGMMA_SUMS_32
#undef TW_WGMMA_SUMS_64
#undef TW_WGMMA_SUMS_128

/* Around the products of one step. */
__device__ static inline void tw_wgmma_begin(void)
{
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ static inline void tw_wgmma_commit(void)
{
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/* Until at most `pending` of the steps committed last are under way. */
template <int pending> __device__ static inline void tw_wgmma_wait(void)
{
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

#endif

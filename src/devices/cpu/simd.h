/* Sixteen floats as one value, written once and compiled for each instruction set.
 *
 * v16 is GCC's and clang's vector extension: one zmm register with AVX-512, two ymm with AVX2, four q with NEON or
 * xmm with SSE2. Every cpu_*.c is compiled once for each instruction set, with its compiler flags and TW_VARIANT
 * naming it (see cpu.h), so kernels are plain functions over v16 and nothing is dispatched inside a design.
 * (Function attributes would not do: gcc lowers an inlined body's vectors for the base target before it inlines.)
 * a * b + c contracts to a fused multiply-add where there is one (-ffp-contract=fast). */
#ifndef TW_DEVICES_CPU_SIMD_H
#define TW_DEVICES_CPU_SIMD_H

#include "devices/cpu/cpu.h"

#include <string.h>

typedef float v16 __attribute__((vector_size(64)));

#if defined(__x86_64__)
#define TW_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define TW_TARGET_AVX512 __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
#endif

#define TW_INLINE static inline __attribute__((always_inline))

/* Before a loop with constant bounds (at most 32 rounds for gcc): unrolled entirely, early enough for arrays that it
 * indexes to become registers. */
#if defined(__clang__)
#define TW_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TW_UNROLL _Pragma("GCC unroll 32")
#endif

TW_INLINE v16 v16_load(const float *p)
{
    v16 v;
    memcpy(&v, p, sizeof v);
    return v;
}

TW_INLINE void v16_store(float *p, v16 v)
{
    memcpy(p, &v, sizeof v);
}

TW_INLINE v16 v16_zero(void)
{
    return (v16){0};
}

#endif

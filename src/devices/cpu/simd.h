/* Sixteen floats as one value, written once and compiled for each instruction set.
 *
 * v16 is GCC's and clang's vector extension: one zmm register with AVX-512, two ymm with AVX2, four q with NEON or
 * xmm with SSE2. A kernel is an always_inline body over v16; TW_CPU_VARIANTS compiles it once per instruction set and
 * picks at run time. a * b + c contracts to a fused multiply-add where there is one (-ffp-contract=fast). */
#ifndef TW_DEVICES_CPU_SIMD_H
#define TW_DEVICES_CPU_SIMD_H

#include "devices/cpu/cpu.h"

#include <string.h>

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t v16i __attribute__((vector_size(64)));

#define TW_INLINE static inline __attribute__((always_inline))

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

TW_INLINE v16 v16_all(float s)
{
    return (v16){s, s, s, s, s, s, s, s, s, s, s, s, s, s, s, s};
}

TW_INLINE v16 v16_zero(void)
{
    return (v16){0};
}

/* First n of 16; the rest zero. */
TW_INLINE v16 v16_load_part(const float *p, int n)
{
    v16 v = {0};
    memcpy(&v, p, (size_t)n * sizeof(float));
    return v;
}

TW_INLINE void v16_store_part(float *p, v16 v, int n)
{
    memcpy(p, &v, (size_t)n * sizeof(float));
}

/* NaN in `a` stays: a < b is false for it. */
TW_INLINE v16 v16_max(v16 a, v16 b)
{
    v16i keep = ~(a < b);
    return (v16)(((v16i)a & keep) | ((v16i)b & ~keep));
}

TW_INLINE v16 v16_min(v16 a, v16 b)
{
    v16i keep = ~(a > b);
    return (v16)(((v16i)a & keep) | ((v16i)b & ~keep));
}

TW_INLINE float v16_sum(v16 v)
{
    float s[16];
    memcpy(s, &v, sizeof s);
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) s[i] += s[i + half];
    return s[0];
}

/* TW_CPU_VARIANTS(body, args) defines `body_for(isa)`, which returns body compiled for that instruction set;
 * body is a TW_INLINE function void(const args *). */
#if defined(__x86_64__)
#define TW_TARGET_AVX2 __attribute__((target("avx2,fma")))
#define TW_TARGET_AVX512 __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma")))
#define TW_CPU_VARIANTS(body, args)                                                                                    \
    TW_TARGET_AVX512 static void body##_avx512(const args *a) { body(a, TW_ISA_AVX512); }                              \
    TW_TARGET_AVX2 static void body##_avx2(const args *a) { body(a, TW_ISA_AVX2); }                                    \
    static void body##_portable(const args *a) { body(a, TW_ISA_PORTABLE); }                                           \
    static inline void (*body##_for(tw_isa isa))(const args *)                                                         \
    {                                                                                                                  \
        return isa == TW_ISA_AVX512 ? body##_avx512 : isa == TW_ISA_AVX2 ? body##_avx2 : body##_portable;              \
    }
#else
#define TW_CPU_VARIANTS(body, args)                                                                                    \
    static void body##_neon(const args *a) { body(a, TW_ISA_NEON); }                                                   \
    static inline void (*body##_for(tw_isa isa))(const args *)                                                         \
    {                                                                                                                  \
        (void)isa;                                                                                                     \
        return body##_neon;                                                                                            \
    }
#endif

#endif

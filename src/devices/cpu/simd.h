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
#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef float v16 __attribute__((vector_size(64)));
typedef int32_t v16i __attribute__((vector_size(64)));

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

/* s - 0 is s, signed zeros included; spelt so because gcc makes one broadcast of it, and sixteen inserts of a list. */
TW_INLINE v16 v16_all(float s)
{
    return s - (v16){0};
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

/* NaN in `a` stays: a < b is false for it, and x86's instructions give their second operand where one is NaN. Spelt as
 * intrinsics because gcc takes the comparison of a vector wider than its registers apart, element by element. */
#if defined(__AVX512F__)
TW_INLINE v16 v16_max(v16 a, v16 b)
{
    return (v16)_mm512_max_ps((__m512)b, (__m512)a);
}

TW_INLINE v16 v16_min(v16 a, v16 b)
{
    return (v16)_mm512_min_ps((__m512)b, (__m512)a);
}
#elif defined(__x86_64__)
#if defined(__AVX2__)
#define TW_PIECE __m256
#define TW_PIECE_MAX _mm256_max_ps
#define TW_PIECE_MIN _mm256_min_ps
#else
#define TW_PIECE __m128
#define TW_PIECE_MAX _mm_max_ps
#define TW_PIECE_MIN _mm_min_ps
#endif
enum { TW_PIECES = sizeof(v16) / sizeof(TW_PIECE) };
typedef union v16_pieces {
    v16 whole;
    TW_PIECE piece[TW_PIECES];
} v16_pieces;

TW_INLINE v16 v16_max(v16 a, v16 b)
{
    v16_pieces x = {a}, y = {b};
    for (int i = 0; i < TW_PIECES; i++) x.piece[i] = TW_PIECE_MAX(y.piece[i], x.piece[i]);
    return x.whole;
}

TW_INLINE v16 v16_min(v16 a, v16 b)
{
    v16_pieces x = {a}, y = {b};
    for (int i = 0; i < TW_PIECES; i++) x.piece[i] = TW_PIECE_MIN(y.piece[i], x.piece[i]);
    return x.whole;
}
#else
TW_INLINE v16 v16_max(v16 a, v16 b)
{
    for (int i = 0; i < 16; i++) a[i] = a[i] < b[i] ? b[i] : a[i];
    return a;
}

TW_INLINE v16 v16_min(v16 a, v16 b)
{
    for (int i = 0; i < 16; i++) a[i] = a[i] > b[i] ? b[i] : a[i];
    return a;
}
#endif

TW_INLINE float v16_sum(v16 v)
{
    float s[16];
    memcpy(s, &v, sizeof s);
    for (int half = 8; half > 0; half /= 2)
        for (int i = 0; i < half; i++) s[i] += s[i + half];
    return s[0];
}

/* body_for(isa), for kernels reached through a pointer. */
#define TW_CPU_VARIANTS(body, args)                                                                                    \
    static void body##_here(const args *a)                                                                             \
    {                                                                                                                  \
        body(a, TW_VARIANT_ISA);                                                                                       \
    }                                                                                                                  \
    static inline void (*body##_for(tw_isa isa))(const args *)                                                         \
    {                                                                                                                  \
        (void)isa;                                                                                                     \
        return body##_here;                                                                                            \
    }
#endif

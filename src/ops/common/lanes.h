/* One register of floats: TW_LANES is 16 with AVX-512, 8 with AVX2, else 4. For kernels that carry values from one
 * iteration to the next: where registers are narrower than v16, gcc keeps a v16 variable in memory. 16 is a multiple
 * of TW_LANES, so a block of 16 channels is a whole number of them. */
#ifndef TW_OPS_COMMON_LANES_H
#define TW_OPS_COMMON_LANES_H

#include "devices/cpu/simd.h"

#include <math.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define TW_LANES 16
#define TW_X86(name) _mm512_##name
typedef __m512 tw_register;
#elif defined(__AVX2__)
#define TW_LANES 8
#define TW_X86(name) _mm256_##name
typedef __m256 tw_register;
#elif defined(__x86_64__)
#define TW_LANES 4
#define TW_X86(name) _mm_##name
typedef __m128 tw_register;
#else
#define TW_LANES 4
#endif

typedef float lanes __attribute__((vector_size(TW_LANES * 4)));
typedef int32_t lanes_int __attribute__((vector_size(TW_LANES * 4)));
typedef uint32_t lanes_uint __attribute__((vector_size(TW_LANES * 4)));

TW_INLINE lanes lanes_load(const float *p)
{
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

TW_INLINE void lanes_store(float *p, lanes v)
{
    memcpy(p, &v, sizeof v);
}

TW_INLINE lanes lanes_all(float s)
{
    return s - (lanes){0};
}

/* The first n, at most all; the others `rest`, or left as they are. */
#if defined(__AVX512F__)
TW_INLINE lanes lanes_load_part(const float *p, size_t n, float rest)
{
    return (lanes)_mm512_mask_loadu_ps((tw_register)lanes_all(rest), (__mmask16)((1u << n) - 1), p);
}

TW_INLINE void lanes_store_part(float *p, lanes v, size_t n)
{
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (tw_register)v);
}
#elif defined(__AVX2__)
TW_INLINE __m256i lanes_first(size_t n)
{
    const lanes_int order = {0, 1, 2, 3, 4, 5, 6, 7};
    return (__m256i)(order < (int32_t)n);
}

TW_INLINE lanes lanes_load_part(const float *p, size_t n, float rest)
{
    const __m256i first = lanes_first(n);
    const lanes_int loaded = (lanes_int)_mm256_maskload_ps(p, first), others = (lanes_int)lanes_all(rest);
    return (lanes)(loaded | (others & ~(lanes_int)first));
}

TW_INLINE void lanes_store_part(float *p, lanes v, size_t n)
{
    _mm256_maskstore_ps(p, lanes_first(n), (tw_register)v);
}
#else
TW_INLINE lanes lanes_load_part(const float *p, size_t n, float rest)
{
    lanes v = lanes_all(rest);
    memcpy(&v, p, n * sizeof *p);
    return v;
}

TW_INLINE void lanes_store_part(float *p, lanes v, size_t n)
{
    memcpy(p, &v, n * sizeof *p);
}
#endif

/* b where one is NaN: x86's instructions give their second operand. */
TW_INLINE lanes lanes_max(lanes a, lanes b)
{
#ifdef TW_X86
    return (lanes)TW_X86(max_ps)((tw_register)a, (tw_register)b);
#else
    lanes_int take = a > b;
    return (lanes)(((lanes_int)a & take) | ((lanes_int)b & ~take));
#endif
}

TW_INLINE lanes lanes_min(lanes a, lanes b)
{
#ifdef TW_X86
    return (lanes)TW_X86(min_ps)((tw_register)a, (tw_register)b);
#else
    lanes_int take = a < b;
    return (lanes)(((lanes_int)a & take) | ((lanes_int)b & ~take));
#endif
}

/* min(max(v, low), high); NaN passes. */
TW_INLINE lanes lanes_clip(lanes v, lanes low, lanes high)
{
    return lanes_min(high, lanes_max(low, v));
}

TW_INLINE lanes lanes_sqrt(lanes v)
{
#ifdef TW_X86
    return (lanes)TW_X86(sqrt_ps)((tw_register)v);
#else
    for (int i = 0; i < TW_LANES; i++) v[i] = sqrtf(v[i]);
    return v;
#endif
}

TW_INLINE float lanes_sum(lanes v)
{
    float s[TW_LANES];
    memcpy(s, &v, sizeof s);
    for (int half = TW_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) s[i] += s[i + half];
    return s[0];
}

/* Every second element of two vectors side by side, from the first or the second on. */
#if TW_LANES == 16
TW_INLINE lanes lanes_even(lanes a, lanes b)
{
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}

TW_INLINE lanes lanes_odd(lanes a, lanes b)
{
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}
#elif TW_LANES == 8
TW_INLINE lanes lanes_even(lanes a, lanes b)
{
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14);
}

TW_INLINE lanes lanes_odd(lanes a, lanes b)
{
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15);
}
#else
TW_INLINE lanes lanes_even(lanes a, lanes b)
{
    return __builtin_shufflevector(a, b, 0, 2, 4, 6);
}

TW_INLINE lanes lanes_odd(lanes a, lanes b)
{
    return __builtin_shufflevector(a, b, 1, 3, 5, 7);
}
#endif

#endif

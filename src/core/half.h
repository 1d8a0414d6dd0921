/* The narrow floating-point formats, one number at a time: IEEE 754 half precision, bfloat16 and tf32; and elements of
 * memory that holds any of them. Narrowing rounds to nearest, ties to even, as the hardware does. */
#ifndef TW_CORE_HALF_H
#define TW_CORE_HALF_H

#include "tilewise.h"

#include <stdint.h>
#include <string.h>

static inline float tw_float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t tw_bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float tw_widen_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 1023;
    if (!exponent) return (sign ? -0x1p-24f : 0x1p-24f) * (float)mantissa;
    return tw_float_of(sign | (exponent == 31 ? 255 : exponent + 112) << 23 | mantissa << 13);
}

static inline uint16_t tw_narrow_half(float value)
{
    uint32_t bits = tw_bits_of(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00);  /* NaN */
    if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* 65,520 and more */
    if (magnitude < 0x38800000) /* below 2^-14: adding 0.5 leaves a multiple of 2^-24 in the low bits, rounded */
        return (uint16_t)(sign | (tw_bits_of(tw_float_of(magnitude) + 0.5f) - 0x3f000000));
    return (uint16_t)(sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13);
}

static inline float tw_widen_bfloat16(uint16_t narrow)
{
    return tw_float_of((uint32_t)narrow << 16);
}

static inline uint16_t tw_narrow_bfloat16(float value)
{
    uint32_t bits = tw_bits_of(value);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* 10 bits of mantissa, in a float. */
static inline float tw_round_tf32(float value)
{
    uint32_t bits = tw_bits_of(value);
    if ((bits & 0x7f800000) == 0x7f800000) return value;
    return tw_float_of((bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffu);
}

/* Elements of memory whose type is known as it runs: float32, float16 or bfloat16. */
static inline float tw_read_element(const void *memory, tw_dtype dtype, size_t index)
{
    if (dtype == TW_F16) return tw_widen_half(((const uint16_t *)memory)[index]);
    if (dtype == TW_BF16) return tw_widen_bfloat16(((const uint16_t *)memory)[index]);
    return ((const float *)memory)[index];
}

static inline void tw_write_element(void *memory, tw_dtype dtype, size_t index, float value)
{
    if (dtype == TW_F16)
        ((uint16_t *)memory)[index] = tw_narrow_half(value);
    else if (dtype == TW_BF16)
        ((uint16_t *)memory)[index] = tw_narrow_bfloat16(value);
    else
        ((float *)memory)[index] = value;
}

/* What a precision's multiplications make of a number. */
static inline float tw_round_to(tw_precision precision, float value)
{
    switch (precision) {
    case TW_PRECISION_TF32: return tw_round_tf32(value);
    case TW_PRECISION_FP16: return tw_widen_half(tw_narrow_half(value));
    case TW_PRECISION_BF16: return tw_widen_bfloat16(tw_narrow_bfloat16(value));
    case TW_PRECISION_FP32: break;
    }
    return value;
}

#endif

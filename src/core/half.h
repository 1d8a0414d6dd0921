/* IEEE 754 half precision, as files store it. */
#ifndef TW_CORE_HALF_H
#define TW_CORE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float tw_widen_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 1023;
    if (!exponent) return (sign ? -0x1p-24f : 0x1p-24f) * (float)mantissa;
    uint32_t bits = sign | (exponent == 31 ? 255 : exponent + 112) << 23 | mantissa << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif

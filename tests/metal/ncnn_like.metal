// Kernels in the manner of mobile inference engines: four channels a vector, specialised by function constants, fp16
// storage with fp32 sums, border clamps by select.
#include <metal_stdlib>
using namespace metal;

constant int kernel_w [[function_constant(0)]];
constant int stride_w [[function_constant(1)]];
constant bool use_bias [[function_constant(2)]];
constant float slope [[function_constant(3)]];
constant bool has_slope = is_function_constant_defined(slope);
constant int MAX_CHANNELS = 4;

struct ConvParams {
    int w, h, c, outw, outh, outc;
};

static inline float4 activation(float4 v)
{
    if (has_slope) return select(v * slope, v, v > 0.0f);
    return max(v, 0.0f);
}

template <typename T4>
static float4 convolve(const device T4 *bottom, const device half4x4 *weight, constant ConvParams &p, int2 at, int outc)
{
    float4 sum = 0.0f;
    for (int q = 0; q < p.c; q++) {
        const device T4 *plane = bottom + q * p.w * p.h;
        for (int y = 0; y < kernel_w; y++)
            for (int x = 0; x < kernel_w; x++) {
                int2 from = at * stride_w + int2(x, y);
                if (any(from >= int2(p.w, p.h))) continue;
                float4 v = float4(plane[from.y * p.w + from.x]);
                const device half4x4 &k = weight[((outc * p.c + q) * kernel_w + y) * kernel_w + x];
                half4 column0 = k[0], column1 = k[1], column2 = k[2], column3 = k[3];
                sum += float4(dot(v, float4(column0)), dot(v, float4(column1)), dot(v, float4(column2)),
                              dot(v, float4(column3)));
            }
    }
    return sum;
}

kernel void convolution_pack4(const device half4 *bottom [[buffer(0)]], device half4 *top [[buffer(1)]],
                              const device half4x4 *weight [[buffer(2)]],
                              const device float4 *bias [[buffer(3), function_constant(use_bias)]],
                              constant ConvParams &p [[buffer(4)]], ushort3 gid [[thread_position_in_grid]])
{
    if (int(gid.x) >= p.outw || int(gid.y) >= p.outh || int(gid.z) >= p.outc) return;
    float4 sum = convolve(bottom, weight, p, int2(gid.xy), gid.z);
    if (use_bias) sum += bias[gid.z];
    top[(gid.z * p.outh + gid.y) * p.outw + gid.x] = half4(activation(sum));
}

// Resize by bilinear weights, clamped at the border, with swizzles on both sides of an assignment.
kernel void resize(const device float4 *in [[buffer(0)]], device float4 *out [[buffer(1)]],
                   constant int4 &size [[buffer(2)]],
                   uint2 gid [[thread_position_in_grid]])
{
    if (gid.x >= uint(size.z) || gid.y >= uint(size.w)) return;
    float2 scale = float2(size.xy) / float2(size.zw);
    float2 at = (float2(gid) + 0.5f) * scale - 0.5f;
    int2 low = clamp(int2(floor(at)), int2(0), size.xy - 1);
    int2 high = min(low + 1, size.xy - 1);
    float2 part = saturate(at - float2(low));
    float4 top = mix(in[low.y * size.x + low.x], in[low.y * size.x + high.x], part.x);
    float4 bottom = mix(in[high.y * size.x + low.x], in[high.y * size.x + high.x], part.x);
    float4 result;
    result.xy = mix(top, bottom, part.y).xy;
    result.zw = mix(top, bottom, part.y).zw;
    out[gid.y * size.z + gid.x] = result.bgra.zyxw;
}

// 2x2 pooling of half4, channels innermost.
kernel void pool_max(const device half4 *in [[buffer(0)]], device half4 *out [[buffer(1)]],
                     constant uint2 &size [[buffer(2)]],
                     uint3 gid [[thread_position_in_grid]])
{
    if (any(gid.xy >= size / 2)) return;
    uint at = (gid.z * size.y + gid.y * 2) * size.x + gid.x * 2;
    half4 top = max(in[at], in[at + 1]), bottom = max(in[at + size.x], in[at + size.x + 1]);
    out[(gid.z * (size.y / 2) + gid.y) * (size.x / 2) + gid.x] = max(top, bottom);
}

/* conv2d, implicit_gemm on Metal: a matrix product in registers that gathers its windows straight from the image.
 *
 * A thread computes 8 channels of P pixels of the batch (P is 4, or 1 where pixels are few), 8 P sums in registers. A
 * threadgroup is 32 lanes by 4 simdgroups: all share 32 P pixels, each simdgroup has 8 channels of its own. Lane i has
 * the pixels i, i + 32, ...: a load of x is coalesced over the simdgroup, and the other three simdgroups find it in the
 * core's cache. The 8 weights of a step are the same address for all lanes, one read of 32 bytes (16 in fp16): they lie
 * packed as [group][channels / 8][kh * kw][icg][8], in the order in which they are read.
 *
 * Nothing is staged in threadgroup memory and there is no barrier: the study found on the A13 that the barriers of a
 * tiled product cost more than its tiles saved, and these GPUs hide a cached load behind other simdgroups' arithmetic.
 * The window position is the outer loop, so where a pixel's element lies, and whether it lies in the padding, is found
 * once for all input channels; the inner loop is P loads, 8 shared ones and 8 P multiply-adds.
 *
 * x crosses device memory about once for each 32 channels of y that the last-level cache does not serve, w once for
 * each 32 P pixels. The multiply-adds bound it where the batch has some thousand pixels; loads issue at the rate of 12
 * to 32 multiply-adds, which Apple7 and later hide better than Apple4 to Apple6, with fewer registers a thread.
 *
 * Source: the implicit product of cuDNN (Chetlur et al. 2014), register tiles of Volkov and Demmel (2008). */
#include "ops/common/metal_kernel.h"
#include "ops/conv2d/conv2d.h"

template <typename In, typename W, typename Out, int P>
kernel void implicit_gemm(constant tw_conv2d &p [[buffer(0)]], device const In *x [[buffer(1)]],
                          device const vec<W, 4> *w [[buffer(2)]], device const float *bias [[buffer(3)]],
                          device const Out *residual [[buffer(4)]], device Out *y [[buffer(5)]],
                          uint3 tile [[threadgroup_position_in_grid]],
                          uint3 thread_at [[thread_position_in_threadgroup]])
{
    const int icg = p.ic / p.groups, ocg = p.oc / p.groups, blocks = (ocg + 7) / 8, pixels = p.oh * p.ow;
    const int block = int(tile.y) * 4 + int(thread_at.y), group = int(tile.z), plane = p.ih * p.iw;
    if (block >= blocks) return;
    int image[P], top[P], left[P], to[P]; /* of y: channel 0 of the pixel; -1 where there is none */
    for (int j = 0; j < P; j++) {
        const int at = (int(tile.x) * P + j) * 32 + int(thread_at.x);
        const int n = at / pixels, pixel = at - n * pixels, oy = pixel / p.ow;
        to[j] = n < p.n ? n * p.oc * pixels + pixel : -1;
        image[j] = n < p.n ? (n * p.ic + group * icg) * plane : 0;
        top[j] = n < p.n ? oy * p.sh - p.pt : p.ih;
        left[j] = (pixel - oy * p.ow) * p.sw - p.pl;
    }
    float4 low[P], high[P];
    for (int j = 0; j < P; j++) low[j] = high[j] = float4(0.0f);
    device const vec<W, 4> *weights = w + (group * blocks + block) * p.kh * p.kw * icg * 2;
    for (int ky = 0; ky < p.kh; ky++) {
        for (int kx = 0; kx < p.kw; kx++) {
            int from[P];
            bool inside[P];
            for (int j = 0; j < P; j++) {
                const int iy = top[j] + ky * p.dilh, ix = left[j] + kx * p.dilw;
                inside[j] = iy >= 0 && iy < p.ih && ix >= 0 && ix < p.iw;
                from[j] = image[j] + (inside[j] ? iy * p.iw + ix : 0);
            }
            for (int c = 0; c < icg; c++) {
                const float4 first = float4(weights[0]), second = float4(weights[1]);
                weights += 2;
                for (int j = 0; j < P; j++) {
                    const float v = inside[j] ? float(x[from[j] + c * plane]) : 0.0f;
                    low[j] = fma(float4(v), first, low[j]);
                    high[j] = fma(float4(v), second, high[j]);
                }
            }
        }
    }
    for (int j = 0; j < P; j++) {
        if (to[j] < 0) continue;
        for (int i = 0; i < 8 && block * 8 + i < ocg; i++) {
            const int oc = group * ocg + block * 8 + i, at = to[j] + oc * pixels;
            float v = i < 4 ? low[j][i] : high[j][i - 4];
            if (p.has_bias != 0) v += bias[oc];
            if (p.has_residual != 0) v += float(residual[at]);
            y[at] = Out(tw_activate(v, p.activation));
        }
    }
}

template [[host_name("large_f32")]] kernel
decltype(implicit_gemm<float, float, float, 4>) implicit_gemm<float, float, float, 4>;
template [[host_name("large_f16")]] kernel
decltype(implicit_gemm<half, half, half, 4>) implicit_gemm<half, half, half, 4>;
template [[host_name("large_f32_f16")]] kernel
decltype(implicit_gemm<float, half, half, 4>) implicit_gemm<float, half, half, 4>;
template [[host_name("large_f16_f32")]] kernel
decltype(implicit_gemm<half, half, float, 4>) implicit_gemm<half, half, float, 4>;
template [[host_name("small_f32")]] kernel
decltype(implicit_gemm<float, float, float, 1>) implicit_gemm<float, float, float, 1>;
template [[host_name("small_f16")]] kernel
decltype(implicit_gemm<half, half, half, 1>) implicit_gemm<half, half, half, 1>;
template [[host_name("small_f32_f16")]] kernel
decltype(implicit_gemm<float, half, half, 1>) implicit_gemm<float, half, half, 1>;
template [[host_name("small_f16_f32")]] kernel
decltype(implicit_gemm<half, half, float, 1>) implicit_gemm<half, half, float, 1>;

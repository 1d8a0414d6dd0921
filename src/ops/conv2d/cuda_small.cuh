/* conv2d in the small-network kernel. Eight threads compute four output channels of two pixels: each takes every eighth
 * term of the sums, (input channel, ky, kx), reads the term's four weights at once and two pixels, and adds to eight sums
 * in registers. Three exchanges between lanes, of four, two and one sums, add the eight partial sums and leave each lane
 * with one output. Where a term's pixel lies is a table's entry, made when weights are packed: a term costs four reads of
 * shared memory for eight multiply-adds, and reads bound it.
 *
 * Packed: [ceil(oc / 4)][terms][4], then [terms] pairs of (offset in x; rows and columns from the window's corner). */
#ifndef TW_OPS_CONV2D_CUDA_SMALL_CUH
#define TW_OPS_CONV2D_CUDA_SMALL_CUH

#include "devices/cuda/small.cuh"

enum { TW_SMALL_LANES = 8 };

__device__ static inline float tw_small_halve(float keep, float give, unsigned group, int distance)
{
    return keep + __shfl_xor_sync(group, give, distance);
}

template <bool PADDED> __device__ static void tw_small_conv2d(const tw_small_sink &sink, const tw_small_part &part)
{
    const tw_small_step &s = sink.step;
    const tw_conv2d &p = s.conv;
    const int lane = threadIdx.x % TW_SMALL_LANES, terms = tw_small_terms(p);
    const unsigned group = 0xffu << (threadIdx.x & 24u);
    const int pixels = part.rows() * s.w, pairs = (pixels + 1) / 2;
    const int quads = (part.c1 - part.c0 + TW_SMALL_CHANNELS - 1) / TW_SMALL_CHANNELS;
    const float *x = sink.shared + s.in;
    const float4 *weights = (const float4 *)(sink.shared + s.weights);
    const int2 *table = (const int2 *)(sink.shared + s.table);
    if (pixels <= 0) return;
    int quad = 0; /* of the tile; first: its first pixel */
    for (int first = threadIdx.x / TW_SMALL_LANES;; first += TW_SMALL_THREADS / TW_SMALL_LANES) {
        for (; first >= pairs; first -= pairs) quad++;
        if (quad >= quads) break;
        const int second = min(first + pairs, pixels - 1);
        const int pixel[2] = {first, second};
        int top[2], left[2], base[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int row = (int)s.columns.quotient((unsigned)pixel[i]);
            top[i] = (part.y0 + row) * p.sh - p.pt;
            left[i] = (pixel[i] - row * s.w) * p.sw - p.pl;
            base[i] = top[i] * p.iw + left[i];
        }
        float sums[2][4] = {};
        const float4 *w = weights + quad * terms;
#pragma unroll 4
        for (int k = lane; k < terms; k += TW_SMALL_LANES) {
            const int2 t = table[k];
            const float4 v = w[k];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float value = 0;
                if (!PADDED || ((unsigned)(top[i] + (t.y >> 16)) < (unsigned)p.ih &&
                                (unsigned)(left[i] + (t.y & 0xffff)) < (unsigned)p.iw))
                    value = x[base[i] + t.x];
                sums[i][0] = fmaf(v.x, value, sums[i][0]);
                sums[i][1] = fmaf(v.y, value, sums[i][1]);
                sums[i][2] = fmaf(v.z, value, sums[i][2]);
                sums[i][3] = fmaf(v.w, value, sums[i][3]);
            }
        }
        /* Lane l ends with pixel l / 4 and channel l % 4. */
        const bool high4 = lane & 4, high2 = lane & 2, high1 = lane & 1;
        float four[4], two[2];
#pragma unroll
        for (int i = 0; i < 4; i++)
            four[i] = tw_small_halve(high4 ? sums[1][i] : sums[0][i], high4 ? sums[0][i] : sums[1][i], group, 4);
#pragma unroll
        for (int i = 0; i < 2; i++)
            two[i] = tw_small_halve(high2 ? four[2 + i] : four[i], high2 ? four[i] : four[2 + i], group, 2);
        float sum = tw_small_halve(high1 ? two[1] : two[0], high1 ? two[0] : two[1], group, 1);
        const int c = part.c0 + quad * TW_SMALL_CHANNELS + lane % 4;
        if (c >= part.c1 || (high4 && first + pairs >= pixels)) continue;
        const int index = c * s.h * s.w + part.y0 * s.w + (high4 ? second : first);
        if (p.has_bias) sum += sink.shared[s.bias + c - part.c0];
        if (p.has_residual) sum += sink.shared[s.other + index];
        sink.put(index, tw_activate(sum, p.activation));
    }
}

#endif

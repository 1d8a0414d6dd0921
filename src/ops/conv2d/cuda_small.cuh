/* conv2d in the small-network kernel. Eight threads, or four where sums are short, compute four output channels of two
 * pixels: each takes every eighth term of the sums, (input channel, ky, kx), reads the term's four weights at once and two
 * pixels, and adds to eight sums in registers. Exchanges between lanes, of four, two and one sums, add the partial sums
 * and leave each lane with one output, or two. Where a term's pixel lies is a table's entry, made when weights are packed:
 * a term costs four reads of shared memory for eight multiply-adds, and issuing them bounds it.
 *
 * Packed: [ceil(oc / 4)][terms][4], then [terms] pairs of (offset in x; rows and columns from the window's corner). */
#ifndef TW_OPS_CONV2D_CUDA_SMALL_CUH
#define TW_OPS_CONV2D_CUDA_SMALL_CUH

#include "devices/cuda/small.cuh"

/* At most so many terms are a short sum. */
enum { TW_SMALL_SHORT = 64 };

/* The partial sums of the lanes of a group: lane l is left with sums l * 8 / LANES and, of four lanes, the one behind. */
template <int LANES> __device__ static inline void tw_small_gather(float (&sums)[8], int lane)
{
    const unsigned group = ((1u << LANES) - 1) << (threadIdx.x % 32 / LANES * LANES);
#pragma unroll
    for (int distance = LANES / 2, kept = 4; distance > 0; distance /= 2, kept /= 2) {
        const bool upper = lane & distance;
#pragma unroll
        for (int i = 0; i < kept; i++) {
            const float keep = upper ? sums[kept + i] : sums[i], give = upper ? sums[i] : sums[kept + i];
            sums[i] = keep + __shfl_xor_sync(group, give, distance);
        }
    }
}

template <int LANES, bool PADDED>
__device__ static void tw_small_conv2d_by(const tw_small_sink &sink, const tw_small_part &part)
{
    constexpr int kept = 8 / LANES, slots = TW_SMALL_THREADS / LANES;
    const tw_small_step &s = sink.step;
    const tw_conv2d &p = s.conv;
    const int lane = threadIdx.x % LANES, terms = tw_small_terms(p);
    const int pixels = part.rows() * s.w, pairs = (pixels + 1) / 2;
    const int quads = (part.c1 - part.c0 + TW_SMALL_CHANNELS - 1) / TW_SMALL_CHANNELS;
    const float *x = sink.shared + s.in;
    const float4 *weights = (const float4 *)(sink.shared + s.weights);
    const int2 *table = (const int2 *)(sink.shared + s.table);
    if (pixels <= 0) return;
    int quad = 0; /* of the tile; first: its first pixel */
    for (int first = threadIdx.x / LANES;; first += slots) {
        for (; first >= pairs; first -= pairs) quad++;
        if (quad >= quads) break;
        const int pixel[2] = {first, min(first + pairs, pixels - 1)};
        int top[2], left[2], base[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int row = (int)s.columns.quotient((unsigned)pixel[i]);
            top[i] = (part.y0 + row) * p.sh - p.pt;
            left[i] = (pixel[i] - row * s.w) * p.sw - p.pl;
            base[i] = top[i] * p.iw + left[i];
        }
        float sums[8] = {}; /* [pixel][channel] */
        const float4 *w = weights + quad * terms;
#pragma unroll 4
        for (int k = lane; k < terms; k += LANES) {
            const int2 t = table[k];
            const float4 v = w[k];
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float value = 0;
                if (!PADDED || ((unsigned)(top[i] + (t.y >> 16)) < (unsigned)p.ih &&
                                (unsigned)(left[i] + (t.y & 0xffff)) < (unsigned)p.iw))
                    value = x[base[i] + t.x];
                sums[4 * i] = fmaf(v.x, value, sums[4 * i]);
                sums[4 * i + 1] = fmaf(v.y, value, sums[4 * i + 1]);
                sums[4 * i + 2] = fmaf(v.z, value, sums[4 * i + 2]);
                sums[4 * i + 3] = fmaf(v.w, value, sums[4 * i + 3]);
            }
        }
        tw_small_gather<LANES>(sums, lane);
#pragma unroll
        for (int i = 0; i < kept; i++) {
            const int at = lane * kept + i, c = part.c0 + quad * TW_SMALL_CHANNELS + at % 4;
            const bool second = at >= 4;
            if (c >= part.c1 || (second && first + pairs >= pixels)) continue;
            const int index = (c * s.h + part.y0) * s.w + (second ? pixel[1] : pixel[0]);
            float sum = sums[i];
            if (p.has_bias) sum += sink.shared[s.bias + c - part.c0];
            if (p.has_residual) sum += sink.shared[s.other + index];
            sink.put(index, tw_activate(sum, p.activation));
        }
    }
}

__device__ static void tw_small_conv2d(const tw_small_sink &sink, const tw_small_part &part)
{
    const tw_conv2d &p = sink.step.conv;
    if (p.pt | p.pl | p.pb | p.pr)
        tw_small_conv2d_by<8, true>(sink, part);
    else if (tw_small_terms(p) > TW_SMALL_SHORT)
        tw_small_conv2d_by<8, false>(sink, part);
    else
        tw_small_conv2d_by<4, false>(sink, part);
}

#endif

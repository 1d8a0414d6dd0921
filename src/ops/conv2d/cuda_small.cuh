/* conv2d in the small-network kernel, and the 2x2 maximum pooling behind it where nothing else reads its result. Four,
 * eight or sixteen lanes compute four output channels of four pixels, of a pooling's window where there is one: each takes
 * every fourth (eighth, sixteenth) term of the sums, (input channel, ky, kx), reads the term's four weights at once and
 * four pixels, and adds to 16 sums in registers: some 30 instructions, 16 of them multiply-adds, and issuing them bounds
 * it. Exchanges between lanes, of eight, four, two and one sums, add the partial sums and leave each lane with four, two or
 * one pixel of a channel, from which a pooling takes the largest. Where a term's pixel lies is a table's entry, made when
 * weights are packed; it and the weights are read two terms ahead, and two terms' pixels at once. How many lanes is a matter of the layer alone, so that
 * its sums are the same in every launch, pooled or not.
 *
 * Packed: [ceil(oc / 4)][terms][4], then offsets in x, [terms], and rows and columns from the window's corner, [terms];
 * both are padded to 16 bytes. */
#ifndef TW_OPS_CONV2D_CUDA_SMALL_CUH
#define TW_OPS_CONV2D_CUDA_SMALL_CUH

#include "devices/cuda/small.cuh"

/* So many lanes that half of the threads of eight blocks are busy, each with four terms or more: more lanes would spend on
 * exchanges what they save in sums. */
__host__ static inline int tw_small_lanes_log2(const tw_conv2d &p)
{
    const double tiles = ceil(p.oc / (double)TW_SMALL_CHANNELS) * ceil(p.oh * (double)p.ow / 4) / TW_SMALL_BLOCKS;
    int log2 = 2;
    while (log2 < 4 && tiles * (2 << log2) <= TW_SMALL_THREADS / 2. && tw_small_terms(p) >= 4 * (2 << log2)) log2++;
    return log2;
}

/* Two lanes so far apart add their partial sums; each keeps half of them. */
template <int KEPT> __device__ static inline void tw_small_halve(float (&sums)[16], int distance)
{
    const bool upper = threadIdx.x & distance;
#pragma unroll
    for (int i = 0; i < KEPT; i++) {
        const float keep = upper ? sums[KEPT + i] : sums[i], give = upper ? sums[i] : sums[KEPT + i];
        sums[i] = keep + __shfl_xor_sync(0xffffffffu, give, distance);
    }
}

/* Adds the partial sums, [channel][pixel], of 2^log2 lanes: lane l is left with 16 / lanes of the sums, those from
 * 16 / lanes * l on. */
__device__ static inline void tw_small_gather(float (&sums)[16], int log2)
{
    tw_small_halve<8>(sums, 1 << log2 >> 1);
    tw_small_halve<4>(sums, 1 << log2 >> 2);
    if (log2 > 2) tw_small_halve<2>(sums, 1 << log2 >> 3);
    if (log2 > 3) tw_small_halve<1>(sums, 1);
}

/* As a pooling would that sees a first. */
__device__ static inline float tw_small_larger(float a, float b)
{
    return b > a || b != b ? b : a;
}

template <bool PADDED, bool POOLED>
__device__ static void tw_small_conv2d_by(const tw_small_step &s, const tw_small_part &part, const float *shared,
                                          const tw_small_sink &sink, const tw_small_gate &gate)
{
    constexpr int corners = POOLED ? 1 : 4;
    const tw_conv2d &p = s.conv;
    const tw_divisor by_columns = s.columns;
    const int log2 = s.lanes_log2, lanes = 1 << log2, lane = threadIdx.x & (lanes - 1), terms = s.terms;
    const int w = s.w, pixels = part.rows() * w, per_quad = POOLED ? pixels : (pixels + 3) / 4;
    const int tiles = (part.c1 - part.c0 + TW_SMALL_CHANNELS - 1) / TW_SMALL_CHANNELS * per_quad;
    const int iw = p.iw, down = p.sh * iw; /* from a window's first row of pixels to its second */
    const int *table = (const int *)(shared + s.pieces[TW_SMALL_TABLE].to), *windows = table + (terms + 3) / 4 * 4;
    const float low = s.low, high = s.high;
    for (int first = 0; first < tiles || first == 0; first += TW_SMALL_THREADS >> log2) {
        const int tile = first + ((int)threadIdx.x >> log2),
                  quad = tile < tiles ? tw_small_quotient(tile, per_quad) : 0;
        const int place = tile < tiles ? tile - quad * per_quad : 0, last = tile < tiles ? terms : 0;
        int top[corners], left[corners];
        const float *corner[corners];
#pragma unroll
        for (int i = 0; i < corners; i++) {
            const int pixel = POOLED ? place : max(min(place + i * per_quad, pixels - 1), 0);
            const int row = (int)by_columns.quotient((unsigned)pixel);
            top[i] = POOLED ? 2 * (part.y0 + row) * p.sh : (part.y0 + row) * p.sh - p.pt;
            left[i] = POOLED ? 2 * (pixel - row * w) : (pixel - row * w) * p.sw - p.pl;
            corner[i] = shared + s.in + top[i] * iw + left[i];
        }
        const float4 *weights = (const float4 *)(shared + s.pieces[TW_SMALL_WEIGHTS].to) + quad * terms;
        const int own = quad * TW_SMALL_CHANNELS + (lane * 4 >> log2), c = part.c0 + own; /* this lane's channel */
        const bool mine = tile < tiles && c < part.c1;
        if (first == 0) gate.wait_for_parameters();
        const float bias = p.has_bias && mine ? shared[s.pieces[TW_SMALL_BIAS].to + own] : 0;
        int offset[2] = {}, window[2] = {};
        float4 v[2] = {};
        const auto read_terms = [&](int k) {
#pragma unroll
            for (int j = 0; j < 2; j++) {
                if (k + j * lanes >= last) continue;
                v[j] = weights[k + j * lanes];
                offset[j] = table[k + j * lanes];
                if (PADDED) window[j] = windows[k + j * lanes];
            }
        };
        read_terms(lane);
        if (first == 0) gate.pass();
        float sums[16] = {}; /* [channel][pixel] */
#pragma unroll 1
        for (int k = lane; k < last; k += 2 * lanes) {
            const bool both = k + lanes < last;
            float value[2][4];
#pragma unroll
            for (int j = 0; j < 2; j++)
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const float *const from = corner[i % corners] + offset[j] + (POOLED ? i / 2 * down + i % 2 : 0);
                    const bool there = !PADDED || ((unsigned)(top[i % corners] + (window[j] >> 16)) < (unsigned)p.ih &&
                                                   (unsigned)(left[i % corners] + (window[j] & 0xffff)) < (unsigned)iw);
                    value[j][i] = there && (j == 0 || both) ? *from : 0;
                }
            const float4 of[2] = {v[0], v[1]};
            read_terms(k + 2 * lanes);
#pragma unroll
            for (int j = 0; j < 2; j++) {
                if (j == 1 && !both) break;
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    sums[i] = fmaf(of[j].x, value[j][i], sums[i]);
                    sums[4 + i] = fmaf(of[j].y, value[j][i], sums[4 + i]);
                    sums[8 + i] = fmaf(of[j].z, value[j][i], sums[8 + i]);
                    sums[12 + i] = fmaf(of[j].w, value[j][i], sums[12 + i]);
                }
            }
        }
        tw_small_gather(sums, log2);
        const int left_over = 16 >> log2, index = (c * s.h + part.y0) * w + place;
#pragma unroll
        for (int i = 0; i < 4; i++) sums[i] += bias;
        if (POOLED) {
            float largest = tw_small_bounded(sums[0], low, high);
#pragma unroll
            for (int i = 1; i < 4; i++)
                if (i < left_over) largest = tw_small_larger(largest, tw_small_bounded(sums[i], low, high));
#pragma unroll 1
            for (int distance = 1; distance < lanes / 4; distance *= 2) {
                const float other = __shfl_xor_sync(0xffffffffu, largest, distance);
                const bool upper = lane & distance;
                largest = tw_small_larger(upper ? other : largest, upper ? largest : other);
            }
            if (mine) sink.put(index, largest, lane & (lanes / 4 - 1), lanes / 4);
        } else {
            const int pixel0 = place + (lane * left_over & 3) * per_quad;
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int further = i * per_quad + (pixel0 - place);
                if (i >= left_over || !mine || place + further >= pixels) continue;
                if (p.has_residual) sums[i] += shared[s.other + index + further];
                sink.put(index + further, tw_small_bounded(sums[i], low, high));
            }
        }
    }
}

__device__ static void tw_small_conv2d(const tw_small_step &s, const tw_small_part &part, const float *shared,
                                       const tw_small_sink &sink, const tw_small_gate &gate)
{
    if (s.pooled)
        tw_small_conv2d_by<false, true>(s, part, shared, sink, gate);
    else if (s.conv.pt | s.conv.pl | s.conv.pb | s.conv.pr)
        tw_small_conv2d_by<true, false>(s, part, shared, sink, gate);
    else
        tw_small_conv2d_by<false, false>(s, part, shared, sink, gate);
}

#endif

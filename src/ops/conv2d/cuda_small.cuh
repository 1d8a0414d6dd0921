/* conv2d in the small-network kernel, in two ways.
 *
 * By lines: 3x3 and 5x5 windows, stride and dilation 1, no padding, rows of even length. Two or eight lanes compute
 * four output channels of a window of 2x2 pixels. Each takes every second (eighth) line of the sums' terms, an input
 * channel and row of taps, for which it reads 2 x (K + 1) numbers of x, two at a time, and K times four weights: 11
 * reads for the 80 multiply-adds of five taps, from two addresses with what is known when it is compiled added to
 * them. The first line's weights are in registers before x is there. Exchanges between lanes, of eight, four and two
 * sums, add the partial sums and leave each lane with two channels, or with one channel of one row. A 2x2 maximum
 * pooling behind the layer, where nothing else reads its result, takes the largest of the window at once. How many
 * lanes is a matter of the layer alone, so that its sums are the same in every launch, pooled or not; few lanes, since
 * exchanges cost instructions: four warps, one to each scheduler, are enough, 16 sums being independent.
 *
 * By terms, all others: four, eight or sixteen lanes compute four output channels of four pixels; each takes every
 * fourth (eighth, sixteenth) term, (input channel, ky, kx), reads the term's four weights at once and four pixels, and
 * adds to 16 sums: some 30 instructions, 16 of them multiply-adds, and issuing them bounds it. Where a term's pixel
 * lies is a table's entry, made when weights are packed; it and the weights are read two terms ahead, and two terms'
 * pixels at once.
 *
 * Packed: [ceil(oc / 4)][terms][4], then offsets in x, [terms], and rows and columns from the window's corner, [terms];
 * both are padded to 16 bytes. */
#ifndef TW_OPS_CONV2D_CUDA_SMALL_CUH
#define TW_OPS_CONV2D_CUDA_SMALL_CUH

#include "devices/cuda/small.cuh"

/* Can a layer go by lines? */
__host__ static inline bool tw_small_by_lines(const tw_conv2d &p)
{
    return (p.kh == 3 || p.kh == 5) && p.kw == p.kh && p.sh == 1 && p.sw == 1 && p.dilh == 1 && p.dilw == 1 &&
           (p.pt | p.pl | p.pb | p.pr) == 0 && p.iw % 2 == 0;
}

/* By lines: eight lanes where they are 128 threads of eight blocks or less, so that each has a line or more. By terms: so
 * many that half of the threads are busy, each with four terms or more. */
__host__ static inline int tw_small_lanes_log2(const tw_conv2d &p)
{
    const double tiles = ceil(p.oc / (double)TW_SMALL_CHANNELS) * ceil(p.oh * (double)p.ow / 4) / TW_SMALL_BLOCKS;
    if (tw_small_by_lines(p)) return tiles * 8 <= TW_SMALL_THREADS / 4. && p.ic * p.kh >= 8 ? 3 : 1;
    int log2 = 2;
    while (log2 < 4 && tiles * (2 << log2) <= TW_SMALL_THREADS / 2. && tw_small_terms(p) >= 4 * (2 << log2)) log2++;
    return log2;
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

/* This lane's sums of a tile by lines, [channel][pixel]; `weights` of its first line are there. */
template <int K, int LANES>
__device__ static inline void tw_small_lines(float (&sums)[16], float4 (&v)[K], const float4 *weights,
                                             const float *corner, int line, int lines, int iw, int plane, int down)
{
#pragma unroll 1
    for (; line < lines; line += LANES) {
        const int c = line / K;
        const float *row = corner + c * plane + (line - c * K) * iw;
        float upper[K + 1], lower[K + 1];
#pragma unroll
        for (int i = 0; i <= K; i += 2) {
            const float2 a = *(const float2 *)(row + i), b = *(const float2 *)(row + down + i);
            upper[i] = a.x;
            upper[i + 1] = a.y;
            lower[i] = b.x;
            lower[i + 1] = b.y;
        }
#pragma unroll
        for (int i = 0; i < K; i++) {
            const float of[4] = {v[i].x, v[i].y, v[i].z, v[i].w};
#pragma unroll
            for (int c = 0; c < 4; c++) {
                sums[4 * c] = fmaf(of[c], upper[i], sums[4 * c]);
                sums[4 * c + 1] = fmaf(of[c], upper[i + 1], sums[4 * c + 1]);
                sums[4 * c + 2] = fmaf(of[c], lower[i], sums[4 * c + 2]);
                sums[4 * c + 3] = fmaf(of[c], lower[i + 1], sums[4 * c + 3]);
            }
        }
        weights += LANES * K;
        if (line + LANES < lines)
#pragma unroll
            for (int i = 0; i < K; i++) v[i] = weights[i];
    }
}

template <int K, int LANES, bool POOLED>
__device__ static void tw_small_conv2d_by_lines(const tw_small_step &s, const tw_small_part &part, const float *shared,
                                                const tw_small_sink &sink, const tw_small_gate &gate)
{
    constexpr int across = LANES == 2 ? 2 : 1; /* channels that a lane is left with */
    const tw_conv2d &p = s.conv;
    const int thread = tw_small_thread(s), lane = thread % LANES, iw = p.iw, w = s.w, rows = part.rows();
    const int columns = (int)s.columns.d, per_quad = (POOLED ? rows : (rows + 1) / 2) * columns;
    const int tiles = (part.c1 - part.c0 + TW_SMALL_CHANNELS - 1) / TW_SMALL_CHANNELS * per_quad;
    const int plane = p.ih * iw, c1 = part.c1;
    const float low = s.low, high = s.high;
    bool passed = false;
    /* a warp at a time, since exchanges and meetings are of whole ones */
    for (int first = (thread & ~31) / LANES; first < tiles; first += TW_SMALL_THREADS / LANES) {
        const int tile = first + thread % 32 / LANES;
        const bool any = tile < tiles;
        const int quad = any ? tw_small_quotient(tile, per_quad) : 0, place = any ? tile - quad * per_quad : 0;
        const int row = (int)s.columns.quotient((unsigned)place), column = place - row * columns;
        const int y = 2 * row + (POOLED ? 2 * part.y0 : part.y0), x = 2 * column;
        const bool two = POOLED || 2 * row + 1 < rows; /* rows of the window are there */
        const int own = quad * TW_SMALL_CHANNELS + lane * 4 / LANES, c = part.c0 + own;
        const float4 *weights = (const float4 *)(shared + s.pieces[TW_SMALL_WEIGHTS].to) + quad * s.terms + lane * K;
        if (!passed) gate.wait_for_parameters();
        float bias[across], sums[16] = {};
        float4 v[K];
#pragma unroll
        for (int i = 0; i < across; i++)
            bias[i] = p.has_bias && c + i < c1 ? shared[s.pieces[TW_SMALL_BIAS].to + own + i] : 0;
#pragma unroll
        for (int i = 0; i < K; i++) v[i] = weights[i];
        if (!passed) gate.pass();
        passed = true;
        tw_small_lines<K, LANES>(sums, v, weights, shared + s.in + y * iw + x, lane, any ? s.lines : 0, iw, plane,
                                 two ? iw : 0);
        __syncwarp();
        tw_small_halve<8>(sums, LANES / 2);
        if (LANES == 8) {
            tw_small_halve<4>(sums, 2);
            tw_small_halve<2>(sums, 1);
        }
        if (POOLED) {
            const int index = (c * s.h + part.y0) * w + place, odd = place & 1;
            const bool paired = w % 2 == 0; /* then tiles of two neighbours' lanes are neighbours in a row */
            float largest[across];
#pragma unroll
            for (int i = 0; i < across; i++) {
                largest[i] = tw_small_bounded(sums[4 * i] + bias[i], low, high);
#pragma unroll
                for (int j = 1; j < (LANES == 2 ? 4 : 2); j++)
                    largest[i] = tw_small_larger(largest[i], tw_small_bounded(sums[4 * i + j] + bias[i], low, high));
            }
            if (LANES == 8) {
                const float other = __shfl_xor_sync(0xffffffffu, largest[0], 1);
                largest[0] = tw_small_larger(lane & 1 ? other : largest[0], lane & 1 ? largest[0] : other);
            }
            if (!paired) {
#pragma unroll
                for (int i = 0; i < across; i++)
                    if (any && c + i < c1)
                        sink.put(index + i * s.h * w, largest[i], LANES == 8 ? lane & 1 : 0, LANES == 8 ? 2 : 1);
                continue;
            }
            /* Of two lanes, each has both tiles of one channel after an exchange; of eight, four have the same two. */
            const float keep = LANES == 2 && odd ? largest[across - 1] : largest[0];
            const float give = LANES == 2 && !odd ? largest[across - 1] : largest[0];
            const float other = __shfl_xor_sync(0xffffffffu, give, LANES);
            const int channel = LANES == 2 ? odd : 0;
            if (any && c + channel < c1)
                sink.put_pair(index + channel * s.h * w - odd, odd ? other : keep, odd ? keep : other,
                              LANES == 8 ? (lane & 1) + 2 * odd : 0, LANES == 8 ? 4 : 1);
        } else {
#pragma unroll
            for (int i = 0; i < 8 / LANES; i++) { /* pairs of a row */
                const int channel = i / 2, lower = LANES == 8 ? lane & 1 : i % 2;
                const int index = ((c + channel) * s.h + y + lower) * w + x;
                if (!any || c + channel >= c1 || (lower && !two)) continue;
                float a = sums[2 * i] + bias[channel], b = sums[2 * i + 1] + bias[channel];
                if (p.has_residual) {
                    a += shared[s.other + index];
                    b += shared[s.other + index + 1];
                }
                sink.put_pair(index, tw_small_bounded(a, low, high), tw_small_bounded(b, low, high));
            }
        }
    }
    if (!passed) gate.pass_idle();
}

template <bool PADDED>
__device__ static void tw_small_conv2d_by_terms(const tw_small_step &s, const tw_small_part &part, const float *shared,
                                                const tw_small_sink &sink, const tw_small_gate &gate)
{
    constexpr int corners = 4;
    const tw_conv2d &p = s.conv;
    const tw_divisor by_columns = s.columns;
    const int log2 = s.lanes_log2, lanes = 1 << log2, lane = threadIdx.x & (lanes - 1), terms = s.terms;
    const int w = s.w, pixels = part.rows() * w, per_quad = (pixels + 3) / 4;
    const int tiles = (part.c1 - part.c0 + TW_SMALL_CHANNELS - 1) / TW_SMALL_CHANNELS * per_quad;
    const int iw = p.iw;
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
            const int pixel = max(min(place + i * per_quad, pixels - 1), 0);
            const int row = (int)by_columns.quotient((unsigned)pixel);
            top[i] = (part.y0 + row) * p.sh - p.pt;
            left[i] = (pixel - row * w) * p.sw - p.pl;
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
                    const float *const from = corner[i] + offset[j];
                    const bool there = !PADDED || ((unsigned)(top[i] + (window[j] >> 16)) < (unsigned)p.ih &&
                                                   (unsigned)(left[i] + (window[j] & 0xffff)) < (unsigned)iw);
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

template <int K>
__device__ static void tw_small_conv2d_of(const tw_small_step &s, const tw_small_part &part, const float *shared,
                                          const tw_small_sink &sink, const tw_small_gate &gate)
{
    if (s.lanes_log2 == 1) {
        if (s.pooled)
            tw_small_conv2d_by_lines<K, 2, true>(s, part, shared, sink, gate);
        else
            tw_small_conv2d_by_lines<K, 2, false>(s, part, shared, sink, gate);
    } else {
        if (s.pooled)
            tw_small_conv2d_by_lines<K, 8, true>(s, part, shared, sink, gate);
        else
            tw_small_conv2d_by_lines<K, 8, false>(s, part, shared, sink, gate);
    }
}

__device__ static void tw_small_conv2d(const tw_small_step &s, const tw_small_part &part, const float *shared,
                                       const tw_small_sink &sink, const tw_small_gate &gate)
{
    if (s.lines) {
        if (s.conv.kh == 5)
            tw_small_conv2d_of<5>(s, part, shared, sink, gate);
        else
            tw_small_conv2d_of<3>(s, part, shared, sink, gate);
    } else if (s.conv.pt | s.conv.pl | s.conv.pb | s.conv.pr) {
        tw_small_conv2d_by_terms<true>(s, part, shared, sink, gate);
    } else {
        tw_small_conv2d_by_terms<false>(s, part, shared, sink, gate);
    }
}

#endif

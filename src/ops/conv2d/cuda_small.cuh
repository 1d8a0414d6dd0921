/* conv2d in the small-network kernel. Four, eight or sixteen lanes compute four output channels of two pixels: each takes
 * every fourth (eighth, sixteenth) term of the sums, (input channel, ky, kx), reads the term's four weights at once and two
 * pixels, and adds to eight sums in registers. Exchanges between lanes, of four, two and one sums, add the partial sums and
 * leave each lane with one output, or two, or half of the blocks to send one to. Where a term's pixel lies is a table's
 * entry, made when weights are packed. A lane has the weights and places of seven terms (five with padding) in registers
 * before x is there; what is left are two reads of shared memory for eight multiply-adds, and issuing them bounds it. How
 * many lanes is a matter of the layer alone, so that its sums are the same in every launch.
 *
 * Packed: [ceil(oc / 4)][terms][4], then [terms] pairs of (offset in x; rows and columns from the window's corner). */
#ifndef TW_OPS_CONV2D_CUDA_SMALL_CUH
#define TW_OPS_CONV2D_CUDA_SMALL_CUH

#include "devices/cuda/small.cuh"

/* So many lanes that eight blocks are full, each with four terms or more. */
__host__ static inline int tw_small_lanes_log2(const tw_conv2d &p)
{
    const double groups = ceil(p.oc / (double)TW_SMALL_CHANNELS) * ceil(p.oh * (double)p.ow / 2) / TW_SMALL_BLOCKS;
    int log2 = 2;
    while (log2 < 4 && groups * (2 << log2) <= TW_SMALL_THREADS && tw_small_terms(p) >= 4 * (2 << log2)) log2++;
    return log2;
}

/* Adds the partial sums of the lanes of a group: what is left lies in sums[0], of four lanes in sums[1] too. */
__device__ static inline void tw_small_gather(float (&sums)[8], int lanes)
{
    int distance = lanes / 2;
#pragma unroll
    for (int kept = 4; kept > 0; kept /= 2, distance /= 2) {
        if (kept == 1 && distance == 0) return;
        const bool upper = threadIdx.x & distance;
#pragma unroll
        for (int i = 0; i < kept; i++) {
            const float keep = upper ? sums[kept + i] : sums[i], give = upper ? sums[i] : sums[kept + i];
            sums[i] = keep + __shfl_xor_sync(0xffffffffu, give, distance);
        }
    }
    if (distance > 0) sums[0] += __shfl_xor_sync(0xffffffffu, sums[0], distance);
}

template <bool PADDED>
__device__ static void tw_small_conv2d_by(const tw_small_step &s, const tw_small_part &part, const float *shared,
                                          const tw_small_sink &sink, const tw_small_gate &gate)
{
    constexpr int early = PADDED ? 5 : 7, places = PADDED ? 2 : 1; /* of a term: for both pixels the same offset */
    const tw_conv2d p = s.conv;
    const tw_divisor by_columns = s.columns;
    const int log2 = s.lanes_log2, lanes = 1 << log2, lane = threadIdx.x & (lanes - 1), terms = tw_small_terms(p);
    const int h = s.h, w = s.w, pixels = part.rows() * w, pairs = (pixels + 1) / 2;
    const int tiles = (part.c1 - part.c0 + TW_SMALL_CHANNELS - 1) / TW_SMALL_CHANNELS * pairs;
    const float *x = shared + s.in, *residual = shared + s.other, *biases = shared + s.bias;
    const float4 *weights = (const float4 *)(shared + s.weights);
    const int2 *table = (const int2 *)(shared + s.table);
    for (int first = 0; first < tiles || first == 0; first += TW_SMALL_THREADS >> log2) {
        const int tile = first + ((int)threadIdx.x >> log2), quad = tile < tiles ? tw_small_quotient(tile, pairs) : 0;
        const int pixel0 = tile < tiles ? tile - quad * pairs : 0, pixel1 = max(min(pixel0 + pairs, pixels - 1), 0);
        const int last = tile < tiles ? terms : 0, pixel[2] = {pixel0, pixel1};
        int top[2], left[2];
        const float *corner[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int row = (int)by_columns.quotient((unsigned)pixel[i]);
            top[i] = (part.y0 + row) * p.sh - p.pt;
            left[i] = (pixel[i] - row * w) * p.sw - p.pl;
            corner[i] = x + top[i] * p.iw + left[i];
        }
        const float4 *of_quad = weights + quad * terms;
        if (first == 0) gate.wait_for_parameters();
        int at[early][places]; /* -1: a zero */
        float4 v[early];
        const auto load = [&](int begin) {
#pragma unroll
            for (int j = 0; j < early; j++) {
                const int k = begin + (j << log2) + lane;
#pragma unroll
                for (int i = 0; i < places; i++) at[j][i] = -1;
                v[j] = {0, 0, 0, 0};
                if (k >= last) continue;
                const int2 t = table[k];
                v[j] = of_quad[k];
#pragma unroll
                for (int i = 0; i < places; i++)
                    if (!PADDED || ((unsigned)(top[i] + (t.y >> 16)) < (unsigned)p.ih &&
                                    (unsigned)(left[i] + (t.y & 0xffff)) < (unsigned)p.iw))
                        at[j][i] = t.x;
            }
        };
        const int at0 = lane * 8 >> log2, outputs = log2 == 2 ? 2 : 1; /* of [pixel][channel] */
        float bias[2];
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int c = quad * TW_SMALL_CHANNELS + (at0 + i) % 4;
            bias[i] = p.has_bias && c < part.c1 - part.c0 ? biases[c] : 0;
        }
        load(0);
        if (first == 0) gate.pass();
        float sums[8] = {}; /* [pixel][channel] */
        for (int begin = 0;;) {
            float value[early][2];
#pragma unroll
            for (int j = 0; j < early; j++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    const int offset = at[j][i % places];
                    value[j][i] = offset >= 0 ? corner[i][offset] : 0;
                }
#pragma unroll
            for (int j = 0; j < early; j++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    sums[4 * i] = fmaf(v[j].x, value[j][i], sums[4 * i]);
                    sums[4 * i + 1] = fmaf(v[j].y, value[j][i], sums[4 * i + 1]);
                    sums[4 * i + 2] = fmaf(v[j].z, value[j][i], sums[4 * i + 2]);
                    sums[4 * i + 3] = fmaf(v[j].w, value[j][i], sums[4 * i + 3]);
                }
            begin += early << log2;
            if (begin >= terms) break;
            load(begin);
        }
        tw_small_gather(sums, lanes);
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const int c = part.c0 + quad * TW_SMALL_CHANNELS + (at0 + i) % 4;
            const bool second = at0 + i >= 4;
            if (tile >= tiles || i >= outputs || c >= part.c1 || (second && pixel0 + pairs >= pixels)) continue;
            const int index = (c * h + part.y0) * w + (second ? pixel1 : pixel0);
            float sum = sums[i];
            if (p.has_bias) sum += bias[i];
            if (p.has_residual) sum += residual[index];
            sink.put(index, tw_activate(sum, p.activation), log2 == 4 ? lane & 1 : 0, log2 == 4 ? 2 : 1);
        }
    }
}

__device__ static void tw_small_conv2d(const tw_small_step &s, const tw_small_part &part, const float *shared,
                                       const tw_small_sink &sink, const tw_small_gate &gate)
{
    if (s.conv.pt | s.conv.pl | s.conv.pb | s.conv.pr)
        tw_small_conv2d_by<true>(s, part, shared, sink, gate);
    else
        tw_small_conv2d_by<false>(s, part, shared, sink, gate);
}

#endif

/* pool in the small-network kernel: a thread walks the window of an output in shared memory, four numbers at a time, and
 * knows where the first four lie before they are there. Where outputs are few, several threads compute the same one, each
 * of which sends it to other blocks. */
#ifndef TW_OPS_POOL_CUDA_SMALL_CUH
#define TW_OPS_POOL_CUDA_SMALL_CUH

#include "devices/cuda/small.cuh"

/* Positions begin + i * step below end, clipped to the image, and what an average that counts its padding divides by. */
struct tw_small_window {
    int begin, end, step, divisor;
};

__device__ static inline tw_small_window tw_small_adaptive(int in, int out, int at)
{
    return {at * in / out, ((at + 1) * in + out - 1) / out, 1, 0};
}

__device__ static inline tw_small_window tw_small_strided(int in, int begin, int dilation, int kernel,
                                                          int padding_after)
{
    const int end = begin + dilation * (kernel - 1) + 1;
    const int skipped =
        begin < 0 ? (dilation - 1 - begin) / dilation * dilation : 0; /* to the first inside the image */
    return {begin + skipped, min(end, in), dilation, min(end, in + padding_after) - begin};
}

__device__ static void tw_small_pool(const tw_small_step &s, const tw_small_part &part, const float *shared,
                                     const tw_small_sink &sink, const tw_small_gate &gate)
{
    constexpr int together = 4;
    const tw_pool p = s.pool;
    const tw_divisor by_columns = s.columns;
    const int h = s.h, w = s.w, rows_here = part.rows(), outputs = (part.c1 - part.c0) * rows_here * w;
    const int log2 = sink.sharers_log2(outputs), all = outputs << log2;
    const float *in = shared + s.in;
    bool passed = false;
    for (int i = threadIdx.x; i < all || !passed; i += TW_SMALL_THREADS) {
        const bool any = i < all;
        const int line = any ? (int)by_columns.quotient((unsigned)i >> log2) : 0;
        const int plane = any ? tw_small_quotient(line, rows_here) : 0;
        const int c = part.c0 + plane, oy = part.y0 + line - plane * rows_here, ox = any ? (i >> log2) - line * w : 0;
        const bool adaptive = p.kind == TW_POOL_ADAPTIVE_AVERAGE;
        const tw_small_window rows =
            adaptive ? tw_small_adaptive(p.ih, p.oh, oy) : tw_small_strided(p.ih, oy * p.sh - p.pt, p.dilh, p.kh, p.pb);
        const tw_small_window columns =
            adaptive ? tw_small_adaptive(p.iw, p.ow, ox) : tw_small_strided(p.iw, ox * p.sw - p.pl, p.dilw, p.kw, p.pr);
        const float *x = in + c * p.ih * p.iw;
        int iy = rows.begin, ix = columns.begin, at[together];
        const auto next = [&] { /* places of the next four; -1 behind the last */
#pragma unroll
                                for (int k = 0; k < together; k++) {
                                    at[k] = any && iy < rows.end && ix < columns.end ? iy * p.iw + ix : -1;
                                    ix += columns.step;
                                    if (ix >= columns.end) {
                                        ix = columns.begin;
                                        iy += rows.step;
                                    }
                                }
        };
        next();
        if (!passed) gate.pass();
        passed = true;
        if (!any) break;
        float largest = -INFINITY, sum = 0;
        int count = 0;
        while (at[0] >= 0) {
            float v[together];
#pragma unroll
            for (int k = 0; k < together; k++) v[k] = at[k] >= 0 ? x[at[k]] : 0;
#pragma unroll
            for (int k = 0; k < together; k++) {
                if (at[k] < 0) continue;
                if (v[k] > largest || v[k] != v[k]) largest = v[k]; /* NaN enters, and no comparison removes it */
                sum += v[k];
                count++;
            }
            next();
        }
        if (p.kind != TW_POOL_MAX)
            largest = sum / (p.count_include_pad ? (float)rows.divisor * (float)columns.divisor : (float)count);
        sink.put((c * h + oy) * w + ox, largest, i & ((1 << log2) - 1), 1 << log2);
    }
}

#endif

/* pool in the small-network kernel: a thread walks the window of an output in shared memory. */
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

__device__ static void tw_small_pool(const tw_small_sink &sink, const tw_small_part &part)
{
    const tw_small_step &s = sink.step;
    const tw_pool &p = s.pool;
    const bool adaptive = p.kind == TW_POOL_ADAPTIVE_AVERAGE;
    const int pixels = part.rows() * s.w, outputs = (part.c1 - part.c0) * pixels;
    for (int i = threadIdx.x; i < outputs; i += TW_SMALL_THREADS) {
        const int plane = i / pixels, pixel = i - plane * pixels, c = part.c0 + plane;
        const int row = (int)s.columns.quotient((unsigned)pixel), oy = part.y0 + row, ox = pixel - row * s.w;
        const float *x = sink.shared + s.in + c * p.ih * p.iw;
        const tw_small_window rows =
            adaptive ? tw_small_adaptive(p.ih, p.oh, oy) : tw_small_strided(p.ih, oy * p.sh - p.pt, p.dilh, p.kh, p.pb);
        const tw_small_window columns =
            adaptive ? tw_small_adaptive(p.iw, p.ow, ox) : tw_small_strided(p.iw, ox * p.sw - p.pl, p.dilw, p.kw, p.pr);
        float largest = -INFINITY, sum = 0;
        int count = 0;
        for (int iy = rows.begin; iy < rows.end; iy += rows.step)
            for (int ix = columns.begin; ix < columns.end; ix += columns.step) {
                const float v = x[iy * p.iw + ix];
                if (v > largest || v != v) largest = v; /* NaN enters, and no comparison removes it */
                sum += v;
                count++;
            }
        const float divisor = p.count_include_pad ? (float)rows.divisor * (float)columns.divisor : (float)count;
        sink.put((c * s.h + oy) * s.w + ox, p.kind == TW_POOL_MAX ? largest : sum / divisor);
    }
}

#endif

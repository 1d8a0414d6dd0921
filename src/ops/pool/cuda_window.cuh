/* The windows of pool's designs on CUDA. */
#ifndef TW_OPS_POOL_CUDA_WINDOW_CUH
#define TW_OPS_POOL_CUDA_WINDOW_CUH

#include "devices/cuda/kernel.h"
#include "ops/pool/pool.h"

/* Positions begin + i * step below end, those below zero left out, and what an average that counts its padding divides by. */
struct tw_pool_window {
    int begin, end, step, divisor;
};

__device__ static inline tw_pool_window tw_pool_adaptive(int in, int out, int at)
{
    return {(int)((long long)at * in / out), (int)(((long long)(at + 1) * in + out - 1) / out), 1, 0};
}

__device__ static inline tw_pool_window tw_pool_strided(int in, int begin, int dilation, int kernel, int after)
{
    const int end = begin + dilation * (kernel - 1) + 1;
    return {begin, min(end, in), dilation, min(end, in + after) - begin};
}

__device__ static inline tw_pool_window tw_pool_rows(const tw_pool &p, int oy)
{
    if (p.kind == TW_POOL_ADAPTIVE_AVERAGE) return tw_pool_adaptive(p.ih, p.oh, oy);
    return tw_pool_strided(p.ih, oy * p.sh - p.pt, p.dilh, p.kh, p.pb);
}

__device__ static inline tw_pool_window tw_pool_columns(const tw_pool &p, int ox)
{
    if (p.kind == TW_POOL_ADAPTIVE_AVERAGE) return tw_pool_adaptive(p.iw, p.ow, ox);
    return tw_pool_strided(p.iw, ox * p.sw - p.pl, p.dilw, p.kw, p.pr);
}

#endif

/* What a step of the small-network kernel is on the device, and where its results go: see small.cu. */
#ifndef TW_DEVICES_CUDA_SMALL_CUH
#define TW_DEVICES_CUDA_SMALL_CUH

#include "devices/cuda/async.cuh"
#include "ops/activation/activation.h"
#include "ops/add/add.h"
#include "ops/conv2d/conv2d.h"
#include "ops/linear/linear.h"
#include "ops/pool/pool.h"
#include "ops/softmax/softmax.h"

/* Blocks of a cluster at most; threads of a block; output channels that a thread of conv2d computes together. */
enum { TW_SMALL_BLOCKS = 8, TW_SMALL_THREADS = 512, TW_SMALL_CHANNELS = 4 };

enum tw_small_kind { TW_SMALL_CONV2D, TW_SMALL_LINEAR, TW_SMALL_POOL, TW_SMALL_CLIP, TW_SMALL_ADD, TW_SMALL_SOFTMAX };

/* What a block computes of an image: channels c0 to c1, rows y0 to y1, ends excluded. */
struct tw_small_part {
    short c0, c1, y0, y1;
    __device__ int rows() const
    {
        return y1 - y0;
    }
};

struct tw_small_step {
    union {
        tw_conv2d conv;
        tw_linear linear;
        tw_pool pool;
        tw_clip clip;
        tw_add add;
        tw_softmax softmax;
    };
    tw_small_part parts[TW_SMALL_BLOCKS];
    tw_small_kind kind;
    int c, h, w;               /* of the result */
    tw_divisor columns;        /* by w */
    int in, other, out;        /* places in shared memory, in floats; -1: none. other: a residual, add's second */
    int weights, table, bias;  /* likewise */
    tw_dtype dtype;            /* of the result */
    bool local;                /* who reads the result is the block that wrote it */
    const float *weights_from; /* conv2d: packed */
    const float *bias_from;
    void *to; /* in device memory; null: only later steps of the launch read it */
};

/* Input channels times taps: the terms of an output. */
__host__ __device__ static inline int tw_small_terms(const tw_conv2d &p)
{
    return p.ic * p.kh * p.kw;
}

/* Where one block puts the results of a step for one image. */
struct tw_small_sink {
    const tw_small_step &step;
    float *shared;
    unsigned arrived; /* the step's mbarrier in shared memory, which counts the bytes that arrive */
    int image, ranks; /* blocks of the cluster */

    /* As the precision stores it, so that a value is the same whoever reads it and wherever it lies. */
    __device__ float rounded(float v) const
    {
        return step.dtype == TW_F16 ? (float)__half(v) : step.dtype == TW_BF16 ? (float)__nv_bfloat16(v) : v;
    }
    /* Into one block's copy; its mbarrier counts it. */
    __device__ void pass(int index, float v, int rank) const
    {
        tw_cluster_send(tw_cluster_place(tw_shared_address(shared + step.out + index), rank),
                        tw_cluster_place(arrived, rank), v);
    }
    __device__ __noinline__ void write(int index, float v) const
    {
        const size_t at = (size_t)image * step.c * step.h * step.w + index;
        if (step.dtype == TW_F16)
            ((__half *)step.to)[at] = __half(v);
        else if (step.dtype == TW_BF16)
            ((__nv_bfloat16 *)step.to)[at] = __nv_bfloat16(v);
        else
            ((float *)step.to)[at] = v;
    }
    /* The result's element `index` of [c][h][w], by one thread. */
    __device__ void put(int index, float v) const
    {
        if (step.out >= 0) {
            const float kept = rounded(v);
            if (step.local)
                shared[step.out + index] = kept;
            else
#pragma unroll
                for (int rank = 0; rank < TW_SMALL_BLOCKS; rank++)
                    if (rank < ranks) pass(index, kept, rank);
        }
        if (step.to) write(index, v);
    }
    /* The same, where all lanes of a warp have it. */
    __device__ void put_by_warp(int index, float v) const
    {
        const int lane = threadIdx.x % 32;
        if (step.out >= 0) {
            const float kept = rounded(v);
            if (step.local) {
                if (lane == 0) shared[step.out + index] = kept;
            } else if (lane < ranks) {
                pass(index, kept, lane);
            }
        }
        if (step.to && lane == 0) write(index, v);
    }
};

#endif

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

/* Parameters of a step: of the channels from c on, those from `from` + c / unit * stride on. A block fetches its part. */
struct alignas(16) tw_small_piece {
    const float *from;
    int to, stride; /* in shared memory, in floats; floats of a unit: 0 where there are none */
};

/* Weights by channels (conv2d: packed, by four), biases by channels, and conv2d's table, which is of all channels. */
enum { TW_SMALL_WEIGHTS, TW_SMALL_BIAS, TW_SMALL_TABLE, TW_SMALL_PIECES };

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
    int c, h, w;           /* of the result */
    tw_divisor columns;    /* by w */
    int in, other, out;    /* places in shared memory, in floats; -1: none. other: a residual, add's second */
    tw_dtype dtype;        /* of the result */
    bool local;            /* who reads the result is the block that wrote it */
    bool pooled;           /* conv2d: the result is that of a 2x2 maximum pooling behind it */
    int arriving;          /* bytes of the result that each block is sent */
    int lanes_log2, terms; /* conv2d: lanes that share a sum; input channels times taps */
    float low, high;       /* the activation's bounds */
    int units_log2[TW_SMALL_PIECES];
    int bytes; /* of the result of an image in device memory */
    void *to;  /* in device memory; null: only later steps of the launch read it */
    tw_small_piece pieces[TW_SMALL_PIECES];
};

/* Input channels times taps: the terms of an output. */
__host__ __device__ static inline int tw_small_terms(const tw_conv2d &p)
{
    return p.ic * p.kh * p.kw;
}

/* Floats of the tables behind a conv2d's packed weights. */
__host__ __device__ static inline int tw_small_table(int terms)
{
    return 2 * ((terms + 3) / 4 * 4);
}

/* An activation, or none with infinite bounds; NaN passes through. */
__device__ static inline float tw_small_bounded(float v, float low, float high)
{
    return v < low ? low : v > high ? high : v;
}

/* a / b for 0 <= a < 2^20 and b > 0: the quotient's distance from a whole number, half a bth, is more than it is off by. */
__device__ static inline int tw_small_quotient(int a, int b)
{
    return (int)__fdividef((float)a + 0.5f, (float)b);
}

/* What stands before a step's first read of an activation. Each thread of the block passes it once, and first does all that
 * needs no activations: reads the step's description, computes addresses, loads weights. Those who come early, and most
 * do, have it done while results travel. */
struct tw_small_gate {
    enum { INPUTS, BLOCK, COUNTER } kind; /* this block's copies of inputs; its own results; results of all blocks */
    unsigned counter, fetched; /* mbarriers: of the results; of the step's parameters, which are fetched once */
    int parity;
    __device__ void wait_for_parameters() const
    {
        tw_barrier_wait(fetched, 0);
    }
    __device__ void pass() const
    {
        if (kind == COUNTER) {
            tw_barrier_wait(counter, parity);
            return;
        }
        if (kind == INPUTS) tw_copy_wait_all();
        __syncthreads();
    }
};

/* Into device memory: once in the kernel's code, since few results go there. */
__device__ __noinline__ static void tw_small_write(void *to, tw_dtype dtype, int index, float v)
{
    if (dtype == TW_F16)
        ((__half *)to)[index] = __half(v);
    else if (dtype == TW_BF16)
        ((__nv_bfloat16 *)to)[index] = __nv_bfloat16(v);
    else
        ((float *)to)[index] = v;
}

/* To half precision and back, likewise. */
__device__ __noinline__ static float tw_small_rounded(tw_dtype dtype, float v)
{
    return dtype == TW_F16 ? (float)__half(v) : (float)__nv_bfloat16(v);
}

/* Where one block puts the results of a step for one image; all is read before the gate. */
struct tw_small_sink {
    float *own;             /* this block's copy */
    void *to;               /* in device memory; null: nobody outside of the launch reads it */
    unsigned sent, arrived; /* addresses of the copy and of the mbarrier that counts its bytes */
    int ranks;              /* blocks of the cluster */
    tw_dtype dtype;
    bool kept, local; /* a later step reads it; in this block alone */

    __device__ tw_small_sink(const tw_small_step &s, float *shared, unsigned counter, int image, int blocks)
        : own(shared + s.out), to(s.to ? (char *)s.to + (long long)image * s.bytes : nullptr),
          sent(tw_shared_address(shared) + 4 * (unsigned)s.out), arrived(counter), ranks(blocks), dtype(s.dtype),
          kept(s.out >= 0), local(s.local)
    {
    }
    /* How many threads, as a power of two, may compute the same result and share sending it. */
    __device__ int sharers_log2(int results) const
    {
        int log2 = 0;
        if (!local && kept)
            while (1 << log2 < ranks && results << (log2 + 1) <= TW_SMALL_THREADS) log2++;
        return log2;
    }
    /* The result's element `index` of [c][h][w], by `sharers` threads that all have it, or by one. Each block's copy gets
     * it, and its mbarrier counts it; rounded as the precision stores it, so that a value is the same whoever reads it and
     * wherever it lies. */
    __device__ void put(int index, float v, int share = 0, int sharers = 1) const
    {
        if (kept) {
            const float exact = dtype == TW_F32 ? v : tw_small_rounded(dtype, v);
            if (!local) {
                const unsigned there = sent + 4 * (unsigned)index;
#pragma unroll 1
                for (int rank = share; rank < ranks; rank += sharers)
                    tw_cluster_send(tw_cluster_place(there, rank), tw_cluster_place(arrived, rank), exact);
            } else if (share == 0) {
                own[index] = exact;
            }
        }
        if (to && share == 0) tw_small_write(to, dtype, index, v);
    }
};

#endif

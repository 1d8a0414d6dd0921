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

/* Blocks of a cluster at most; threads of a block; output channels that a thread of conv2d computes together; outputs that a
 * warp of linear does. */
enum { TW_SMALL_BLOCKS = 8, TW_SMALL_THREADS = 512, TW_SMALL_CHANNELS = 4, TW_SMALL_ROWS = 4 };

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
    tw_dtype dtype;                  /* of the result */
    int c, h, w;                     /* of the result */
    tw_divisor columns;              /* by w; conv2d by lines: by tiles of a row */
    int in, other, out;              /* places in shared memory, in floats; -1: none. other: a residual, add's second */
    signed char in_from, other_from; /* the steps whose mbarriers count them; -1: none does */
    short first;                     /* conv2d by lines, linear: the thread that begins, the first of a warp */
    bool local;                      /* who reads the result is the block that wrote it */
    bool pooled;                     /* conv2d by lines: the result is that of a 2x2 maximum pooling behind it */
    signed char lanes_log2;          /* conv2d: lanes that share a sum */
    signed char units_log2[TW_SMALL_PIECES];
    int terms;       /* conv2d: input channels times taps */
    int lines;       /* conv2d by lines: input channels times rows of taps; 0: it goes by terms */
    int arriving;    /* bytes of the result that each block is sent */
    float low, high; /* the activation's bounds */
    int bytes;       /* of the result of an image in device memory */
    void *to;        /* in device memory; null: only later steps of the launch read it */
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

/* The thread of the block as a step counts them: those that begin come after those that were busy in the step before. */
__device__ static inline int tw_small_thread(const tw_small_step &s)
{
    return ((int)threadIdx.x - s.first) & (TW_SMALL_THREADS - 1);
}

/* What stands before a step's first read of an activation. A thread passes it once, and first does all that needs no
 * activations: reads the step's description, computes addresses, loads weights. Those who come early, and most do, have it
 * done while results travel. Where the whole block meets, nobody may stay away; else warps without work do. */
struct tw_small_gate {
    enum { INPUTS, BLOCK, NOBODY } meets; /* for this block's copies of inputs; for its own results; does not */
    unsigned in, other, fetched; /* mbarriers: of results that other blocks send, 0: none; of the step's parameters */
    int parity;
    __device__ void wait_for_parameters() const
    {
        tw_barrier_wait(fetched, 0);
    }
    __device__ void pass_idle() const
    {
        if (meets == INPUTS) tw_copy_wait_all();
        if (meets != NOBODY) __syncthreads();
    }
    __device__ void pass() const
    {
        pass_idle();
        if (in) tw_barrier_wait(in, parity);
        if (other) tw_barrier_wait(other, parity);
    }
};

/* Two lanes so far apart add their partial sums; each keeps half of them. */
template <int KEPT, int ALL> __device__ static inline void tw_small_halve(float (&sums)[ALL], int distance)
{
    const bool upper = threadIdx.x & distance;
#pragma unroll
    for (int i = 0; i < KEPT; i++) {
        const float keep = upper ? sums[KEPT + i] : sums[i], give = upper ? sums[i] : sums[KEPT + i];
        sums[i] = keep + __shfl_xor_sync(0xffffffffu, give, distance);
    }
}

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
    /* As the precision stores it, so that a value is the same whoever reads it and wherever it lies. */
    __device__ float rounded(float v) const
    {
        return dtype == TW_F32 ? v : tw_small_rounded(dtype, v);
    }
    /* To the blocks share, share + sharers, ... of the cluster. What eight blocks get is known when it is compiled. */
    template <class... Values> __device__ void send(int index, int share, int sharers, Values... values) const
    {
        const unsigned there = sent + 4 * (unsigned)index;
        if (ranks == TW_SMALL_BLOCKS) {
#pragma unroll
            for (int rank = 0; rank < TW_SMALL_BLOCKS; rank += sharers)
                tw_cluster_send(tw_cluster_place(there, share + rank), tw_cluster_place(arrived, share + rank),
                                values...);
        } else {
#pragma unroll 1
            for (int rank = share; rank < ranks; rank += sharers)
                tw_cluster_send(tw_cluster_place(there, rank), tw_cluster_place(arrived, rank), values...);
        }
    }
    /* The result's element `index` of [c][h][w], by `sharers` threads that all have it, one, two, four or eight. Each
     * block's copy gets it, and its mbarrier counts it. */
    __device__ void put(int index, float v, int share = 0, int sharers = 1) const
    {
        if (kept && !local)
            send(index, share, sharers, rounded(v));
        else if (kept && share == 0)
            own[index] = rounded(v);
        if (to && share == 0) tw_small_write(to, dtype, index, v);
    }
    /* Elements `index`, which is even, and the next: one message instead of two. A block sends about one a cycle. */
    __device__ void put_pair(int index, float v0, float v1, int share = 0, int sharers = 1) const
    {
        if (kept && !local)
            send(index, share, sharers, rounded(v0), rounded(v1));
        else if (kept && share == 0)
            *(float2 *)(own + index) = {rounded(v0), rounded(v1)};
        if (to && share == 0) {
            tw_small_write(to, dtype, index, v0);
            tw_small_write(to, dtype, index + 1, v1);
        }
    }
};

#endif

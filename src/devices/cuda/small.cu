/* Small networks in one launch. LeNet-5 is 0.8 MFLOP and 247 KB of weights: as a launch a layer it waits for launches, not
 * for arithmetic or memory. This kernel does a list of steps, one after the other, for one image a cluster: eight blocks of
 * 512 threads, with each other's shared memory in reach (compute capability 9.0). Of many images fewer blocks share one,
 * four or two: then more of them run at once, and what an image waits for is waited for less often.
 *
 * Every block keeps a whole copy of every activation of the launch in shared memory, in float32. A step's result is cut
 * into parts of channels and rows, one a block; who computes a number sends it to all copies (st.async), and each
 * block begins the next step when an mbarrier of its own has counted all bytes of the result: cheaper than a barrier of the
 * cluster, which waits for all memory. Where the next step is pooling or the like and alone reads a result, the parts are
 * cut so that each block reads just what it wrote itself: then a barrier of the block is enough and nothing travels.
 * Overlapping windows make blocks compute some rows twice.
 *
 * Weights come first: each block asks for its own part of all of them (31 KB in LeNet-5) before it waits for the
 * image, a warp a piece, by bulk copies that an mbarrier of the step counts, and waits for them where the step begins.
 * What is left is latency, so a step does all that needs no activation before its gate (small.cuh), while results
 * still travel. Few warps do a step of conv2d or linear, and the next step is done by those after them: these have
 * read its description and weights long before, and wait for the result alone. Who has no work in a step goes on to
 * the next.
 *
 * Where a LeNet-5's time goes on an H100, by counting instructions (in cycles): the program, weights and
 * image from memory 2,000 to 2,500; conv1 700, three lines of 103 instructions and their reads' latency, then
 * exchanges and pooling; conv2 950, four lines; the three linear layers 370, 300 and 250, of which the five exchanges
 * are 180 each. Between steps results travel: a block sends about one message a cycle, 590 after conv1, 400 after
 * conv2, 120 and 90 then, and the first takes some 250 to arrive. That is 4,200 cycles behind the start, and with the
 * launch 6 us; measured are 9. As one interpreter of terms for all sizes it took 13.7, in which each warp executed 2,870
 * instructions, 195 of them multiply-adds. Only results that somebody outside the launch reads are written to device
 * memory. Batches take more clusters, then more rounds; weights are read once a cluster.
 *
 * A step alone, as profiles and single layers run it, is a list of one. Sums do not depend on what else is in a list, so
 * that results are the same to the bit. */
#include "devices/cuda/small.cuh"
#include "devices/cuda/small.h"
#include "ops/activation/cuda_small.cuh"
#include "ops/add/cuda_small.cuh"
#include "ops/conv2d/cuda_small.cuh"
#include "ops/linear/cuda_small.cuh"
#include "ops/pool/cuda_small.cuh"
#include "ops/softmax/cuda_small.cuh"

#include <stddef.h>
#include <string.h>

enum { STEPS = 12, STAGED = 2 * STEPS, LARGEST = 32767 };

/* An activation that comes from outside of the launch. */
struct staged {
    const void *from;
    tw_dtype dtype;
    int at, count; /* in shared memory, in floats; elements of an image */
};

struct alignas(16) program {
    int n, count, n_staged, ranks; /* ranks: blocks of a cluster */
    staged inputs[STAGED];
    tw_small_step steps[STEPS];
};
static_assert(sizeof(program) <= 4096, "a kernel's parameters");

/* What shared memory begins with; activations, weights and biases follow. */
struct resident {
    program copy;
    unsigned long long arrived[STEPS]; /* mbarriers: of each step's result that other blocks send */
    unsigned long long fetched[STEPS]; /* of each step's parameters */
};
static_assert(sizeof(resident) % 16 == 0, "what follows is read by 16 bytes");

/* ---- on the device ---- */

/* By the threads first, first + apart, ...; `to` is 16-byte aligned. */
__device__ static inline void fetch(float *to, const float *from, int count, int first, int apart)
{
    const int whole = (size_t)from % 16 == 0 ? count / 4 * 4 : 0;
#pragma unroll 1
    for (int i = 4 * first; i < whole; i += 4 * apart) tw_copy_async(tw_shared_address(to + i), from + i, true);
#pragma unroll 1
    for (int i = whole + first; i < count; i += apart) tw_copy_async_4(tw_shared_address(to + i), from + i, true);
}

/* The block's part of a piece of a step's parameters, by one warp. */
__device__ static void fetch_piece(const tw_small_step &s, const tw_small_part &part, int which, float *shared,
                                   unsigned counter)
{
    const tw_small_piece piece = s.pieces[which];
    const int lane = threadIdx.x % 32, log2 = s.units_log2[which], c0 = part.c0, channels = part.c1 - c0;
    const int count = ((channels + (1 << log2) - 1) >> log2) * piece.stride;
    const float *from = piece.from + (long long)(c0 >> log2) * piece.stride;
    float *to = shared + piece.to;
    const bool bulk = count % 4 == 0 && (size_t)from % 16 == 0;
    if (!bulk) fetch(to, from, count, lane, 32);
    tw_barrier_arrive_after_copies(counter);
    if (lane > 0) return;
    tw_barrier_expect(counter, bulk ? 4 * count : 0);
    if (bulk && count > 0) tw_copy_bulk(tw_shared_address(to), from, 4 * count, counter);
}

/* All parameters of the block's parts, each piece by a warp of its own: weights first. */
__device__ static void fetch_parameters(const resident &r, int rank, float *shared)
{
    const int count = r.copy.count;
#pragma unroll 1
    for (int i = threadIdx.x / 32; i < TW_SMALL_PIECES * count; i += TW_SMALL_THREADS / 32) {
        const int which = i < count ? TW_SMALL_WEIGHTS : i < 2 * count ? TW_SMALL_BIAS : TW_SMALL_TABLE;
        const int step = i - which * count;
        const tw_small_step &s = r.copy.steps[step];
        fetch_piece(s, s.parts[rank], which, shared, tw_shared_address(&r.fetched[step]));
        __syncwarp();
    }
}

template <class T> __device__ static void widen(float *to, const T *from, int count, int first)
{
    for (int i = first; i < count; i += TW_SMALL_THREADS) to[i] = tw_widen(from[i]);
}

/* By all warps, of which the last begin: the first may be busy with parameters. */
__device__ __noinline__ static void fetch_inputs(const program &p, int image, float *shared)
{
    const int thread = threadIdx.x ^ (TW_SMALL_THREADS - 32);
    for (int i = 0; i < p.n_staged; i++) {
        const staged &in = p.inputs[i];
        const size_t first = (size_t)image * in.count;
        if (in.dtype == TW_F16)
            widen(shared + in.at, (const __half *)in.from + first, in.count, thread);
        else if (in.dtype == TW_BF16)
            widen(shared + in.at, (const __nv_bfloat16 *)in.from + first, in.count, thread);
        else
            fetch(shared + in.at, (const float *)in.from + first, in.count, thread, TW_SMALL_THREADS);
    }
}

__device__ static void execute(const tw_small_step &s, const tw_small_part &part, const float *shared,
                               const tw_small_sink &sink, const tw_small_gate &gate)
{
    /* By halves: a table of branches would lie in constant memory, which is cold. */
    if (s.kind < TW_SMALL_POOL) {
        if (s.kind == TW_SMALL_CONV2D)
            tw_small_conv2d(s, part, shared, sink, gate);
        else
            tw_small_linear(s, part, shared, sink, gate);
    } else if (s.kind < TW_SMALL_ADD) {
        if (s.kind == TW_SMALL_POOL)
            tw_small_pool(s, part, shared, sink, gate);
        else
            tw_small_clip(s, part, shared, sink, gate);
    } else if (s.kind == TW_SMALL_ADD) {
        tw_small_add(s, part, shared, sink, gate);
    } else {
        tw_small_softmax(s, part, shared, sink, gate);
    }
}

/* Until all that other blocks send has come: nobody has waited for what no warp of this block reads. The threads of
 * arm_all(), which then may count the next image's. */
__device__ static void receive_all(resident &r, int parity)
{
    const int i = (int)threadIdx.x - (TW_SMALL_THREADS - 32);
    if (i >= 0 && i < r.copy.count && r.copy.steps[i].arriving > 0)
        tw_barrier_wait(tw_shared_address(&r.arrived[i]), parity);
    __syncwarp();
}

/* Every result that is sent: how many bytes of it this block will get. A thread a step, of the last warp, since the first
 * ones ask for parameters. */
__device__ static void arm_all(resident &r)
{
    const int i = (int)threadIdx.x - (TW_SMALL_THREADS - 32);
    if (i >= 0 && i < r.copy.count && r.copy.steps[i].arriving > 0)
        tw_barrier_expect(tw_shared_address(&r.arrived[i]), r.copy.steps[i].arriving);
    __syncwarp();
}

/* All steps for each image of this cluster. */
__device__ static void run(resident &r, int rank)
{
    const program &p = r.copy;
    float *shared = (float *)&r;
    int parity = 0;
    for (int image = blockIdx.x; image < p.n; image += gridDim.x, parity ^= 1) {
        if (image != (int)blockIdx.x) {
            arm_all(r);
            tw_cluster_sync(); /* the last image's activations have been read */
            fetch_inputs(p, image, shared);
        }
        for (int i = 0; i < p.count; i++) {
            const tw_small_step &s = p.steps[i];
            const bool behind_local = i > 0 && p.steps[i - 1].local;
            const tw_small_gate gate = {i == 0         ? tw_small_gate::INPUTS
                                        : behind_local ? tw_small_gate::BLOCK
                                                       : tw_small_gate::NOBODY,
                                        s.in_from >= 0 ? tw_shared_address(&r.arrived[s.in_from]) : 0,
                                        s.other_from >= 0 ? tw_shared_address(&r.arrived[s.other_from]) : 0,
                                        tw_shared_address(&r.fetched[i]), parity};
            const unsigned counter = tw_shared_address(&r.arrived[i]);
            execute(s, s.parts[rank], shared, tw_small_sink(s, shared, counter, image, p.ranks), gate);
        }
        receive_all(r, parity);
    }
}

/* The program from the kernel's parameters into shared memory, at once: parameters are read through a cache of constants
 * that is cold when a kernel begins, and would cost each step some hundred cycles. Also what is no step, for to know their
 * number takes as long as all of them. */
__device__ static void copy_program(float4 *to, const program *given)
{
    asm volatile("" : "+l"(given)); /* loads from memory, not from the bank of constants */
    if (threadIdx.x < sizeof(program) / 16) to[threadIdx.x] = ((const float4 *)given)[threadIdx.x];
}
static_assert(sizeof(program) % 16 == 0 && sizeof(program) / 16 <= TW_SMALL_THREADS, "16 bytes a thread");

__global__ static void __launch_bounds__(TW_SMALL_THREADS, 1) small(const __grid_constant__ program given)
{
    extern __shared__ float4 memory[];
    resident &r = *(resident *)memory;
    const int rank = blockIdx.z, warp = threadIdx.x / 32;
    if (warp < STEPS && threadIdx.x % 32 == 0) { /* a thread after the other in a warp: so of many warps */
        tw_barrier_init(tw_shared_address(&r.arrived[warp]), 1);
        tw_barrier_init(tw_shared_address(&r.fetched[warp]), TW_SMALL_PIECES * (32 + 1));
        tw_barrier_publish();
    }
    copy_program(memory, &given);
    __syncthreads();
    arm_all(r);
    fetch_parameters(r, rank, (float *)memory);
    tw_cluster_arrive(); /* nobody sends to a block that does not count yet */
    tw_cuda_wait();
    tw_cuda_release();
    if ((int)blockIdx.x < r.copy.n) fetch_inputs(r.copy, blockIdx.x, (float *)memory);
    tw_cluster_wait();
    run(r, rank);
}
static_assert(STEPS <= TW_SMALL_THREADS / 32, "a warp initialises a step's mbarriers");

/* ---- on the host: from a list of steps to a program ---- */

/* The activation of a step as bounds. */
static void bound(tw_small_step *s)
{
    const int activation = s->kind == TW_SMALL_CONV2D   ? s->conv.activation
                           : s->kind == TW_SMALL_LINEAR ? s->linear.activation
                           : s->kind == TW_SMALL_ADD    ? s->add.activation
                                                        : TW_ACT_NONE;
    s->low = s->kind == TW_SMALL_CLIP ? s->clip.low : tw_low(activation);
    s->high = s->kind == TW_SMALL_CLIP ? s->clip.high : tw_high(activation);
}

/* A step's problem in the terms of the kernel; false where it is none of its operators. */
static bool describe(const tw_problem *problem, tw_small_step *s)
{
    static const struct {
        const char *op;
        tw_small_kind kind;
    } kinds[] = {{"conv2d", TW_SMALL_CONV2D},  {"linear", TW_SMALL_LINEAR}, {"pool", TW_SMALL_POOL},
                 {"relu", TW_SMALL_CLIP},      {"clip", TW_SMALL_CLIP},     {"add", TW_SMALL_ADD},
                 {"softmax", TW_SMALL_SOFTMAX}};
    for (const auto &known : kinds)
        if (strcmp(problem->op->name, known.op) == 0) {
            tw_shape shape;
            memset(s, 0, sizeof *s);
            memcpy((void *)&s->conv, problem->params, problem->op->params_size);
            s->kind = known.kind;
            problem->op->operand_shape(problem->params, problem->n_in, &shape);
            const bool image = shape.rank == 4;
            if (shape.dims[1] > LARGEST || (image && (shape.dims[2] > LARGEST || shape.dims[3] > LARGEST)))
                return false;
            s->c = (int)shape.dims[1];
            s->h = image ? (int)shape.dims[2] : 1;
            s->w = image ? (int)shape.dims[3] : 1;
            s->columns = tw_make_divisor(s->w);
            if (s->kind == TW_SMALL_CONV2D) {
                s->lanes_log2 = (signed char)tw_small_lanes_log2(s->conv);
                s->terms = tw_small_terms(s->conv);
                if (tw_small_by_lines(s->conv)) {
                    s->lines = s->conv.ic * s->conv.kh;
                    s->columns = tw_make_divisor(s->w / 2); /* tiles of a row */
                }
            }
            bound(s);
            s->dtype = problem->out.dtype;
            s->bytes = s->c * s->h * s->w * (s->dtype == TW_F32 ? 4 : 2);
            s->in = s->other = s->out = s->in_from = s->other_from = -1;
            return true;
        }
    return false;
}

static int images_of(const tw_problem *problem)
{
    tw_shape shape;
    problem->op->operand_shape(problem->params, problem->n_in, &shape);
    return (int)shape.dims[0];
}

/* The elements that an operand has in one image; index n_in is the result. */
static size_t elements_of(const tw_problem *problem, int index)
{
    return tw_problem_elements(problem, index) / (size_t)images_of(problem);
}

/* The operand of the residual or of add's second summand; -1: none. */
static int other_operand(const tw_small_step &s)
{
    return s.kind == TW_SMALL_ADD ? 1 : s.kind == TW_SMALL_CONV2D && s.conv.has_residual ? 3 : -1;
}

static int ceil_div(int a, int b)
{
    return (a + b - 1) / b;
}

/* Cuts a result into channel groups by rows so that the busiest block has least to do. */
static void cut(tw_small_step *s, int ranks)
{
    const int unit = s->kind == TW_SMALL_LINEAR ? 1 : s->kind == TW_SMALL_SOFTMAX ? s->c : TW_SMALL_CHANNELS;
    const int units = ceil_div(s->c, unit);
    int across = 1, down = 1;
    size_t least = (size_t)-1;
    for (int i = 1; i <= units && i <= ranks; i++) {
        const int j = s->h < ranks / i ? s->h : ranks / i;
        const size_t most = (size_t)ceil_div(units, i) * ceil_div(s->h, j);
        if (most > least) continue; /* of equals, that with fewer channels a block: fewer weights */
        least = most;
        across = i;
        down = j;
    }
    for (int rank = 0; rank < ranks; rank++) {
        const int i = rank % across, j = rank / across, c1 = units * (i + 1) / across * unit;
        if (j >= down)
            s->parts[rank] = {0, 0, 0, 0};
        else
            s->parts[rank] = {(short)(units * i / across * unit), (short)(c1 < s->c ? c1 : s->c),
                              (short)(s->h * j / down), (short)(s->h * (j + 1) / down)};
    }
}

/* Cuts what `reader` alone reads into what each block of it needs. */
static void cut_for(tw_small_step *s, const tw_small_step &reader)
{
    const tw_pool &p = reader.pool;
    for (int rank = 0; rank < TW_SMALL_BLOCKS; rank++) {
        tw_small_part part = reader.parts[rank];
        if (reader.kind == TW_SMALL_POOL && part.y1 > part.y0) {
            int begin = part.y0 * p.sh - p.pt, end = (part.y1 - 1) * p.sh - p.pt + (p.kh - 1) * p.dilh + 1;
            if (p.kind == TW_POOL_ADAPTIVE_AVERAGE) {
                begin = (int)((long long)part.y0 * p.ih / p.oh);
                end = (int)(((long long)part.y1 * p.ih + p.oh - 1) / p.oh);
            }
            begin = begin < 0 ? 0 : begin > p.ih ? p.ih : begin;
            end = end < begin ? begin : end > p.ih ? p.ih : end;
            part.y0 = (short)begin;
            part.y1 = (short)end;
        }
        s->parts[rank] = part;
    }
}

/* Can each block keep its part of s for the next step? Both cut by channels and rows, and see the same shape. */
static bool keeps(const tw_small_step &s, const tw_small_step &next)
{
    if (s.kind == TW_SMALL_LINEAR || s.kind == TW_SMALL_SOFTMAX) return false;
    if (next.kind == TW_SMALL_POOL) return next.pool.ih == s.h && next.pool.iw == s.w && next.pool.c == s.c;
    return (next.kind == TW_SMALL_CLIP || next.kind == TW_SMALL_ADD) && next.c == s.c && next.h == s.h && next.w == s.w;
}

static int place(size_t *bytes, size_t floats)
{
    const size_t at = *bytes / sizeof(float);
    *bytes += (floats + 3) / 4 * 16;
    return (int)at;
}

/* Where the parameters of a step come from. */
static void describe_parameters(tw_small_step *s, const tw_step *step)
{
    if (s->kind != TW_SMALL_CONV2D && s->kind != TW_SMALL_LINEAR) return;
    const float *weights = (const float *)(step->packed ? step->packed : step->in[1]);
    const int terms = s->terms, all = ceil_div(s->c, TW_SMALL_CHANNELS);
    if (s->kind == TW_SMALL_CONV2D) {
        s->pieces[TW_SMALL_WEIGHTS] = {weights, -1, TW_SMALL_CHANNELS * terms};
        if (!s->lines)
            s->pieces[TW_SMALL_TABLE] = {weights + (size_t)all * TW_SMALL_CHANNELS * terms, -1, tw_small_table(terms)};
        s->units_log2[TW_SMALL_WEIGHTS] = 2;
        s->units_log2[TW_SMALL_TABLE] = 15; /* all channels */
    } else {
        s->pieces[TW_SMALL_WEIGHTS] = {weights, -1, s->linear.ic};
    }
    if (step->in[2]) s->pieces[TW_SMALL_BIAS] = {(const float *)step->in[2], -1, 1};
}
static_assert(TW_SMALL_CHANNELS == 1 << 2 && LARGEST < 1 << 15, "units of pieces");

static void place_parameters(tw_small_step *s, size_t *bytes)
{
    size_t channels = 0;
    for (const tw_small_part &part : s->parts)
        if ((size_t)(part.c1 - part.c0) > channels) channels = part.c1 - part.c0;
    for (int i = 0; i < TW_SMALL_PIECES; i++) {
        const size_t unit = (size_t)1 << s->units_log2[i];
        if (s->pieces[i].stride) s->pieces[i].to = place(bytes, (channels + unit - 1) / unit * s->pieces[i].stride);
    }
}

/* The steps that one step of a program does: the same, but for a pooling behind a conv2d. */
struct origin {
    const tw_step *first, *last;
};

/* Where an operand of step i lies: where an earlier step, step_from, leaves it, or with what comes from outside. */
static int source(program *p, const origin *origins, int i, int operand, size_t *bytes, signed char *step_from)
{
    const tw_step *step = origins[i].first;
    const void *from = step->in[operand];
    const size_t count = elements_of(step->problem, operand);
    for (int j = i - 1; j >= 0; j--) {
        if (origins[j].last->out != from) continue;
        if (p->steps[j].out < 0) p->steps[j].out = place(bytes, count);
        *step_from = (signed char)j;
        return p->steps[j].out;
    }
    for (int j = 0; j < p->n_staged; j++)
        if (p->inputs[j].from == from) return p->inputs[j].at;
    staged &in = p->inputs[p->n_staged++];
    in = {from, step->problem->in[operand].dtype, place(bytes, count), (int)count};
    return in.at;
}

/* How many operands of the steps after step i are its result. */
static int readers(const tw_step *steps, size_t count, size_t i)
{
    int found = 0;
    for (size_t j = i + 1; j < count; j++)
        for (int k = 0; k < steps[j].problem->n_in; k++) found += steps[j].in[k] == steps[i].out;
    return found;
}

/* Is the next step a pooling that conv2d can do as it goes, windows of 2x2 of a result that nobody else reads? */
static bool pools(const tw_small_step &s, const tw_step *step, const tw_small_step &next, bool read_by_next_alone)
{
    const tw_conv2d &c = s.conv;
    const tw_pool &p = next.pool;
    if (!s.lines || next.kind != TW_SMALL_POOL || !step->internal || !read_by_next_alone) return false;
    if (c.has_residual || s.dtype != next.dtype) return false;
    return p.kind == TW_POOL_MAX && p.kh == 2 && p.kw == 2 && p.sh == 2 && p.sw == 2 && p.dilh == 1 && p.dilw == 1 &&
           (p.pt | p.pl) == 0 && 2 * p.oh <= p.ih && 2 * p.ow <= p.iw;
}

/* Operators and operands; the number of steps. */
static int describe_all(const tw_step *steps, size_t count, program *p, origin *origins, size_t *bytes)
{
    int n = 0;
    for (size_t i = 0; i < count; i++, n++) {
        tw_small_step *s = &p->steps[n];
        const tw_step *from = &steps[i];
        describe(from->problem, s);
        origins[n] = {from, from};
        const int other = other_operand(*s);
        s->in = source(p, origins, n, 0, bytes, &s->in_from);
        if (other >= 0) s->other = source(p, origins, n, other, bytes, &s->other_from);
        describe_parameters(s, from);
        tw_small_step next;
        if (i + 1 < count && describe(steps[i + 1].problem, &next) &&
            pools(*s, from, next, readers(steps, count, i) == 1 && steps[i + 1].in[0] == from->out)) {
            s->pooled = true;
            s->h = next.h;
            s->w = next.w;
            s->columns = next.columns;
            s->bytes = next.bytes;
            origins[n].last = &steps[++i];
        }
        s->to = count > 1 && origins[n].last->internal ? nullptr : origins[n].last->out;
    }
    return n;
}

/* The warps that a step keeps busy, at most as many as a block has. */
static int busy_warps(const tw_small_step &s)
{
    const int most = TW_SMALL_THREADS / 32;
    int busy = 0;
    for (const tw_small_part &part : s.parts) {
        const int channels = part.c1 - part.c0, rows = part.y1 - part.y0;
        int warps = most;
        if (s.kind == TW_SMALL_LINEAR) {
            warps = ceil_div(channels, TW_SMALL_ROWS);
        } else if (s.kind == TW_SMALL_CONV2D && s.lines) {
            const int tiles =
                ceil_div(channels, TW_SMALL_CHANNELS) * (s.pooled ? rows : ceil_div(rows, 2)) * (int)s.columns.d;
            warps = ceil_div(tiles << s.lanes_log2, 32);
        }
        if (warps > busy) busy = warps;
    }
    return busy < most ? busy : most;
}

/* For clusters of so many blocks; the bytes of shared memory that each wants. */
static size_t build(const tw_step *steps, size_t count, int ranks, program *p)
{
    size_t bytes = sizeof(resident);
    origin origins[STEPS];
    memset(p, 0, sizeof *p);
    p->ranks = ranks;
    p->n = images_of(steps[0].problem);
    p->count = describe_all(steps, count, p, origins, &bytes);
    for (int i = p->count; i-- > 0;) {
        tw_small_step *s = &p->steps[i];
        const tw_step *from = origins[i].last;
        s->local = i + 1 < p->count && readers(steps, count, (size_t)(from - steps)) == 1 &&
                   origins[i + 1].first->in[0] == from->out && keeps(*s, p->steps[i + 1]);
        if (s->local)
            cut_for(s, p->steps[i + 1]);
        else
            cut(s, ranks);
        s->arriving = s->local || s->out < 0 ? 0 : s->c * s->h * s->w * (int)sizeof(float);
        place_parameters(s, &bytes);
    }
    int warp = 0;
    for (int i = 0; i < p->count; i++) {
        tw_small_step *s = &p->steps[i];
        if (s->in_from >= 0 && p->steps[s->in_from].arriving == 0) s->in_from = -1;
        if (s->other_from >= 0 && p->steps[s->other_from].arriving == 0) s->other_from = -1;
        s->first = (short)(warp * 32);
        warp = (warp + busy_warps(*s)) % (TW_SMALL_THREADS / 32);
    }
    return bytes;
}

/* Seconds of `images` of a step of so many multiply-adds, one of several in a launch: what a round waits for, and the
 * arithmetic at its share of what a multiprocessor issues: half to three quarters of conv2d's inner loops, less what
 * exchanges, chains of reads and idle schedulers leave. */
static double seconds_of(double images, double work, int ranks, const tw_cuda *cuda)
{
    const double at_once = floor((double)cuda->multiprocessors / ranks);
    if (at_once < 1) return 1e30;
    return ceil(images / at_once) * (0.5e-6 + work / (0.3 * ranks * tw_cuda_rates_of(cuda).fma / 2));
}

/* The program by the number of blocks that is predicted to be fastest, and the bytes of shared memory that each wants.
 * Fewer blocks hold more weights each; TW_SMALL_BLOCKS always fit. */
static size_t best_program(const tw_step *steps, size_t count, const tw_cuda *cuda, program *best)
{
    size_t best_bytes = 0;
    double least = 1e30;
    for (int ranks = TW_SMALL_BLOCKS; ranks > 1; ranks /= 2) {
        double seconds = 0;
        for (size_t i = 0; i < count; i++) {
            const tw_problem *problem = steps[i].problem;
            const double images = images_of(problem);
            seconds += seconds_of(images, problem->op->flops(problem->params) / 2 / images, ranks, cuda);
        }
        program p;
        const size_t bytes = build(steps, count, ranks, &p);
        if (best_bytes && (seconds >= least || bytes > (size_t)cuda->shared_bytes)) continue;
        *best = p;
        best_bytes = bytes;
        least = seconds;
    }
    return best_bytes;
}

extern "C" tw_status tw_small_run_all(const tw_step *steps, size_t count, tw_queue *queue)
{
    program p;
    const size_t bytes = best_program(steps, count, queue->device, &p);
    const int at_once = queue->device->multiprocessors / p.ranks;
    const tw_cuda_grid grid = {dim3((unsigned)(p.n < at_once ? p.n : at_once), 1, (unsigned)p.ranks), TW_SMALL_THREADS,
                               bytes, (unsigned)p.ranks};
    return tw_cuda_launch(queue, small, grid, p);
}

extern "C" tw_status tw_small_run(const tw_step *step, tw_queue *queue)
{
    return tw_small_run_all(step, 1, queue);
}

/* ---- what may be asked of it ---- */

/* At most so many bytes of a block's shared memory does a step want, whoever its neighbours are; SIZE_MAX: never. */
static size_t shared_bytes(const tw_problem *problem)
{
    tw_small_step s;
    if (!describe(problem, &s)) return SIZE_MAX;
    const int other = other_operand(s);
    size_t floats = elements_of(problem, 0) + elements_of(problem, problem->n_in);
    if (other >= 0) floats += elements_of(problem, other);
    if (s.kind == TW_SMALL_CONV2D) {
        const size_t channels = (size_t)ceil_div(s.c, TW_SMALL_CHANNELS) * TW_SMALL_CHANNELS;
        floats += channels * s.terms + (size_t)tw_small_table(s.terms);
    } else if (s.kind == TW_SMALL_LINEAR) {
        floats += (size_t)ceil_div(s.c, TW_SMALL_BLOCKS) * s.linear.ic;
    }
    return sizeof(float) * (floats + s.c) + 6 * 16; /* bias; each piece begins on 16 bytes */
}

static bool is_plain(const tw_problem *problem, const tw_type *type)
{
    return type->layout == TW_PLAIN && (type->dtype == TW_F32 || type->dtype == tw_precision_dtype(problem->precision));
}

extern "C" bool tw_small_supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_cuda *cuda = (const tw_cuda *)device;
    *reason = "works by clusters, compute capability 9.0";
    if (cuda->capability < 90) return false;
    *reason = "reads and writes plain activations only";
    if (!is_plain(problem, &problem->in[0]) || !is_plain(problem, &problem->out)) return false;
    tw_small_step s;
    *reason = "does no groups";
    if (describe(problem, &s) && s.kind == TW_SMALL_CONV2D && s.conv.groups != 1) return false;
    *reason = "an image's activations and a block's weights are more than shared memory holds";
    const size_t bytes = shared_bytes(problem), most = (size_t)cuda->shared_bytes - sizeof(resident);
    return bytes <= most;
}

extern "C" double tw_small_seconds(const tw_problem *problem, const tw_device *device, double work)
{
    const double images = images_of(problem);
    double least = 1e30;
    for (int ranks = TW_SMALL_BLOCKS; ranks > 1; ranks /= 2)
        least = fmin(least, seconds_of(images, work / images, ranks, (const tw_cuda *)device));
    return least;
}

extern "C" size_t tw_small_together(const tw_device *device, const tw_design *const *designs,
                                    const tw_problem *const *problems, size_t count)
{
    size_t bytes = sizeof(resident), together = 0;
    for (; together < count && together < STEPS && designs[together]->run == tw_small_run; together++) {
        bytes += shared_bytes(problems[together]);
        if (bytes > (size_t)((const tw_cuda *)device)->shared_bytes) break;
        if (images_of(problems[together]) != images_of(problems[0])) break;
    }
    return together ? together : 1;
}

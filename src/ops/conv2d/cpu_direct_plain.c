/* conv2d, direct over plain rows: for few output channels, whose block of 16 in direct_blocked would be mostly empty.
 *
 * The vector runs along the row instead: a tile is 16 neighbouring pixels of two output rows times up to CHANNELS output
 * channels, its sums in registers. For each (input channel, ky, kx) it loads 16 inputs of both rows, one number further for
 * each kx, and multiplies them with one weight of each channel. The last tile of a row that 16 does not divide is moved
 * back to end with it, and computes some pixels again; an odd last row is computed twice. Reads x about kh * kw times from
 * L1, writes y once; the multiply-add unit bounds it. */
#include "core/design.h"
#include "devices/cpu/simd.h"
#include "ops/conv2d/conv2d.h"

enum {
    PIXELS = 16,
    ROWS = 2,
    CHANNELS = 8,                                          /* of a tile, at most */
    HELD = TW_VARIANT_ISA == TW_ISA_AVX512 ? CHANNELS : 2, /* what the registers hold */
    MOST_CHANNELS = 15,
    GRAIN = 200000 /* operations that are worth a thread: some 2 microseconds */
};

/* Where a tile's first channel and its two rows begin. */
typedef struct tile {
    const tw_conv2d *p;
    const float *x[ROWS]; /* of the first input channel */
    const float *w;
    const float *bias;           /* or null */
    const float *residual[ROWS]; /* or null */
    float *y[ROWS];
} tile;

typedef int32_t mask16 __attribute__((vector_size(64)));

/* NaN passes: v < 0 and v > 6 are false for it. */
TW_INLINE v16 activated(v16 v, int activation)
{
    const v16 zero = v16_zero(), six = zero + 6;
    if (activation == TW_ACT_NONE) return v;
    v = (v16)((mask16)v & ~(mask16)(v < zero));
    if (activation != TW_ACT_RELU6) return v;
    mask16 above = (mask16)(v > six);
    return (v16)(((mask16)v & ~above) | ((mask16)six & above));
}

TW_INLINE void multiply(const tile *t, int first, const int channels)
{
    const tw_conv2d *p = t->p;
    const size_t plane = (size_t)p->oh * p->ow, weights = (size_t)p->ic * p->kh * p->kw;
    v16 sums[ROWS][CHANNELS];
    TW_UNROLL for (int o = 0; o < channels; o++)
    {
        v16 start = v16_zero() + (t->bias ? t->bias[o] : 0);
        TW_UNROLL for (int r = 0; r < ROWS; r++) sums[r][o] = start;
    }
    const float *w = t->w;
    for (int c = 0; c < p->ic; c++)
        for (int ky = 0; ky < p->kh; ky++) {
            size_t row = ((size_t)c * p->ih + (size_t)ky * p->dilh) * p->iw + (size_t)first;
            for (int kx = 0; kx < p->kw; kx++, w++) {
                v16 x[ROWS];
                TW_UNROLL for (int r = 0; r < ROWS; r++) x[r] = v16_load(t->x[r] + row + (size_t)kx * p->dilw);
                TW_UNROLL for (int o = 0; o < channels; o++)
                {
                    v16 weight = v16_zero() + w[(size_t)o * weights];
                    TW_UNROLL for (int r = 0; r < ROWS; r++) sums[r][o] = x[r] * weight + sums[r][o];
                }
            }
        }
    TW_UNROLL for (int o = 0; o < channels; o++)
    {
        TW_UNROLL for (int r = 0; r < ROWS; r++)
        {
            size_t at = (size_t)o * plane + (size_t)first;
            v16 sum = t->residual[r] ? sums[r][o] + v16_load(t->residual[r] + at) : sums[r][o];
            v16_store(t->y[r] + at, activated(sum, p->activation));
        }
    }
}

/* All tiles of two rows in `channels` channels. */
static void multiply_rows(const tile *t, int channels)
{
    for (int first = 0; first < t->p->ow; first += PIXELS) {
        int at = first + PIXELS <= t->p->ow ? first : t->p->ow - PIXELS;
        switch (channels) {
        case 1: multiply(t, at, 1); break;
        case 2: multiply(t, at, 2); break;
        case 3: multiply(t, at, 3); break;
        case 4: multiply(t, at, 4); break;
        case 5: multiply(t, at, 5); break;
        case 6: multiply(t, at, 6); break;
        case 7: multiply(t, at, 7); break;
        default: multiply(t, at, 8); break;
        }
    }
}

static int pairs_of(const tw_conv2d *p)
{
    return (p->oh + ROWS - 1) / ROWS;
}

/* One item is two rows of one image, in all channels. */
static void rows(const void *context, size_t begin, size_t end, int thread)
{
    const tw_step *step = context;
    const tw_conv2d *p = step->problem->params;
    const size_t plane = (size_t)p->oh * p->ow, pairs = (size_t)pairs_of(p);
    const float *x = step->in[0], *w = step->in[1], *bias = step->in[2], *residual = step->in[3];
    (void)thread;
    for (size_t item = begin; item < end; item++) {
        const size_t image = item / pairs, first_row = item % pairs * ROWS;
        for (int oc = 0; oc < p->oc; oc += HELD) {
            tile t = {.p = p, .w = w + (size_t)oc * p->ic * p->kh * p->kw, .bias = p->has_bias ? bias + oc : NULL};
            for (size_t r = 0; r < ROWS; r++) {
                size_t row = first_row + r < (size_t)p->oh ? first_row + r : first_row;
                size_t at = (image * (size_t)p->oc + (size_t)oc) * plane + row * (size_t)p->ow;
                t.x[r] = x + (image * (size_t)p->ic * p->ih + row) * p->iw;
                t.residual[r] = p->has_residual ? residual + at : NULL;
                t.y[r] = (float *)step->out + at;
            }
            multiply_rows(&t, p->oc - oc < HELD ? p->oc - oc : HELD);
        }
    }
}

static double work_of(const tw_problem *problem)
{
    const tw_conv2d *p = problem->params;
    double tiles = (p->ow + PIXELS - 1) / PIXELS, computed = tiles * PIXELS * pairs_of(p) * ROWS;
    return problem->op->flops(p) * computed / ((double)p->oh * p->ow);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = step->problem->params;
    size_t items = (size_t)p->n * (size_t)pairs_of(p);
    double each = work_of(step->problem) / (double)items;
    tw_parallel(queue, rows, step, items, each < GRAIN ? (size_t)(GRAIN / (each + 1)) + 1 : 1);
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_conv2d *p = problem->params;
    (void)device;
    *reason = "reads and writes float32 in the plain layout only";
    if (problem->in[0].dtype != TW_F32 || problem->in[0].layout != TW_PLAIN || problem->out.layout != TW_PLAIN)
        return false;
    *reason = "for at most 15 output channels, without groups";
    if (p->oc > MOST_CHANNELS || p->groups != 1) return false;
    *reason = "needs stride 1, no padding, and rows of 16 outputs or more";
    return p->sh == 1 && p->sw == 1 && !p->pt && !p->pl && !p->pb && !p->pr && p->ow >= PIXELS;
}

/* Where registers are narrower than v16, gcc keeps the sums in memory, and direct_blocked is the faster. */
static double cost(const tw_problem *problem, const tw_device *device)
{
    int threads = tw_cpu_threads(device);
    return tw_cpu_seconds(device, work_of(problem), TW_VARIANT_ISA == TW_ISA_AVX512 ? 0.5 : 0.02,
                          tw_problem_bytes(problem), threads);
}

const tw_design TW_CPU_DESIGN(conv2d, direct_plain) = {
    .op = "conv2d",
    .device = "cpu",
    .name = "direct_plain",
    .summary = "for few output channels: 16 neighbouring pixels of two rows in registers, nothing packed",
    .supports = supports,
    .cost = cost,
    .run = run,
};

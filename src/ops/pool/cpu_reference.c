/* pool, the truth: the definition as loops, in double. */
#include "devices/cpu/cpu.h"
#include "ops/common/dims.h"
#include "ops/pool/pool.h"

#include <math.h>

/* The window of one output in one direction: the positions begin + i * step below end that lie inside [0, in), and
 * how many elements an average that counts its padding divides by. */
typedef struct window {
    int begin, end, step, divisor;
} window;

static int least(int a, int b)
{
    return a < b ? a : b;
}

static window row_window(const tw_pool *p, int o)
{
    if (p->kind == TW_POOL_ADAPTIVE_AVERAGE) {
        int64_t in = p->ih, out = p->oh;
        return (window){(int)(o * in / out), (int)(((o + 1) * in + out - 1) / out), 1, 0};
    }
    int begin = o * p->sh - p->pt, end = begin + p->dilh * (p->kh - 1) + 1;
    return (window){begin, least(end, p->ih), p->dilh, least(end, p->ih + p->pb) - begin};
}

static window column_window(const tw_pool *p, int o)
{
    if (p->kind == TW_POOL_ADAPTIVE_AVERAGE) {
        int64_t in = p->iw, out = p->ow;
        return (window){(int)(o * in / out), (int)(((o + 1) * in + out - 1) / out), 1, 0};
    }
    int begin = o * p->sw - p->pl, end = begin + p->dilw * (p->kw - 1) + 1;
    return (window){begin, least(end, p->iw), p->dilw, least(end, p->iw + p->pr) - begin};
}

/* x [ih][iw] */
static double pool_window(const tw_pool *p, const float *x, int oy, int ox)
{
    window rows = row_window(p, oy), columns = column_window(p, ox);
    double largest = -INFINITY, sum = 0;
    int count = 0;
    for (int iy = rows.begin; iy < rows.end; iy += rows.step)
        for (int ix = columns.begin; ix < columns.end; ix += columns.step) {
            if (iy < 0 || ix < 0) continue; /* padding */
            double v = (double)x[(size_t)iy * p->iw + ix];
            if (v > largest || v != v) largest = v; /* NaN enters, and no comparison removes it */
            sum += v;
            count++;
        }
    if (p->kind == TW_POOL_MAX) return largest;
    return sum / (p->count_include_pad ? (double)rows.divisor * columns.divisor : count);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    (void)queue;
    const tw_pool *p = step->problem->params;
    const float *x = step->in[0];
    float *y = step->out;
    for (size_t plane = 0; plane < (size_t)p->n * p->c; plane++)
        for (int oy = 0; oy < p->oh; oy++)
            for (int ox = 0; ox < p->ow; ox++) *y++ = (float)pool_window(p, x + plane * p->ih * p->iw, oy, ox);
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "reads and writes plain float32 only";
    return tw_problem_in(problem, TW_PLAIN);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.003, tw_problem_traffic(problem), 1);
}

const tw_design TW_CPU_DESIGN(pool, reference) = {
    .op = "pool",
    .device = "cpu",
    .name = "reference",
    .summary = "the definition as loops, in double",
    .supports = supports,
    .cost = cost,
    .run = run,
};

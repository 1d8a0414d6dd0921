/* relu and clip, a register of elements at a time, in whatever order the layout has them. Bound by memory: each element is
 * read once and written once, so plans fuse these into the layer before wherever they can. */
#include "ops/activation/activation.h"
#include "ops/common/dims.h"
#include "ops/common/lanes.h"

enum { GRAIN = 32 << 10 }; /* elements: 128 KiB each way */

typedef struct job {
    const float *x;
    float *y;
    float low, high;
} job;

/* items are elements */
static void clip_elements(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    lanes low = lanes_all(j->low), high = lanes_all(j->high);
    size_t i = begin;
    for (; i + TW_LANES <= end; i += TW_LANES) lanes_store(j->y + i, lanes_clip(lanes_load(j->x + i), low, high));
    if (i < end) lanes_store_part(j->y + i, lanes_clip(lanes_load_part(j->x + i, end - i, 0), low, high), end - i);
}

/* The padded channels of a blocked tensor stay zero where 0 itself is outside the bounds. */
static void clear_padding(const tw_clip *p, float *y)
{
    int used = p->c % TW_BLOCK;
    if (used == 0) return;
    size_t pixels = (size_t)p->h * p->w, blocks = (size_t)(p->c / TW_BLOCK + 1);
    for (size_t n = 0; n < (size_t)p->n; n++)
        for (size_t i = 0; i < pixels; i++) {
            float *pixel = y + (((n + 1) * blocks - 1) * pixels + i) * TW_BLOCK;
            memset(pixel + used, 0, (size_t)(TW_BLOCK - used) * sizeof *pixel);
        }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_clip *p = step->problem->params;
    job j = {step->in[0], step->out, p->low, p->high};
    tw_parallel(queue, clip_elements, &j, tw_problem_elements(step->problem, 0), GRAIN);
    if (step->problem->out.layout == TW_BLOCKED && (p->low > 0 || p->high < 0)) clear_padding(p, j.y);
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "float32, plain or blocked, the output as the input";
    return tw_problem_in(problem, TW_PLAIN) || tw_problem_in(problem, TW_BLOCKED);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.2, tw_problem_traffic(problem),
                          tw_cpu_threads(device));
}

const tw_design TW_CPU_DESIGN(relu, vectorised) = {
    .op = "relu",
    .device = "cpu",
    .name = "vectorised",
    .summary = "a register of elements at a time, in the layout that is there",
    .in_place = true,
    .supports = supports,
    .cost = cost,
    .run = run,
};

const tw_design TW_CPU_DESIGN(clip, vectorised) = {
    .op = "clip",
    .device = "cpu",
    .name = "vectorised",
    .summary = "a register of elements at a time, in the layout that is there",
    .in_place = true,
    .supports = supports,
    .cost = cost,
    .run = run,
};

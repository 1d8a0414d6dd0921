/* reorder, the truth: each element from its place in one layout to its place in another; any two layouts. */
#include "devices/cpu/cpu.h"
#include "ops/common/dims.h"
#include "ops/reorder/reorder.h"

#include <string.h>

/* Where element [n][c][pixel] lies. */
static size_t place(const tw_reorder *p, tw_layout layout, const size_t at[3])
{
    size_t c = (size_t)p->c, pixels = (size_t)p->h * (size_t)p->w, blocks = (c + TW_BLOCK - 1) / TW_BLOCK;
    switch (layout) {
    case TW_NHWC: return (at[0] * pixels + at[2]) * c + at[1];
    case TW_BLOCKED: return ((at[0] * blocks + at[1] / TW_BLOCK) * pixels + at[2]) * TW_BLOCK + at[1] % TW_BLOCK;
    default: return (at[0] * c + at[1]) * pixels + at[2];
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    (void)queue;
    const tw_problem *problem = step->problem;
    const tw_reorder *p = problem->params;
    const float *x = step->in[0];
    float *y = step->out;
    size_t n = (size_t)p->n, c = (size_t)p->c, pixels = (size_t)p->h * (size_t)p->w, at[3];
    if (problem->out.layout == TW_BLOCKED) memset(y, 0, tw_problem_elements(problem, 1) * sizeof *y); /* the padding */
    for (at[0] = 0; at[0] < n; at[0]++)
        for (at[1] = 0; at[1] < c; at[1]++)
            for (at[2] = 0; at[2] < pixels; at[2]++)
                y[place(p, problem->out.layout, at)] = x[place(p, problem->in[0].layout, at)];
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "float32 only, from plain, blocked or nhwc to any of them";
    return problem->in[0].dtype == TW_F32 && problem->out.dtype == TW_F32 && problem->in[0].layout < TW_LAYOUTS &&
           problem->out.layout < TW_LAYOUTS;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cpu_seconds(device, (double)tw_problem_elements(problem, 1), 0.003, tw_problem_traffic(problem), 1);
}

const tw_design TW_CPU_DESIGN(reorder, reference) = {
    .op = "reorder",
    .device = "cpu",
    .name = "reference",
    .summary = "each element from its place to its place; any two layouts",
    .supports = supports,
    .cost = cost,
    .run = run,
};

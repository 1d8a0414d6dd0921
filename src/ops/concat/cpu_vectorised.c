/* concat as copies of whole runs of planes. Plain: any parts. Blocked: where every part but the last fills its blocks
 * of 16 channels, blocks follow blocks as planes follow planes; else channels would have to move between lanes, and it
 * refuses. Bound by memory. */
#include "devices/cpu/simd.h"
#include "ops/common/dims.h"
#include "ops/concat/concat.h"

enum { GRAIN = 32 << 10 }; /* elements */

typedef struct job {
    const void *const *in;
    float *y;
    int count;
    size_t planes[TW_CONCAT_MAX]; /* of each part, for one n */
    size_t all_planes;            /* of the output, for one n */
    size_t plane;                 /* elements of one */
} job;

/* items are planes of the output, n after n */
static void copy_planes(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    while (begin < end) {
        size_t n = begin / j->all_planes, within = begin % j->all_planes;
        int part = 0;
        while (within >= j->planes[part]) within -= j->planes[part++];
        size_t run = j->planes[part] - within;
        if (run > end - begin) run = end - begin;
        const float *x = j->in[part];
        memcpy(j->y + begin * j->plane, x + (n * j->planes[part] + within) * j->plane, run * j->plane * sizeof *x);
        begin += run;
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_concat *p = step->problem->params;
    size_t block = step->problem->out.layout == TW_BLOCKED ? TW_BLOCK : 1;
    job j = {.in = step->in, .y = step->out, .count = p->count, .plane = (size_t)p->h * (size_t)p->w * block};
    for (int i = 0; i < p->count; i++) {
        j.planes[i] = ((size_t)p->c[i] + block - 1) / block;
        j.all_planes += j.planes[i];
    }
    tw_parallel(queue, copy_planes, &j, (size_t)p->n * j.all_planes, GRAIN / j.plane + 1);
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    const tw_concat *p = problem->params;
    *reason = "float32, plain or blocked, the output as the inputs";
    if (tw_problem_in(problem, TW_PLAIN)) return true;
    if (!tw_problem_in(problem, TW_BLOCKED)) return false;
    *reason = "blocked: every input but the last needs a multiple of 16 channels";
    for (int i = 0; i + 1 < p->count; i++)
        if (p->c[i] % TW_BLOCK != 0) return false;
    return true;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cpu_seconds(device, 0, 1, tw_problem_traffic(problem), tw_cpu_threads(device));
}

const tw_design TW_CPU_DESIGN(concat, vectorised) = {
    .op = "concat",
    .device = "cpu",
    .name = "vectorised",
    .summary = "copies whole runs of planes",
    .supports = supports,
    .cost = cost,
    .run = run,
};

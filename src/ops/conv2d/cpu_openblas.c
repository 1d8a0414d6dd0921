/* conv2d by the system's OpenBLAS, a yardstick: columns of the input in memory, then one cblas_sgemm() for each image,
 * group and chunk of pixels, then bias, residual and activation. 1x1 kernels with stride 1 need no columns. This is
 * how the frameworks of the original study's time did it; `auto` never chooses it. */
#include "devices/cpu/cpu.h"
#include "devices/cpu/openblas.h"
#include "ops/conv2d/columns.h"
#include "ops/conv2d/plain.h"

#include <limits.h>

enum {
    COLUMNS = 4 << 20, /* most floats of columns in memory */
    CHUNK = 64,        /* fewest pixels of a product */
    GRAIN = 16384      /* floats that are worth a thread */
};

static int rows_of(const tw_conv2d *p)
{
    return p->ic / p->groups * p->kh * p->kw;
}

static bool is_product(const tw_conv2d *p)
{
    return p->kh == 1 && p->kw == 1 && p->sh == 1 && p->sw == 1 && !(p->pt | p->pl | p->pb | p->pr);
}

/* Pixels of one product. */
static int chunk_of(const tw_conv2d *p)
{
    int plane = p->oh * p->ow, fit = COLUMNS / rows_of(p);
    if (is_product(p) || plane <= fit) return plane;
    return fit > CHUNK ? fit : plane < CHUNK ? plane : CHUNK;
}

static size_t workspace(const tw_problem *problem, const tw_device *device)
{
    (void)device;
    const tw_conv2d *p = problem->params;
    return is_product(p) ? 0 : (size_t)rows_of(p) * (size_t)chunk_of(p) * sizeof(float);
}

/* Columns [first, first + count) of one group of one image, to[k][count]. */
typedef struct job {
    const tw_step *step;
    tw_columns columns;
    int first, count;
} job;

static void write_rows(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    float *to = j->step->workspace;
    for (size_t k = begin; k < end; k++)
        tw_columns_write(&j->columns, (int)k, j->first, j->count, to + k * (size_t)j->count);
}

/* Items are planes of y. */
static void finish_planes(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const tw_step *step = context;
    const tw_conv2d *p = step->problem->params;
    const float *bias = step->in[2], *residual = step->in[3];
    float *y = step->out;
    size_t plane = (size_t)p->oh * (size_t)p->ow;
    for (size_t i = begin; i < end; i++)
        for (size_t at = i * plane; at < (i + 1) * plane; at++) {
            float v = y[at] + (bias ? bias[i % (size_t)p->oc] : 0);
            if (residual) v += residual[at];
            if (p->activation != TW_ACT_NONE && v < 0) v = 0;
            if (p->activation == TW_ACT_RELU6 && v > 6) v = 6;
            y[at] = v;
        }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const char *reason;
    const tw_openblas *blas = tw_openblas_load(&reason);
    if (!blas) return TW_FAILED;
    const tw_conv2d *p = step->problem->params;
    int plane = p->oh * p->ow, k = rows_of(p), ocg = p->oc / p->groups, chunk = chunk_of(p);
    int threads = tw_cpu_threads(&tw_queue_cpu(queue)->device);
    blas->set_threads(threads < blas->most_threads ? threads : blas->most_threads);
    for (int group = 0; group < p->n * p->groups; group++) { /* of all images */
        const float *image =
            (const float *)step->in[0] + (size_t)group * (size_t)(p->ic / p->groups) * (size_t)p->ih * (size_t)p->iw;
        const float *w = (const float *)step->in[1] + (size_t)(group % p->groups) * (size_t)ocg * (size_t)k;
        float *y = (float *)step->out + (size_t)group * (size_t)ocg * (size_t)plane;
        for (int first = 0; first < plane; first += chunk) {
            job j = {step, {p, image}, first, plane - first < chunk ? plane - first : chunk};
            if (!is_product(p)) tw_parallel(queue, write_rows, &j, (size_t)k, 1 + (size_t)(GRAIN / j.count));
            const float *columns = is_product(p) ? image : step->workspace;
            blas->sgemm(TW_BLAS_ROW_MAJOR, TW_BLAS_AS_IS, TW_BLAS_AS_IS, ocg, j.count, k, 1, w, k, columns, j.count, 0,
                        y + first, plane);
        }
    }
    if (step->in[2] || step->in[3] || p->activation != TW_ACT_NONE)
        tw_parallel(queue, finish_planes, step, (size_t)p->n * (size_t)p->oc, 1 + (size_t)(GRAIN / plane));
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    const tw_conv2d *p = problem->params;
    if (!tw_conv2d_is_plain(problem, reason)) return false;
    *reason = "the problem is too large for 32-bit sizes";
    if ((int64_t)(p->ic / p->groups) * p->kh * p->kw > INT_MAX || (int64_t)p->oh * p->ow > INT_MAX ||
        (int64_t)p->n * p->groups > INT_MAX)
        return false;
    return tw_openblas_load(reason) != NULL;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    double columns = is_product(p) ? 0 : 8.0 * p->n * p->groups * rows_of(p) * p->oh * p->ow; /* written and read */
    return tw_cpu_seconds(device, problem->op->flops(p), 0.6, tw_problem_bytes(problem) + columns,
                          tw_cpu_threads(device));
}

const tw_design TW_CPU_DESIGN(conv2d, openblas) = {
    .op = "conv2d",
    .device = "cpu",
    .name = "openblas",
    .summary = "columns of the input and the system's OpenBLAS",
    .yardstick = true,
    .varies_with_threads = true,
    .supports = supports,
    .workspace = workspace,
    .cost = cost,
    .run = run,
};

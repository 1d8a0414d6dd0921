/* linear by the system's OpenBLAS, a yardstick: cblas_sgemv() for one image, cblas_sgemm() for more, then bias and
 * activation in a pass of their own. `auto` never chooses it. */
#include "devices/cpu/cpu.h"
#include "devices/cpu/openblas.h"
#include "ops/linear/linear.h"

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const char *reason;
    const tw_openblas *blas = tw_openblas_load(&reason);
    if (!blas) return TW_FAILED;
    const tw_linear *p = step->problem->params;
    const float *x = step->in[0], *w = step->in[1], *bias = step->in[2];
    float *y = step->out;
    int threads = tw_cpu_threads(&tw_queue_cpu(queue)->device);
    blas->set_threads(threads < blas->most_threads ? threads : blas->most_threads);
    if (p->n == 1)
        blas->sgemv(TW_BLAS_ROW_MAJOR, TW_BLAS_AS_IS, p->oc, p->ic, 1, w, p->ic, x, 1, 0, y, 1);
    else
        blas->sgemm(TW_BLAS_ROW_MAJOR, TW_BLAS_AS_IS, TW_BLAS_TRANSPOSED, p->n, p->oc, p->ic, 1, x, p->ic, w, p->ic, 0,
                    y, p->oc);
    if (!bias && p->activation == TW_ACT_NONE) return TW_OK;
    for (int n = 0; n < p->n; n++, y += p->oc)
        for (int oc = 0; oc < p->oc; oc++) {
            float v = y[oc] + (bias ? bias[oc] : 0);
            if (p->activation != TW_ACT_NONE && v < 0) v = 0;
            if (p->activation == TW_ACT_RELU6 && v > 6) v = 6;
            y[oc] = v;
        }
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "reads and writes plain float32 only";
    if (problem->out.dtype != TW_F32 || problem->in[0].layout != TW_PLAIN || problem->out.layout != TW_PLAIN)
        return false;
    return tw_openblas_load(reason) != NULL;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cpu_seconds(device, problem->op->flops(problem->params), 0.6, tw_problem_bytes(problem),
                          tw_cpu_threads(device));
}

const tw_design TW_CPU_DESIGN(linear, openblas) = {
    .op = "linear",
    .device = "cpu",
    .name = "openblas",
    .summary = "the system's OpenBLAS",
    .yardstick = true,
    .varies_with_threads = true,
    .supports = supports,
    .cost = cost,
    .run = run,
};

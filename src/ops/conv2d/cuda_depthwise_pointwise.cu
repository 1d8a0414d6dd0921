/* conv2d, depthwise_pointwise on CUDA: a 1x1 convolution launched as one with the depthwise layer before it, whose result
 * nobody else reads. It is `tensor_core`'s matrix product (devices/cuda/mma_gemm.cu, whose essay says what threads and
 * blocks do), except that a tile of the product's left side is computed where it would be copied: the depthwise layer's
 * input crosses L2 once for each row of taps and each tile of output channels, and its result never leaves shared memory.
 * A network of such blocks (MobileNetV2, EfficientNet-Lite) saves a launch a block, and of large batches the way through
 * memory. By itself, as profiles run it, the layer is the same product of a stored input, and agrees with the pair up to the
 * order in which blocks that share k add their sums. */
#include "devices/cuda/kernel.h"
#include "devices/cuda/mma_gemm.h"
#include "ops/conv2d/conv2d.h"

#include <string.h>

/* On an H100 pairs of one image save MobileNetV2 and EfficientNet-Lite0 5 to 10 %. Of 8 and 128 images, as many as the cost
 * alone chooses make both slower, by up to 31 %, but for MobileNetV2 in tf32: the threads that compute a leave few to wait
 * for memory. With this factor neither network has pairs there; it is no fit. */
static const double SEVERAL_IMAGES = 2;

static tw_mma_gemm gemm_of(const tw_problem *problem)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    tw_mma_gemm g = {problem->precision, problem->in[0], problem->out.dtype};
    g.n = p->n, g.groups = 1;
    g.ic = p->ic, g.ih = p->ih, g.iw = p->iw;
    g.oc = p->oc, g.oh = p->oh, g.ow = p->ow;
    g.kh = g.kw = g.sh = g.sw = g.dilh = g.dilw = 1;
    g.activation = p->activation, g.bias = p->has_bias, g.residual = p->has_residual;
    return g;
}

/* The product as it follows the depthwise layer. */
static tw_mma_gemm pair_of(const tw_problem *before, const tw_problem *problem)
{
    const tw_conv2d *p = (const tw_conv2d *)before->params;
    tw_mma_gemm g = gemm_of(problem);
    g.ih = p->ih, g.iw = p->iw;
    g.sh = p->sh, g.sw = p->sw, g.pt = p->pt, g.pl = p->pl;
    g.before.size = p->kh;
    g.before.activation = p->activation;
    return g;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const tw_dtype own = tw_precision_dtype(problem->precision), out = problem->out.dtype;
    *reason = "follows a depthwise layer: needs a 1x1 window at stride 1 without padding, in one group";
    if (p->kh != 1 || p->kw != 1 || p->groups != 1 || p->sh != 1 || p->sw != 1) return false;
    if (p->pt || p->pl || p->pb || p->pr) return false;
    *reason = "reads and writes channels-last";
    if (problem->in[0].layout != TW_NHWC || problem->in[0].dtype != own) return false;
    if (problem->out.layout != TW_NHWC || (out != own && out != TW_F32)) return false;
    const tw_mma_gemm g = gemm_of(problem);
    return tw_mma_gemm_supports(&g, device, reason);
}

/* Is `before` what the kernel computes on the way? `depthwise` has been asked for the rest: a dense square window of 3 or 5
 * at stride 1 or 2. */
static bool can_follow(const tw_problem *before, const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = (const tw_conv2d *)before->params, *q = (const tw_conv2d *)problem->params;
    const tw_type in = before->in[0], own = problem->in[0];
    if (strcmp(before->op->name, "conv2d") != 0 || p->has_residual || p->groups != p->ic || p->oc != p->ic)
        return false;
    if ((p->kh != 3 && p->kh != 5) || p->kw != p->kh || p->sw != p->sh || p->dilh != 1 || p->dilw != 1) return false;
    if (p->n != q->n || p->oc != q->ic || p->oh != q->ih || p->ow != q->iw) return false; /* reshaped */
    if (in.layout != own.layout || in.dtype != own.dtype || before->out.layout != own.layout) return false;
    const char *reason;
    const tw_mma_gemm g = pair_of(before, problem);
    return before->out.dtype == own.dtype && tw_mma_gemm_supports(&g, device, &reason);
}

static double pair_cost(const tw_problem *before, const tw_problem *problem, const tw_device *device)
{
    if (!can_follow(before, problem, device)) return INFINITY;
    const tw_mma_gemm g = pair_of(before, problem);
    return tw_mma_gemm_cost(&g, device) * (g.n > 1 ? SEVERAL_IMAGES : 1);
}

static tw_status run_pair(const tw_step *steps, tw_queue *queue)
{
    tw_mma_gemm g = pair_of(steps[0].problem, steps[1].problem);
    g.before.weights = (const float *)steps[0].packed;
    g.before.bias = (const float *)steps[0].in[2];
    tw_step step = steps[1];
    step.in[0] = steps[0].in[0];
    return tw_mma_gemm_run(&g, &step, queue);
}

typedef tw_mma_gemm_design<gemm_of> gemm;

extern "C" const tw_design tw_conv2d_cuda_depthwise_pointwise = {
    .op = "conv2d",
    .device = "cuda",
    .name = "depthwise_pointwise",
    .summary = "1x1, launched as one with the depthwise layer before it, whose result stays in shared memory",
    .precisions = TW_IN_TF32 | TW_IN_FP16 | TW_IN_BF16,
    .supports = supports,
    .workspace = gemm::workspace,
    .packed_bytes = gemm::packed_bytes,
    .pack = gemm::pack,
    .cost = gemm::cost,
    .run = gemm::run,
    .follows = "depthwise",
    .pair_cost = pair_cost,
    .run_pair = run_pair,
};

/* conv2d, tensor_core on CUDA: an implicit matrix product by mma.sync in tf32, fp16 or bf16, sums in float32
 * (devices/cuda/mma_gemm.cu, whose essay says what threads and blocks do). A row of the product is a pixel of the
 * output, a column one of its channels, k runs over the window and its channels. Activations are channels-last, so that
 * 16 bytes are neighbouring k; a network's plain float32 input is gathered number by number, and leaves channels-last
 * too. x crosses device memory about once, and L2 once for each tile of channels and each element of the window. */
#include "devices/cuda/kernel.h"
#include "devices/cuda/mma_gemm.h"
#include "ops/conv2d/conv2d.h"

static tw_mma_gemm gemm_of(const tw_problem *problem)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    tw_mma_gemm g = {problem->precision, problem->in[0], problem->out.dtype};
    g.n = p->n, g.groups = p->groups;
    g.ic = p->ic, g.ih = p->ih, g.iw = p->iw;
    g.oc = p->oc, g.oh = p->oh, g.ow = p->ow;
    g.kh = p->kh, g.kw = p->kw, g.sh = p->sh, g.sw = p->sw;
    g.pt = p->pt, g.pl = p->pl, g.dilh = p->dilh, g.dilw = p->dilw;
    g.activation = p->activation, g.bias = p->has_bias, g.residual = p->has_residual;
    return g;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_dtype own = tw_precision_dtype(problem->precision), in = problem->in[0].dtype, out = problem->out.dtype;
    *reason = "writes channels-last, from channels-last or a plain float32 input";
    if (problem->out.layout != TW_NHWC || (out != own && out != TW_F32)) return false;
    if (!(problem->in[0].layout == TW_NHWC && in == own) && !(problem->in[0].layout == TW_PLAIN && in == TW_F32))
        return false;
    const tw_mma_gemm g = gemm_of(problem);
    return tw_mma_gemm_supports(&g, device, reason);
}

typedef tw_mma_gemm_design<gemm_of> gemm;

extern "C" const tw_design tw_conv2d_cuda_tensor_core = {
    .op = "conv2d",
    .device = "cuda",
    .name = "tensor_core",
    .summary = "an implicit matrix product on tensor cores by mma.sync, from channels-last or a plain first input",
    .precisions = TW_IN_TF32 | TW_IN_FP16 | TW_IN_BF16,
    .supports = supports,
    .workspace = gemm::workspace,
    .packed_bytes = gemm::packed_bytes,
    .pack = gemm::pack,
    .cost = gemm::cost,
    .run = gemm::run,
};

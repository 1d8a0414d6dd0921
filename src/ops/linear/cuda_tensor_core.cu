/* linear, tensor_core on CUDA: a matrix product by mma.sync in tf32, fp16 or bf16, sums in float32
 * (devices/cuda/mma_gemm.cu, whose essay says what threads and blocks do). A row is an image, a column an output
 * feature, k the input features: a convolution with a 1x1 window on images of one pixel. Weights cross device memory
 * once for each tile of images, which bounds it up to batches of some 128; k is split among blocks so that all
 * multiprocessors read. For very few images most of a tile is empty and gemv is the better design. */
#include "devices/cuda/kernel.h"
#include "devices/cuda/mma_gemm.h"
#include "ops/linear/linear.h"

static tw_mma_gemm gemm_of(const tw_problem *problem)
{
    const tw_linear *p = (const tw_linear *)problem->params;
    tw_mma_gemm g = {problem->precision, problem->in[0], problem->out.dtype};
    g.n = p->n, g.ic = p->ic, g.oc = p->oc;
    g.groups = g.ih = g.iw = g.oh = g.ow = g.kh = g.kw = g.sh = g.sw = g.dilh = g.dilw = 1;
    g.activation = p->activation, g.bias = p->has_bias;
    return g;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_dtype own = tw_precision_dtype(problem->precision), in = problem->in[0].dtype, out = problem->out.dtype;
    *reason = "reads and writes the plain layout, in the precision's own type or float32";
    if (problem->in[0].layout != TW_PLAIN || problem->out.layout != TW_PLAIN || (in != own && in != TW_F32) ||
        (out != own && out != TW_F32))
        return false;
    const tw_mma_gemm g = gemm_of(problem);
    return tw_mma_gemm_supports(&g, device, reason);
}

typedef tw_mma_gemm_design<gemm_of> gemm;

extern "C" const tw_design tw_linear_cuda_tensor_core = {
    .op = "linear",
    .device = "cuda",
    .name = "tensor_core",
    .summary = "a matrix product on tensor cores by mma.sync, k split among blocks where images are few",
    .precisions = TW_IN_TF32 | TW_IN_FP16 | TW_IN_BF16,
    .supports = supports,
    .workspace = gemm::workspace,
    .packed_bytes = gemm::packed_bytes,
    .pack = gemm::pack,
    .cost = gemm::cost,
    .run = gemm::run,
};

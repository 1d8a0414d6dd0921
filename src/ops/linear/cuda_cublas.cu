/* linear by NVIDIA's cuBLAS, a yardstick: y [n][oc] = x [n][ic] * w [oc][ic]^T is, column by column, one cublasGemmEx() of
 * w^T and x, whose algorithm its own heuristics choose; then bias and activation in a kernel of ours. Sums are float32;
 * in fp32 products are too, in tf32 it may round both factors. Its workspace is ours, of the size that NVIDIA recommends,
 * so that steps of two plans never share one. `auto` never chooses it. */
#include "devices/cuda/vendor.cuh"
#include "ops/linear/linear.h"

extern "C" {
#include "core/half.h"
}

static size_t workspace(const tw_problem *, const tw_device *device)
{
    return (size_t)(((const tw_cuda *)device)->capability >= 90 ? 32 : 4) << 20;
}

static bool is_narrow(const tw_problem *problem)
{
    return tw_precision_dtype(problem->precision) != TW_F32;
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *)
{
    const tw_linear *p = (const tw_linear *)problem->params;
    return is_narrow(problem) ? (size_t)p->ic * p->oc * 2 : 0;
}

static void pack(const tw_problem *problem, const tw_device *, const void *const *in, void *packed)
{
    const tw_linear *p = (const tw_linear *)problem->params;
    for (size_t i = 0; i < (size_t)p->ic * p->oc; i++)
        tw_write_element(packed, tw_precision_dtype(problem->precision), i, ((const float *)in[1])[i]);
}

static int type_of(tw_dtype dtype)
{
    return dtype == TW_F16 ? CUDA_R_16F : dtype == TW_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static tw_status multiply(const tw_step *step, tw_queue *queue)
{
    const tw_problem *problem = step->problem;
    const tw_linear *p = (const tw_linear *)problem->params;
    const tw_device *device = &queue->device->base;
    const char *reason;
    const tw_vendor_use use(device);
    const tw_cublas *blas = use.cublas(&reason);
    if (!blas) return TW_FAILED;
    void *handle = use.vendor->cublas;
    if (blas->set_stream(handle, tw_cuda_stream(queue)) ||
        blas->set_workspace(handle, step->workspace, workspace(problem, device)))
        return TW_FAILED;
    const void *w = step->packed ? step->packed : step->in[1];
    const int in = type_of(problem->in[0].dtype), out = type_of(problem->out.dtype);
    const int compute = problem->precision == TW_PRECISION_TF32 ? TW_CUBLAS_TF32 : TW_CUBLAS_FP32;
    const float one = 1, zero = 0;
    const int status = blas->gemm(handle, TW_CUBLAS_TRANSPOSED, TW_CUBLAS_AS_IS, p->oc, p->n, p->ic, &one, w, in, p->ic,
                                  step->in[0], in, p->ic, &zero, step->out, out, p->oc, compute, TW_CUBLAS_HEURISTIC);
    return status == 0 ? TW_OK : TW_FAILED;
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_linear *p = (const tw_linear *)step->problem->params;
    const tw_vendor_epilogue epilogue = {(size_t)p->n * p->oc, p->oc, 1, p->activation, (const float *)step->in[2]};
    const tw_status status = multiply(step, queue);
    return status == TW_OK ? tw_vendor_finish(epilogue, step->problem->out.dtype, step->out, queue) : status;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_dtype own = tw_precision_dtype(problem->precision);
    *reason = "reads the precision's own type and writes that or float32, plain";
    if (problem->in[0].layout != TW_PLAIN || problem->out.layout != TW_PLAIN || problem->in[0].dtype != own ||
        (problem->out.dtype != own && problem->out.dtype != TW_F32))
        return false;
    return tw_vendor_use(device).cublas(reason) != NULL;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cuda_seconds(device, problem->op->flops(problem->params), is_narrow(problem) ? 8 : 0.8,
                           1.2 * tw_problem_bytes(problem), 2);
}

extern "C" const tw_design tw_linear_cuda_cublas = {
    .op = "linear",
    .device = "cuda",
    .name = "cublas",
    .summary = "NVIDIA's cuBLAS, where it is on the machine",
    .precisions = TW_IN_ALL,
    .yardstick = true,
    .supports = supports,
    .workspace = workspace,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};

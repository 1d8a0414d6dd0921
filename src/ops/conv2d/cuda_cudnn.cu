/* conv2d by NVIDIA's cuDNN, a yardstick. Its own heuristics order its algorithms for a problem; the first that is
 * deterministic and fits into the workspace does it: implicit matrix products, Winograd, FFT. In float32 activations are
 * plain, where cuDNN has all of these, and its multiply-adds are held to float32 (tolerance as for our Winograd); in tf32
 * they are plain or channels-last; in fp16 and bf16 channels-last, with weights and bias in that type, sums in float32.
 * Winograd and FFT in less than float32 would leave the tolerances and are not considered.
 *
 * Where there is a bias, and ReLU or nothing behind it, cudnnConvolutionBiasActivationForward() does it all, residual
 * included; what it refuses is cudnnConvolutionForward() and a kernel of ours. `auto` never chooses this design. */
#include "devices/cuda/vendor.cuh"

#include <stdlib.h>

extern "C" {
#include "core/half.h"
}

static const size_t workspace_limit = (size_t)1 << 30;

static bool is_narrow(const tw_problem *problem)
{
    return tw_precision_dtype(problem->precision) != TW_F32;
}

static bool is_last(const tw_problem *problem)
{
    return problem->out.layout == TW_NHWC;
}

/* ---- cuDNN's description of a problem ---- */

struct description {
    description(const tw_cudnn *dnn, const tw_problem *problem);
    ~description();
    description(const description &) = delete;
    description &operator=(const description &) = delete;

    const tw_cudnn *dnn;
    void *x, *w, *y, *bias, *convolution, *activation;
    bool whole;
};

static int math_of(tw_precision precision)
{
    return precision == TW_PRECISION_FP32   ? TW_CUDNN_MATH_FMA
           : precision == TW_PRECISION_TF32 ? TW_CUDNN_MATH_DEFAULT
                                            : TW_CUDNN_MATH_TENSOR;
}

description::description(const tw_cudnn *dnn_, const tw_problem *problem)
    : dnn(dnn_), x(), w(), y(), bias(), convolution(), activation()
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const int type = problem->precision == TW_PRECISION_FP16   ? TW_CUDNN_HALF
                     : problem->precision == TW_PRECISION_BF16 ? TW_CUDNN_BFLOAT16
                                                               : TW_CUDNN_FLOAT;
    const int format = is_last(problem) ? TW_CUDNN_NHWC : TW_CUDNN_NCHW;
    const int act = p->activation == TW_ACT_RELU ? TW_CUDNN_RELU : TW_CUDNN_IDENTITY;
    whole = !dnn->create_tensor(&x) && !dnn->set_tensor(x, format, type, p->n, p->ic, p->ih, p->iw) &&
            !dnn->create_tensor(&y) && !dnn->set_tensor(y, format, type, p->n, p->oc, p->oh, p->ow) &&
            !dnn->create_tensor(&bias) && !dnn->set_tensor(bias, format, type, 1, p->oc, 1, 1) &&
            !dnn->create_filter(&w) && !dnn->set_filter(w, type, format, p->oc, p->ic / p->groups, p->kh, p->kw) &&
            !dnn->create_activation(&activation) && !dnn->set_activation(activation, act, TW_CUDNN_PROPAGATE_NAN, 0) &&
            !dnn->create_convolution(&convolution) &&
            !dnn->set_convolution(convolution, p->pt, p->pl, p->sh, p->sw, p->dilh, p->dilw, TW_CUDNN_CROSS_CORRELATION,
                                  TW_CUDNN_FLOAT) &&
            !dnn->set_groups(convolution, p->groups) && !dnn->set_math(convolution, math_of(problem->precision));
}

description::~description()
{
    if (x) dnn->destroy_tensor(x);
    if (y) dnn->destroy_tensor(y);
    if (bias) dnn->destroy_tensor(bias);
    if (w) dnn->destroy_filter(w);
    if (activation) dnn->destroy_activation(activation);
    if (convolution) dnn->destroy_convolution(convolution);
}

/* ---- which algorithm ---- */

/* Asks the library; algorithm -1 where none serves the problem. */
static void find_algorithm(void *handle, const description &d, tw_cudnn_choice *choice)
{
    tw_cudnn_performance list[TW_CUDNN_ALGORITHMS];
    int found = 0;
    choice->algorithm = -1;
    if (d.dnn->algorithms(handle, d.x, d.w, d.convolution, d.y, TW_CUDNN_ALGORITHMS, &found, list)) return;
    for (int i = 0; i < found && choice->algorithm < 0; i++) {
        const bool exact = list[i].algorithm <= TW_CUDNN_PRECOMPUTED_GEMM;
        if (list[i].status || list[i].determinism != TW_CUDNN_DETERMINISTIC) continue;
        if (!exact && choice->precision != TW_PRECISION_FP32) continue;
        if (d.dnn->workspace_size(handle, d.x, d.w, d.convolution, d.y, list[i].algorithm, &choice->workspace))
            continue;
        if (choice->workspace <= workspace_limit) choice->algorithm = list[i].algorithm;
    }
}

/* The device's choice for the problem, asked for once. */
static tw_cudnn_choice choose(tw_vendor *vendor, const description &d, const tw_problem *problem)
{
    tw_cudnn_choice choice = {};
    choice.p = *(const tw_conv2d *)problem->params;
    choice.precision = problem->precision;
    choice.layout = problem->out.layout;
    for (size_t i = 0; i < vendor->n_choices; i++) {
        const tw_cudnn_choice *known = &vendor->choices[i];
        if (memcmp(&known->p, &choice.p, sizeof choice.p) == 0 && known->precision == choice.precision &&
            known->layout == choice.layout)
            return *known;
    }
    find_algorithm(vendor->cudnn, d, &choice);
    if (vendor->n_choices == vendor->capacity) {
        const size_t capacity = vendor->capacity ? 2 * vendor->capacity : 64;
        void *larger = realloc(vendor->choices, capacity * sizeof choice);
        if (!larger) return choice; /* and asks again */
        vendor->choices = (tw_cudnn_choice *)larger;
        vendor->capacity = capacity;
    }
    vendor->choices[vendor->n_choices++] = choice;
    return choice;
}

static bool find_choice(const tw_problem *problem, const tw_device *device, tw_cudnn_choice *choice,
                        const char **reason)
{
    const tw_vendor_use use(device);
    const tw_cudnn *dnn = use.cudnn(reason);
    if (!dnn) return false;
    const description d(dnn, problem);
    *reason = "cuDNN has no algorithm for it";
    if (!d.whole) return false;
    *choice = choose(use.vendor, d, problem);
    return choice->algorithm >= 0;
}

/* cuDNN pads both sides alike. */
static bool pads_alike(int in, int out, int kernel, int dilation, int stride, int before)
{
    return ((int64_t)in + 2 * (int64_t)before - ((int64_t)kernel - 1) * dilation - 1) / stride + 1 == out;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const tw_layout layout = problem->out.layout;
    const tw_dtype own = tw_precision_dtype(problem->precision);
    *reason = "float32 in the plain layout; tf32 there or channels-last; half precisions channels-last";
    if (problem->in[0].dtype != own || problem->out.dtype != own || problem->in[0].layout != layout) return false;
    if (layout == TW_BLOCKED || (layout == TW_PLAIN && is_narrow(problem))) return false;
    if (layout == TW_NHWC && problem->precision == TW_PRECISION_FP32) return false;
    *reason = "needs the same padding on both sides";
    if (!pads_alike(p->ih, p->oh, p->kh, p->dilh, p->sh, p->pt) ||
        !pads_alike(p->iw, p->ow, p->kw, p->dilw, p->sw, p->pl))
        return false;
    tw_cudnn_choice choice;
    return find_choice(problem, device, &choice, reason);
}

static size_t workspace(const tw_problem *problem, const tw_device *device)
{
    tw_cudnn_choice choice;
    const char *reason;
    return find_choice(problem, device, &choice, &reason) ? choice.workspace : 0;
}

/* ---- weights: channels-last [oc][kh][kw][ic], and behind them, in a half precision, the bias ---- */

static size_t weight_bytes(const tw_problem *problem)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const size_t count = (size_t)p->oc * (p->ic / p->groups) * p->kh * p->kw;
    return (count * tw_dtype_bytes(problem->out.dtype) + 255) / 256 * 256;
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *)
{
    if (!is_last(problem)) return 0;
    return weight_bytes(problem) +
           (is_narrow(problem) ? ((const tw_conv2d *)problem->params)->oc * sizeof(uint16_t) : 0);
}

static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const tw_dtype dtype = problem->out.dtype;
    const float *w = (const float *)in[1], *bias = (const float *)in[2];
    const size_t window = (size_t)p->kh * p->kw, channels = (size_t)(p->ic / p->groups);
    memset(packed, 0, packed_bytes(problem, device));
    for (size_t oc = 0; oc < (size_t)p->oc; oc++)
        for (size_t c = 0; c < channels; c++)
            for (size_t i = 0; i < window; i++)
                tw_write_element(packed, dtype, (oc * window + i) * channels + c, w[(oc * channels + c) * window + i]);
    for (int oc = 0; oc < p->oc && bias && is_narrow(problem); oc++)
        tw_write_element((char *)packed + weight_bytes(problem), dtype, (size_t)oc, bias[oc]);
}

/* ---- running ---- */

/* *finished: bias, residual and activation are in. */
static tw_status convolve(const tw_step *step, tw_queue *queue, bool *finished)
{
    const tw_problem *problem = step->problem;
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    const char *reason;
    const tw_vendor_use use(&queue->device->base);
    const tw_cudnn *dnn = use.cudnn(&reason);
    if (!dnn) return TW_FAILED;
    void *handle = use.vendor->cudnn;
    const description d(dnn, problem);
    if (!d.whole || dnn->set_stream(handle, tw_cuda_stream(queue))) return TW_FAILED;
    const tw_cudnn_choice how = choose(use.vendor, d, problem);
    if (how.algorithm < 0) return TW_FAILED;
    const void *w = step->packed ? step->packed : step->in[1], *residual = step->in[3];
    const void *bias = is_narrow(problem) ? (const char *)step->packed + weight_bytes(problem) : step->in[2];
    const float one = 1, zero = 0;
    /* Without a residual y stands in for it, times 0: cuDNN then does not read it. */
    *finished =
        p->has_bias && p->activation != TW_ACT_RELU6 &&
        dnn->convolve_and_finish(handle, &one, d.x, step->in[0], d.w, w, d.convolution, how.algorithm, step->workspace,
                                 how.workspace, residual ? &one : &zero, d.y, residual ? residual : step->out, d.bias,
                                 bias, d.activation, d.y, step->out) == 0;
    if (*finished) return TW_OK;
    return dnn->convolve(handle, &one, d.x, step->in[0], d.w, w, d.convolution, how.algorithm, step->workspace,
                         how.workspace, &zero, d.y, step->out) == 0
               ? TW_OK
               : TW_FAILED;
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = (const tw_conv2d *)step->problem->params;
    const int pixels = p->oh * p->ow;
    bool finished;
    const tw_status status = convolve(step, queue, &finished);
    if (status != TW_OK || finished) return status;
    const tw_vendor_epilogue epilogue = {(size_t)p->n * p->oc * pixels,       p->oc,
                                         is_last(step->problem) ? 1 : pixels, p->activation,
                                         (const float *)step->in[2],          step->in[3]};
    return tw_vendor_finish(epilogue, step->problem->out.dtype, step->out, queue);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cuda_seconds(device, problem->op->flops(problem->params),
                           problem->precision == TW_PRECISION_FP32 ? 0.7 : 5, 1.2 * tw_problem_bytes(problem), 2);
}

extern "C" const tw_design tw_conv2d_cuda_cudnn = {
    .op = "conv2d",
    .device = "cuda",
    .name = "cudnn",
    .summary = "NVIDIA's cuDNN by its own choice of algorithm, where it is on the machine",
    .tolerance = 1e-4,
    .precisions = TW_IN_ALL,
    .yardstick = true,
    .supports = supports,
    .workspace = workspace,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};

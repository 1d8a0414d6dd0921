/* pool by NVIDIA's cuDNN, a yardstick: one cudnnPoolingForward(), plain or channels-last in any precision. A global average
 * is the average of one window as large as the image. `auto` never chooses it. */
#include "devices/cuda/vendor.cuh"
#include "ops/pool/pool.h"

/* A window that covers the image stands for the adaptive average to one pixel. */
static tw_pool windowed(const tw_problem *problem)
{
    tw_pool p = *(const tw_pool *)problem->params;
    if (p.kind == TW_POOL_ADAPTIVE_AVERAGE) p.kh = p.ih, p.kw = p.iw, p.sh = p.sw = 1;
    return p;
}

/* cuDNN pads both sides alike, and a window never begins behind them. */
static bool pads_alike(int in, int out, int kernel, int stride, int before)
{
    return before < kernel && ((int64_t)in + 2 * (int64_t)before - kernel) / stride + 1 == out;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_pool p = windowed(problem);
    const tw_type in = problem->in[0], out = problem->out;
    *reason = "plain or channels-last, one element type";
    if (in.dtype != out.dtype || in.layout != out.layout || out.layout == TW_BLOCKED) return false;
    *reason = "needs a dense window, or a global average";
    if (p.dilh != 1 || p.dilw != 1) return false;
    if (p.kind == TW_POOL_ADAPTIVE_AVERAGE && (p.oh != 1 || p.ow != 1)) return false;
    *reason = "needs the same padding on both sides, and no window beyond it";
    if (!pads_alike(p.ih, p.oh, p.kh, p.sh, p.pt) || !pads_alike(p.iw, p.ow, p.kw, p.sw, p.pl)) return false;
    if (p.count_include_pad && (p.pt > p.pb || p.pl > p.pr)) return false; /* what ceil_mode adds would count */
    return tw_vendor_use(device).cudnn(reason) != NULL;
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_pool p = windowed(step->problem);
    const tw_type as = step->problem->out;
    const char *reason;
    const tw_vendor_use use(&queue->device->base);
    const tw_cudnn *dnn = use.cudnn(&reason);
    if (!dnn) return TW_FAILED;
    const int type = as.dtype == TW_F16 ? TW_CUDNN_HALF : as.dtype == TW_BF16 ? TW_CUDNN_BFLOAT16 : TW_CUDNN_FLOAT;
    const int format = as.layout == TW_NHWC ? TW_CUDNN_NHWC : TW_CUDNN_NCHW;
    const int mode = p.kind == TW_POOL_MAX ? TW_CUDNN_POOL_MAX
                     : p.count_include_pad ? TW_CUDNN_POOL_AVERAGE_ALL
                                           : TW_CUDNN_POOL_AVERAGE_INSIDE;
    const float one = 1, zero = 0;
    void *x = NULL, *y = NULL, *window = NULL;
    const bool done = !dnn->create_tensor(&x) && !dnn->set_tensor(x, format, type, p.n, p.c, p.ih, p.iw) &&
                      !dnn->create_tensor(&y) && !dnn->set_tensor(y, format, type, p.n, p.c, p.oh, p.ow) &&
                      !dnn->create_pooling(&window) &&
                      !dnn->set_pooling(window, mode, TW_CUDNN_PROPAGATE_NAN, p.kh, p.kw, p.pt, p.pl, p.sh, p.sw) &&
                      !dnn->set_stream(use.vendor->cudnn, tw_cuda_stream(queue)) &&
                      !dnn->pool(use.vendor->cudnn, window, &one, x, step->in[0], &zero, y, step->out);
    if (x) dnn->destroy_tensor(x);
    if (y) dnn->destroy_tensor(y);
    if (window) dnn->destroy_pooling(window);
    return done ? TW_OK : TW_FAILED;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cuda_seconds(device, 0, 1, 1.3 * tw_problem_traffic(problem), 1);
}

extern "C" const tw_design tw_pool_cuda_cudnn = {
    .op = "pool",
    .device = "cuda",
    .name = "cudnn",
    .summary = "NVIDIA's cuDNN, where it is on the machine",
    .precisions = TW_IN_ALL,
    .yardstick = true,
    .supports = supports,
    .cost = cost,
    .run = run,
};

/* conv2d, implicit_gemm on CUDA, float32: im2col_gemm's matrix product without its columns.
 *
 * Channels-last, or from a network's plain input to channels-last: pixels x channels, 16 bytes of channels at a time, k split
 * over blocks where tiles are few; gemm_last.cuh says how.
 *
 * Plain: channels x pixels. The tiles of the second matrix are
 * gathered from the image while they are staged in shared memory (gemm.cuh), so x crosses device memory about once for
 * each tile of output channels and no workspace is needed. A thread always loads the same column of a tile: it splits
 * its pixel into image, row and column once; from k it finds channel and window position with two divisions by
 * constants of the launch, done as multiplications. (Chetlur et al. 2014, cuDNN.) */
#include "devices/cuda/gemm_last.cuh"
#include "ops/conv2d/cuda_gemm.cuh"

/* ---- plain ---- */

struct image_source {
    int m, k, columns;
    tw_conv2d p;
    tw_divisor window, width;
    const float *w, *x; /* the group's */
    __device__ float a(int row, int at) const
    {
        return w[(size_t)row * k + at];
    }
    struct Column {
        const float *image;
        int iy, ix; /* of the window's first element, maybe outside */
        __device__ Column(const image_source &s, int index)
        {
            int pixels = s.p.oh * s.p.ow, n = index / pixels, pixel = index % pixels;
            image = s.x + (size_t)n * s.p.ic * s.p.ih * s.p.iw;
            iy = pixel / s.p.ow * s.p.sh - s.p.pt;
            ix = pixel % s.p.ow * s.p.sw - s.p.pl;
        }
    };
    __device__ float b(const Column &at, int k_) const
    {
        unsigned c = window.quotient(k_), rest = k_ - c * window.d, ky = width.quotient(rest), kx = rest - ky * width.d;
        int iy = at.iy + (int)ky * p.dilh, ix = at.ix + (int)kx * p.dilw;
        if (iy < 0 || iy >= p.ih || ix < 0 || ix >= p.iw) return 0.0f;
        return at.image[((size_t)c * p.ih + iy) * p.iw + ix];
    }
};

template <class Tile>
__global__ static void __launch_bounds__(Tile::threads)
    multiply(tw_conv2d_sink sink, tw_divisor window, tw_divisor width, const float *w, const float *x)
{
    const tw_conv2d &p = sink.p;
    const int ocg = p.oc / p.groups, icg = p.ic / p.groups, k = icg * p.kh * p.kw;
    tw_conv2d_sink to = sink;
    to.group = blockIdx.z;
    tw_cuda_wait();
    image_source source = {ocg,
                           k,
                           p.n * p.oh * p.ow,
                           p,
                           window,
                           width,
                           w + (size_t)to.group * ocg * k,
                           x + (size_t)to.group * icg * p.ih * p.iw};
    tw_gemm<Tile>(source, to, blockIdx.y * Tile::M, blockIdx.x * Tile::N);
}

static tw_status run_plain(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = (const tw_conv2d *)step->problem->params;
    const float *x = (const float *)step->in[0], *w = (const float *)step->in[1];
    const size_t pixels = (size_t)p->n * p->oh * p->ow;
    tw_divisor window = tw_make_divisor(p->kh * p->kw), width = tw_make_divisor(p->kw);
    tw_conv2d_sink sink = {*p, (const float *)step->in[2], (const float *)step->in[3], (float *)step->out, 0, 0};
    if (tw_conv2d_large_tiles(p, pixels, queue->device->multiprocessors))
        return tw_cuda_launch(queue, multiply<tw_gemm_large>, tw_conv2d_gemm_grid<tw_gemm_large>(p, pixels), sink,
                              window, width, w, x);
    return tw_cuda_launch(queue, multiply<tw_gemm_small>, tw_conv2d_gemm_grid<tw_gemm_small>(p, pixels), sink, window,
                          width, w, x);
}

/* ---- the record ---- */

static bool is_last(const tw_problem *problem)
{
    return problem->out.layout == TW_NHWC;
}

static tw_last_gemm plan_of(const tw_problem *problem, const tw_device *device)
{
    return tw_last_plan((const tw_conv2d *)problem->params, problem->in[0].layout == TW_PLAIN, device);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    if (!is_last(step->problem)) return run_plain(step, queue);
    const tw_last_gemm g = plan_of(step->problem, &queue->device->base);
    return tw_last_run(&g, step, (const float *)step->in[3], queue);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    if (!is_last(problem)) return tw_cuda_plain(problem, device, reason) && tw_conv2d_gemm_fits(p, reason);
    *reason = "reads channels-last or plain float32";
    if (problem->in[0].layout == TW_BLOCKED || problem->in[0].dtype != TW_F32 || problem->out.dtype != TW_F32)
        return false;
    return tw_last_supports(p, problem->in[0].layout == TW_PLAIN, reason);
}

static size_t workspace(const tw_problem *problem, const tw_device *device)
{
    if (!is_last(problem)) return 0;
    const tw_last_gemm g = plan_of(problem, device);
    return tw_last_workspace(&g);
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *)
{
    return is_last(problem) ? tw_last_packed_bytes((const tw_conv2d *)problem->params) : 0;
}

static void pack(const tw_problem *problem, const tw_device *, const void *const *in, void *packed)
{
    tw_last_pack((const tw_conv2d *)problem->params, (const float *)in[1], (float *)packed);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    if (is_last(problem))
        return fmax(plan_of(problem, device).seconds, 2 * tw_problem_bytes(problem) / device->info.peak_bytes);
    /* Tiles of 64 channels: what a layer has not is computed all the same. Few tiles take as long as one: a step of 16 k
     * waits for its loads. */
    const double rows = (double)(p->oc / p->groups), filled = rows / (64.0 * tw_ceil_div((size_t)rows, 64));
    const double steps = (double)p->kh * p->kw * (p->ic / p->groups) / 16;
    return fmax(tw_cuda_seconds(device, problem->op->flops(p), 0.4 * filled, 5 * tw_problem_bytes(problem), 1),
                steps * 1.6e-6);
}

extern "C" const tw_design tw_conv2d_cuda_implicit_gemm = {
    .op = "conv2d",
    .device = "cuda",
    .name = "implicit_gemm",
    .summary = "a tiled matrix product that gathers its windows from the image",
    .supports = supports,
    .workspace = workspace,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};

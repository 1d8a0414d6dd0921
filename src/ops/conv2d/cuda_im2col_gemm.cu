/* conv2d, im2col_gemm on CUDA: the study's best design, and with it the study's future work: the whole batch at once.
 * One launch writes each window as a column [k][n * oh * ow] in the workspace, a thread a number, coalesced along
 * pixels; a second multiplies the weights [oc][k] with it (gemm.cuh). The columns are kh * kw / (sh * sw) times larger
 * than x and cross device memory twice, which bounds it where a layer has few output channels; where the columns of
 * the batch exceed 512 MiB it goes in slices of images. (Chellapilla, Puri and Simard 2006.) */
#include "ops/conv2d/cuda_gemm.cuh"

enum { THREADS = 256 };
static const size_t slice_bytes = (size_t)512 << 20;

static size_t window_of(const tw_conv2d *p)
{
    return (size_t)(p->ic / p->groups) * p->kh * p->kw;
}

/* Images whose columns, of all groups, are made at once. */
static int slice_images(const tw_conv2d *p)
{
    double one = (double)p->groups * window_of(p) * p->oh * p->ow * sizeof(float);
    double count = (double)slice_bytes / one;
    return count < 1 ? 1 : count > p->n ? p->n : (int)count;
}

/* columns [group][k][images * oh * ow] from x, whose first image is the slice's first */
__global__ static void im2col(tw_conv2d p, const float *x, float *columns, int images)
{
    const int pixels = p.oh * p.ow, icg = p.ic / p.groups;
    const size_t row = (size_t)images * pixels, total = row * p.groups * icg * p.kh * p.kw;
    tw_cuda_wait();
    for (size_t at = (size_t)blockIdx.x * THREADS + threadIdx.x; at < total; at += (size_t)gridDim.x * THREADS) {
        int column = (int)(at % row), n = column / pixels, oy = column % pixels / p.ow, ox = column % p.ow;
        size_t k = at / row; /* group and k together: c over all channels */
        int kx = (int)(k % p.kw), ky = (int)(k / p.kw % p.kh);
        size_t c = k / p.kw / p.kh;
        int iy = oy * p.sh - p.pt + ky * p.dilh, ix = ox * p.sw - p.pl + kx * p.dilw;
        bool inside = iy >= 0 && iy < p.ih && ix >= 0 && ix < p.iw;
        columns[at] = inside ? x[(((size_t)n * p.ic + c) * p.ih + iy) * p.iw + ix] : 0.0f;
    }
}

struct columns_source {
    int m, k, columns;
    const float *w, *windows;
    __device__ float a(int row, int at) const
    {
        return w[(size_t)row * k + at];
    }
    struct Column {
        int column;
        __device__ Column(const columns_source &, int index) : column(index)
        {
        }
    };
    __device__ float b(const Column &c, int at) const
    {
        return windows[(size_t)at * columns + c.column];
    }
};

template <class Tile>
__global__ static void __launch_bounds__(Tile::threads)
    multiply(tw_conv2d_sink sink, const float *w, const float *columns, int images)
{
    const tw_conv2d &p = sink.p;
    const int ocg = p.oc / p.groups, k = p.ic / p.groups * p.kh * p.kw, pixels = images * p.oh * p.ow;
    tw_conv2d_sink to = sink;
    to.group = blockIdx.z;
    tw_cuda_wait();
    columns_source source = {ocg, k, pixels, w + (size_t)to.group * ocg * k, columns + (size_t)to.group * k * pixels};
    tw_gemm<Tile>(source, to, blockIdx.y * Tile::M, blockIdx.x * Tile::N);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = (const tw_conv2d *)step->problem->params;
    const float *x = (const float *)step->in[0], *w = (const float *)step->in[1];
    float *columns = (float *)step->workspace;
    const int slice = slice_images(p);
    for (int first = 0; first < p->n; first += slice) {
        const int images = p->n - first < slice ? p->n - first : slice;
        const size_t pixels = (size_t)images * p->oh * p->ow;
        const tw_cuda_grid writing = {dim3(tw_cuda_blocks(pixels * window_of(p) * p->groups, THREADS)), THREADS};
        tw_status status =
            tw_cuda_launch(queue, im2col, writing, *p, x + (size_t)first * p->ic * p->ih * p->iw, columns, images);
        if (status != TW_OK) return status;
        tw_conv2d_sink sink = {*p,   (const float *)step->in[2], (const float *)step->in[3], (float *)step->out, 0,
                               first};
        status = tw_conv2d_large_tiles(p, pixels, queue->device->multiprocessors)
                     ? tw_cuda_launch(queue, multiply<tw_gemm_large>, tw_conv2d_gemm_grid<tw_gemm_large>(p, pixels),
                                      sink, w, (const float *)columns, images)
                     : tw_cuda_launch(queue, multiply<tw_gemm_small>, tw_conv2d_gemm_grid<tw_gemm_small>(p, pixels),
                                      sink, w, (const float *)columns, images);
        if (status != TW_OK) return status;
    }
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    return tw_cuda_plain(problem, device, reason) && tw_conv2d_gemm_fits((const tw_conv2d *)problem->params, reason);
}

static size_t workspace(const tw_problem *problem, const tw_device *device)
{
    (void)device;
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    return (size_t)slice_images(p) * p->groups * window_of(p) * p->oh * p->ow * sizeof(float);
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = (const tw_conv2d *)problem->params;
    double columns = (double)p->n * p->groups * window_of(p) * p->oh * p->ow * sizeof(float);
    /* However few its tiles are, a step of 16 k waits for its loads. */
    const double product = fmax(tw_cuda_seconds(device, problem->op->flops(p), 0.5, 5 * tw_problem_bytes(problem), 1),
                                (double)window_of(p) / 16 * 1.6e-6);
    return product + tw_cuda_seconds(device, 0, 1, 3 * columns, 1);
}

extern "C" const tw_design tw_conv2d_cuda_im2col_gemm = {
    .op = "conv2d",
    .device = "cuda",
    .name = "im2col_gemm",
    .summary = "windows of the whole batch written as columns, then one tiled matrix product",
    .supports = supports,
    .workspace = workspace,
    .cost = cost,
    .run = run,
};

/* linear, tiled on CUDA: a matrix product y^T [oc][n] = w [oc][ic] * x^T [ic][n] by tiles in shared memory and
 * registers (gemm.cuh), 64 x 64 outputs a block. w crosses device memory once for each 64 images, x once for each 64
 * features. With few images most of each tile is empty: gemv is for those. */
#include "devices/cuda/gemm.cuh"
#include "ops/linear/linear.h"

struct rows_source {
    int m, k, columns;
    const float *w, *x;
    __device__ float a(int row, int at) const
    {
        return w[(size_t)row * k + at];
    }
    struct Column {
        const float *row;
        __device__ Column(const rows_source &s, int index) : row(s.x + (size_t)index * s.k)
        {
        }
    };
    __device__ float b(const Column &c, int at) const
    {
        return c.row[at];
    }
};

struct rows_sink {
    tw_linear p;
    const float *bias;
    float *y;
    __device__ void operator()(int row, int column, float sum) const
    {
        if (p.has_bias) sum += bias[row];
        y[(size_t)column * p.oc + row] = tw_activate(sum, p.activation);
    }
};

__global__ static void __launch_bounds__(tw_gemm_small::threads) tiled(rows_source source, rows_sink sink)
{
    tw_cuda_wait();
    tw_gemm<tw_gemm_small>(source, sink, blockIdx.x * tw_gemm_small::M, blockIdx.y * tw_gemm_small::N);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_linear *p = (const tw_linear *)step->problem->params;
    rows_source source = {p->oc, p->ic, p->n, (const float *)step->in[1], (const float *)step->in[0]};
    rows_sink sink = {*p, (const float *)step->in[2], (float *)step->out};
    const tw_cuda_grid grid = {
        dim3(tw_ceil_div((size_t)p->oc, tw_gemm_small::M), tw_ceil_div((size_t)p->n, tw_gemm_small::N)),
        tw_gemm_small::threads};
    return tw_cuda_launch(queue, tiled, grid, source, sink);
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_linear *p = (const tw_linear *)problem->params;
    if (!tw_cuda_plain(problem, device, reason)) return false;
    *reason = "more than 65,535 tiles of 64 images, or 2^31 - 64 features";
    return p->n <= 64 * TW_CUDA_MAX_GRID_YZ && p->oc < INT_MAX - 64 && p->ic < INT_MAX - 64;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_linear *p = (const tw_linear *)problem->params;
    double filled = (double)p->n / (64.0 * tw_ceil_div((size_t)p->n, 64));
    double blocks = (double)tw_ceil_div((size_t)p->oc, 64) * tw_ceil_div((size_t)p->n, 64);
    double busy = blocks < 132 ? blocks / 132 : 1;
    return tw_cuda_seconds(device, problem->op->flops(p), 0.4 * filled * busy, tw_problem_bytes(problem), 1);
}

extern "C" const tw_design tw_linear_cuda_tiled = {
    .op = "linear",
    .device = "cuda",
    .name = "tiled",
    .summary = "a matrix product by tiles of 64 x 64 in shared memory and registers",
    .supports = supports,
    .cost = cost,
    .run = run,
};

/* A convolution as a matrix product: y [oc][n * oh * ow] = w [oc][k] * columns [k][n * oh * ow], k = icg * kh * kw. What
 * the designs share that compute it so: one launch over tiles of channels (x), of pixels of the whole batch (y, z) and
 * groups, the epilogue, and their limits. */
#ifndef TW_OPS_CONV2D_CUDA_GEMM_CUH
#define TW_OPS_CONV2D_CUDA_GEMM_CUH

#include "devices/cuda/gemm.cuh"
#include "ops/conv2d/conv2d.h"

struct tw_conv2d_sink {
    tw_conv2d p;
    const float *bias, *residual;
    float *y;
    int group, first_image;
    __device__ void operator()(int row, int column, float sum) const
    {
        int pixels = p.oh * p.ow, oc = group * (p.oc / p.groups) + row;
        size_t n = (size_t)first_image + column / pixels;
        size_t at = (n * p.oc + oc) * pixels + column % pixels;
        if (p.has_bias) sum += bias[oc];
        if (p.has_residual) sum += residual[at];
        y[at] = tw_activate(sum, p.activation);
    }
};

/* Tiles of 128 x 128 where there are enough of them to fill the device, else of 64 x 64. */
static inline bool tw_conv2d_large_tiles(const tw_conv2d *p, size_t columns, int multiprocessors)
{
    size_t rows = (size_t)(p->oc / p->groups);
    return rows >= 96 && (size_t)tw_ceil_div(rows, 128) * tw_ceil_div(columns, 128) * p->groups >= 2u * multiprocessors;
}

/* A block a tile of pixels (x) and channels (y) of a group (z). */
template <class Tile> static inline tw_cuda_grid tw_conv2d_gemm_grid(const tw_conv2d *p, size_t columns)
{
    return {dim3(tw_ceil_div(columns, Tile::N), tw_ceil_div((size_t)p->oc / p->groups, Tile::M), (unsigned)p->groups),
            Tile::threads};
}

static inline bool tw_conv2d_gemm_fits(const tw_conv2d *p, const char **reason)
{
    *reason = "more than 65,535 groups, or tiles of 64 output channels";
    if (p->groups > TW_CUDA_MAX_GRID_YZ || p->oc / p->groups > 64 * TW_CUDA_MAX_GRID_YZ) return false;
    *reason = "more than 2^31 - 1 output pixels in the batch, or weights of one channel";
    return (double)p->n * p->oh * p->ow < INT_MAX - 128.0 && (double)p->ic / p->groups * p->kh * p->kw < INT_MAX - 16.0;
}

#endif

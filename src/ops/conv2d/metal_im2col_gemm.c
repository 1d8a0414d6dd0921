/* conv2d, im2col_gemm on Metal: the record; metal_im2col_gemm.metal says how. */
#include "ops/conv2d/metal_record.h"

enum { TILE = 64, THREADS = 128 };

/* By the ends' types: the columns are of the weights' type. */
static const char *const im2col[TW_METAL_ENDS] = {"im2col_f32", "im2col_f16", "im2col_f32_f16", "im2col_f16"};
static const char *const multiply[TW_METAL_ENDS] = {"multiply_f32", "multiply_f16", "multiply_f16", "multiply_f16_f32"};

static size_t window_of(const tw_conv2d *p)
{
    return (size_t)(p->ic / p->groups) * (size_t)p->kh * (size_t)p->kw;
}

static size_t pixels_of(const tw_conv2d *p)
{
    return (size_t)p->oh * (size_t)p->ow;
}

static double bytes_an_image(const tw_problem *problem)
{
    const tw_conv2d *p = problem->params;
    return (double)p->groups * (double)window_of(p) * (double)pixels_of(p) * (double)tw_metal_weight_bytes(problem);
}

static size_t workspace(const tw_problem *problem, const tw_device *device)
{
    (void)device;
    const tw_conv2d *p = problem->params;
    const size_t images = (size_t)tw_conv2d_metal_images(p, bytes_an_image(problem));
    return images * (size_t)p->groups * window_of(p) * pixels_of(p) * tw_metal_weight_bytes(problem);
}

static tw_status run_slice(const tw_step *step, const tw_conv2d_slice *slice, tw_queue *queue)
{
    const tw_problem *problem = step->problem;
    const tw_conv2d *p = &slice->p;
    const int ends = tw_metal_ends(problem);
    const size_t pixels = (size_t)slice->images * pixels_of(p), columns_bytes = workspace(problem, NULL);

    tw_metal_dispatch columns = tw_metal_dispatch_of(step, "conv2d/metal_im2col_gemm", im2col[ends]);
    columns.args = slice;
    columns.args_bytes = sizeof *slice;
    tw_metal_over(&columns, pixels, 256);
    columns.threadgroups[1] = (unsigned)((size_t)p->groups * window_of(p));
    tw_metal_bind_operand(&columns, step, 0);
    tw_metal_bind(&columns, step->workspace, columns_bytes);
    tw_status status = tw_metal_launch(queue, &columns);
    if (status != TW_OK) return status;

    tw_metal_dispatch product = tw_metal_dispatch_of(step, "conv2d/metal_im2col_gemm", multiply[ends]);
    product.args = slice;
    product.args_bytes = sizeof *slice;
    product.threadgroups[0] = (unsigned)tw_metal_ceil(pixels, TILE);
    product.threadgroups[1] = (unsigned)tw_metal_ceil((size_t)(p->oc / p->groups), TILE);
    product.threadgroups[2] = (unsigned)p->groups;
    product.threads[0] = THREADS;
    tw_metal_bind_weights(&product, step, tw_metal_narrowed_bytes(problem, NULL));
    tw_metal_bind(&product, step->workspace, columns_bytes);
    tw_conv2d_metal_bind_epilogue(&product, step);
    return tw_metal_launch(queue, &product);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = step->problem->params;
    const int images = tw_conv2d_metal_images(p, bytes_an_image(step->problem));
    tw_status status = TW_OK;
    for (int first = 0; first < p->n && status == TW_OK; first += images) {
        const tw_conv2d_slice slice = {*p, first, p->n - first < images ? p->n - first : images};
        status = run_slice(step, &slice, queue);
    }
    return status;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    if (!tw_metal_plain_weights(problem, device, reason)) return false;
    *reason = "columns of one image of more than 2 GiB";
    return bytes_an_image(problem) < 2147483648.0;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    const double rows = (double)(p->oc / p->groups), filled = rows / ((double)tw_metal_ceil((size_t)rows, TILE) * TILE);
    const double columns = p->n * bytes_an_image(problem), k = (double)window_of(p);
    const double threads = (double)p->n * (double)pixels_of(p) / TILE * p->oc / TILE / filled * THREADS;
    return tw_metal_seconds(device, 0, columns + tw_problem_traffic(problem) / 2, 1) +
           tw_metal_seconds(device, tw_metal_arithmetic(device, problem->op->flops(p) / filled, 0.3, threads),
                            columns + tw_problem_bytes(problem) / 2, 1) +
           k / 16 * 1e-6; /* a step's loads, and two barriers */
}

const tw_design tw_conv2d_metal_im2col_gemm = {
    .op = "conv2d",
    .device = "metal",
    .name = "im2col_gemm",
    .summary = "windows of the whole batch written as columns, then one tiled matrix product",
    .precisions = TW_METAL_PRECISIONS,
    .supports = supports,
    .workspace = workspace,
    .packed_bytes = tw_metal_narrowed_bytes,
    .pack = tw_metal_narrow,
    .cost = cost,
    .run = run,
};

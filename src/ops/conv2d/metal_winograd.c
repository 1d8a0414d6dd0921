/* conv2d, winograd on Metal: the record; metal_winograd.metal says how. */
#include "ops/conv2d/metal_record.h"

#include "ops/conv2d/winograd.h"

enum { M = 4, ALPHA = M + 2, POINTS = ALPHA * ALPHA, LANES = 32, SIMDGROUPS = 4, CHANNELS = 8, TILES = 4 };

static const char *const transform[TW_METAL_ENDS] = {"transform_f32", "transform_f16", "transform_f32",
                                                     "transform_f16"};
static const char *const finish[TW_METAL_ENDS] = {"finish_f32", "finish_f16", "finish_f16", "finish_f32"};

static size_t tiles_an_image(const tw_conv2d *p)
{
    return (size_t)tw_winograd_tiles(p->oh, M) * (size_t)tw_winograd_tiles(p->ow, M);
}

/* v and m */
static double bytes_an_image(const tw_conv2d *p)
{
    return (double)POINTS * sizeof(float) * (double)tiles_an_image(p) * ((double)p->ic + p->oc);
}

static size_t blocks_of(const tw_conv2d *p)
{
    return tw_metal_ceil((size_t)p->oc, CHANNELS);
}

static size_t workspace(const tw_problem *problem, const tw_device *device)
{
    (void)device;
    const tw_conv2d *p = problem->params;
    const size_t images = (size_t)tw_conv2d_metal_images(p, bytes_an_image(p));
    return images * tiles_an_image(p) * POINTS * sizeof(float) * ((size_t)p->ic + (size_t)p->oc);
}

static size_t packed_bytes(const tw_problem *problem, const tw_device *device)
{
    (void)device;
    const tw_conv2d *p = problem->params;
    return POINTS * blocks_of(p) * CHANNELS * (size_t)p->ic * sizeof(float);
}

/* [36][oc / 8][ic][8], zeros where the channels end */
static void pack(const tw_problem *problem, const tw_device *device, const void *const *in, void *packed)
{
    (void)device;
    const tw_conv2d *p = problem->params;
    const size_t ic = (size_t)p->ic, oc = (size_t)p->oc, plane = blocks_of(p) * CHANNELS * ic;
    double G[TW_WINOGRAD_MAX_ALPHA][TW_WINOGRAD_MAX_KERNEL], u[POINTS];
    tw_winograd_kernel_matrix(M, 3, G);
    for (size_t o = 0; o < blocks_of(p) * CHANNELS; o++)
        for (size_t c = 0; c < ic; c++) {
            float *to = (float *)packed + (o / CHANNELS * ic + c) * CHANNELS + o % CHANNELS;
            if (o < oc) tw_winograd_transform_kernel(M, 3, G, (const float *)in[1] + (o * ic + c) * 9, u);
            for (size_t i = 0; i < POINTS; i++) to[i * plane] = o < oc ? (float)u[i] : 0;
        }
}

static tw_metal_dispatch dispatch_of(const tw_step *step, const tw_conv2d_slice *slice, const char *kernel)
{
    tw_metal_dispatch d = tw_metal_dispatch_of(step, "conv2d/metal_winograd", kernel);
    d.args = slice;
    d.args_bytes = sizeof *slice;
    return d;
}

static tw_status run_slice(const tw_step *step, const tw_conv2d_slice *slice, tw_queue *queue)
{
    const tw_conv2d *p = &slice->p;
    const int ends = tw_metal_ends(step->problem);
    const size_t tiles = (size_t)slice->images * tiles_an_image(p), v_floats = POINTS * (size_t)p->ic * tiles;
    float *v = step->workspace, *m = v + v_floats;
    const size_t v_bytes = v_floats * sizeof *v, m_bytes = POINTS * (size_t)p->oc * tiles * sizeof *m;

    tw_metal_dispatch d = dispatch_of(step, slice, transform[ends]);
    tw_metal_over(&d, tiles, LANES);
    d.threadgroups[1] = (unsigned)p->ic;
    tw_metal_bind_operand(&d, step, 0);
    tw_metal_bind(&d, v, v_bytes);
    tw_status status = tw_metal_launch(queue, &d);
    if (status != TW_OK) return status;

    d = dispatch_of(step, slice, "multiply");
    d.threadgroups[0] = (unsigned)tw_metal_ceil(tiles, LANES * TILES);
    d.threadgroups[1] = (unsigned)tw_metal_ceil(blocks_of(p), SIMDGROUPS);
    d.threadgroups[2] = POINTS;
    d.threads[0] = LANES;
    d.threads[1] = SIMDGROUPS;
    tw_metal_bind_weights(&d, step, packed_bytes(step->problem, NULL));
    tw_metal_bind(&d, v, v_bytes);
    tw_metal_bind(&d, m, m_bytes);
    status = tw_metal_launch(queue, &d);
    if (status != TW_OK) return status;

    d = dispatch_of(step, slice, finish[ends]);
    tw_metal_over(&d, tiles, LANES);
    d.threadgroups[1] = (unsigned)p->oc;
    tw_metal_bind(&d, m, m_bytes);
    tw_conv2d_metal_bind_epilogue(&d, step);
    return tw_metal_launch(queue, &d);
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_conv2d *p = step->problem->params;
    const int images = tw_conv2d_metal_images(p, bytes_an_image(p));
    tw_status status = TW_OK;
    for (int first = 0; first < p->n && status == TW_OK; first += images) {
        const tw_conv2d_slice slice = {*p, first, p->n - first < images ? p->n - first : images};
        status = run_slice(step, &slice, queue);
    }
    return status;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    const tw_conv2d *p = problem->params;
    if (!tw_metal_plain_weights(problem, device, reason)) return false;
    *reason = "needs a dense 3x3 kernel with stride 1";
    if (p->kh != 3 || p->kw != 3 || p->sh != 1 || p->sw != 1 || p->dilh != 1 || p->dilw != 1) return false;
    *reason = "needs one group";
    if (p->groups != 1) return false;
    *reason = "tiles of one image of more than 2 GiB";
    if (bytes_an_image(p) >= 2147483648.0) return false;
    *reason = "more than 2^31 - 1 transformed weights";
    return (double)packed_bytes(problem, device) / sizeof(float) < 2147483647.0;
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    const tw_conv2d *p = problem->params;
    const double tiles = (double)p->n * (double)tiles_an_image(p), points = POINTS * sizeof(float) * tiles;
    const double v = points * p->ic, m = points * p->oc, u = (double)packed_bytes(problem, device);
    const double channels = (double)(blocks_of(p) * CHANNELS), flops = 2 * POINTS * tiles * channels * p->ic;
    const double threads = POINTS * tiles / TILES * channels / CHANNELS;
    return tw_metal_seconds(device, 0, v + tw_problem_bytes(problem) / 2, 1) +
           tw_metal_seconds(device, tw_metal_arithmetic(device, flops, 0.4, threads), v + m + u, 1) + p->ic * 5e-9 +
           tw_metal_seconds(device, 0, m + tw_problem_bytes(problem) / 2, 1);
}

const tw_design tw_conv2d_metal_winograd = {
    .op = "conv2d",
    .device = "metal",
    .name = "winograd",
    .summary = "F(4x4, 3x3) in three launches, the products in registers without barriers",
    .tolerance = 1e-4,
    .precisions = TW_METAL_PRECISIONS,
    .supports = supports,
    .workspace = workspace,
    .packed_bytes = packed_bytes,
    .pack = pack,
    .cost = cost,
    .run = run,
};

/* What relu and clip mean, whoever does them: shapes, work and problem descriptors. */
#include "ops/activation/activation.h"
#include "core/status.h"
#include "ops/common/dims.h"

#include <math.h>
#include <stdio.h>

static tw_dims dims_of(const tw_clip *p)
{
    return (tw_dims){p->n, p->c, p->h, p->w, p->rank};
}

static void set(tw_clip *p, const tw_dims *d, float low, float high)
{
    *p = (tw_clip){d->n, d->c, d->h, d->w, d->rank, low, high};
}

static tw_status relu_infer(void *params, const tw_shape *in, int n_in, tw_shape *out, tw_error *error)
{
    tw_dims dims;
    if (n_in != 1) return tw_fail(error, TW_INVALID, "relu: %d inputs: expected 1", n_in);
    tw_status status = tw_dims_from("relu", &in[0], &dims, error);
    if (status != TW_OK) return status;
    set(params, &dims, 0, INFINITY);
    *out = in[0];
    return TW_OK;
}

static tw_status check_bounds(float low, float high, tw_error *error)
{
    if (low <= high) return TW_OK; /* false for NaN */
    return tw_fail(error, TW_INVALID, "clip: bounds %g to %g: expected low <= high", (double)low, (double)high);
}

static tw_status clip_infer(void *params, const tw_shape *in, int n_in, tw_shape *out, tw_error *error)
{
    tw_clip *p = params;
    tw_dims dims;
    if (n_in != 1) return tw_fail(error, TW_INVALID, "clip: %d inputs: expected 1", n_in);
    tw_status status = tw_dims_from("clip", &in[0], &dims, error);
    if (status == TW_OK) status = check_bounds(p->low, p->high, error);
    if (status != TW_OK) return status;
    set(p, &dims, p->low, p->high);
    *out = in[0];
    return TW_OK;
}

static int operands(const void *params)
{
    (void)params;
    return 1;
}

static void operand_shape(const void *params, int index, tw_shape *shape)
{
    (void)index; /* y is as x */
    tw_dims dims = dims_of(params);
    *shape = tw_dims_shape(&dims);
}

static double flops(const void *params)
{
    tw_dims dims = dims_of(params);
    return tw_dims_elements(&dims);
}

static tw_status relu_parse(const char *text, void *params, tw_error *error)
{
    char suffix[TW_DIMS_SUFFIX];
    tw_dims dims;
    tw_status status = tw_dims_parse("relu", text, &dims, suffix, error);
    if (status == TW_OK) status = tw_dims_numbers("relu", suffix, NULL, 0, error);
    if (status == TW_OK) set(params, &dims, 0, INFINITY);
    return status;
}

static void relu_print(const void *params, char *text, size_t size)
{
    tw_dims dims = dims_of(params);
    tw_dims_print(&dims, text, size);
}

/* "1x64x112x112:0:6": low and high; relu6's by default. */
static tw_status clip_parse(const char *text, void *params, tw_error *error)
{
    char suffix[TW_DIMS_SUFFIX];
    tw_dims dims;
    float bounds[2] = {0, 6};
    tw_status status = tw_dims_parse("clip", text, &dims, suffix, error);
    if (status == TW_OK) status = tw_dims_numbers("clip", suffix, bounds, 2, error);
    if (status == TW_OK) status = check_bounds(bounds[0], bounds[1], error);
    if (status == TW_OK) set(params, &dims, bounds[0], bounds[1]);
    return status;
}

static void clip_print(const void *params, char *text, size_t size)
{
    const tw_clip *p = params;
    char head[64];
    tw_dims dims = dims_of(p);
    tw_dims_print(&dims, head, sizeof head);
    snprintf(text, size, "%s:%.9g:%.9g", head, (double)p->low, (double)p->high);
}

const tw_op tw_op_relu = {
    .name = "relu",
    .params_size = sizeof(tw_clip),
    .n_in = 1,
    .roles = {TW_ROLE_ACTIVATION},
    .infer = relu_infer,
    .operands = operands,
    .operand_shape = operand_shape,
    .flops = flops,
    .parse = relu_parse,
    .print = relu_print,
};

const tw_op tw_op_clip = {
    .name = "clip",
    .params_size = sizeof(tw_clip),
    .n_in = 1,
    .roles = {TW_ROLE_ACTIVATION},
    .infer = clip_infer,
    .operands = operands,
    .operand_shape = operand_shape,
    .flops = flops,
    .parse = clip_parse,
    .print = clip_print,
};

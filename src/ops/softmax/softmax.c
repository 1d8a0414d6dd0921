/* What softmax means, whoever does it: its shape, its work and its problem descriptor. */
#include "ops/softmax/softmax.h"
#include "core/status.h"
#include "ops/common/dims.h"

static tw_dims dims_of(const tw_softmax *p)
{
    return (tw_dims){p->n, p->c, p->h, p->w, p->rank};
}

static void set(tw_softmax *p, const tw_dims *d)
{
    *p = (tw_softmax){d->n, d->c, d->h, d->w, d->rank};
}

static tw_status infer(void *params, const tw_shape *in, int n_in, tw_shape *out, tw_error *error)
{
    tw_dims dims;
    if (n_in != 1) return tw_fail(error, TW_INVALID, "softmax: %d inputs: expected 1", n_in);
    tw_status status = tw_dims_from("softmax", &in[0], &dims, error);
    if (status != TW_OK) return status;
    set(params, &dims);
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
    return 5 * tw_dims_elements(&dims); /* compare, subtract, exponential, add, divide */
}

static tw_status parse(const char *text, void *params, tw_error *error)
{
    char suffix[TW_DIMS_SUFFIX];
    tw_dims dims;
    tw_status status = tw_dims_parse("softmax", text, &dims, suffix, error);
    if (status == TW_OK) status = tw_dims_numbers("softmax", suffix, NULL, 0, error);
    if (status == TW_OK) set(params, &dims);
    return status;
}

static void print(const void *params, char *text, size_t size)
{
    tw_dims dims = dims_of(params);
    tw_dims_print(&dims, text, size);
}

const tw_op tw_op_softmax = {
    .name = "softmax",
    .params_size = sizeof(tw_softmax),
    .n_in = 1,
    .roles = {TW_ROLE_ACTIVATION},
    .infer = infer,
    .operands = operands,
    .operand_shape = operand_shape,
    .flops = flops,
    .parse = parse,
    .print = print,
};

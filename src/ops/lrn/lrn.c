/* What lrn means, whoever does it: its shape, its work and its problem descriptor. */
#include "ops/lrn/lrn.h"
#include "core/status.h"
#include "ops/common/dims.h"

#include <math.h>
#include <stdio.h>

enum { MAX_SIZE = 1 << 20 };

static tw_dims dims_of(const tw_lrn *p)
{
    return (tw_dims){p->n, p->c, p->h, p->w, 4};
}

static tw_status set(tw_lrn *p, const tw_dims *d, tw_error *error)
{
    if (d->rank != 4) return tw_fail(error, TW_INVALID, "lrn: the input has %d dimensions: expected 4", d->rank);
    if (p->size < 1 || p->size > MAX_SIZE)
        return tw_fail(error, TW_INVALID, "lrn: a window of %d channels: expected 1 to %d", p->size, (int)MAX_SIZE);
    if (!isfinite(p->alpha) || !isfinite(p->beta) || !isfinite(p->k))
        return tw_fail(error, TW_INVALID, "lrn: alpha %g, beta %g, k %g: expected finite numbers", (double)p->alpha,
                       (double)p->beta, (double)p->k);
    p->n = d->n;
    p->c = d->c;
    p->h = d->h;
    p->w = d->w;
    return TW_OK;
}

static tw_status infer(void *params, const tw_shape *in, int n_in, tw_shape *out, tw_error *error)
{
    tw_dims dims;
    if (n_in != 1) return tw_fail(error, TW_INVALID, "lrn: %d inputs: expected 1", n_in);
    tw_status status = tw_dims_from("lrn", &in[0], &dims, error);
    if (status == TW_OK) status = set(params, &dims, error);
    if (status == TW_OK) *out = in[0];
    return status;
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
    const tw_lrn *p = params;
    tw_dims dims = dims_of(p);
    return (2.0 * p->size + 3) * tw_dims_elements(&dims);
}

/* "1x96x27x27:5:0.0001:0.75:2": size, alpha, beta, k; by default AlexNet's size 5 and PyTorch's for the rest. */
static tw_status parse(const char *text, void *params, tw_error *error)
{
    tw_lrn *p = params;
    char suffix[TW_DIMS_SUFFIX];
    tw_dims dims;
    float numbers[4] = {5, 1e-4f, 0.75f, 1};
    tw_status status = tw_dims_parse("lrn", text, &dims, suffix, error);
    if (status == TW_OK) status = tw_dims_numbers("lrn", suffix, numbers, 4, error);
    if (status != TW_OK) return status;
    if (!(numbers[0] >= 1 && numbers[0] <= MAX_SIZE) || numbers[0] != floorf(numbers[0]))
        return tw_fail(error, TW_INVALID, "lrn: a window of %g channels: expected an integer from 1 to %d",
                       (double)numbers[0], (int)MAX_SIZE);
    *p = (tw_lrn){.size = (int)numbers[0], .alpha = numbers[1], .beta = numbers[2], .k = numbers[3]};
    return set(p, &dims, error);
}

static void print(const void *params, char *text, size_t size)
{
    const tw_lrn *p = params;
    char head[64];
    tw_dims dims = dims_of(p);
    tw_dims_print(&dims, head, sizeof head);
    snprintf(text, size, "%s:%d:%.9g:%.9g:%.9g", head, p->size, (double)p->alpha, (double)p->beta, (double)p->k);
}

const tw_op tw_op_lrn = {
    .name = "lrn",
    .params_size = sizeof(tw_lrn),
    .n_in = 1,
    .roles = {TW_ROLE_ACTIVATION},
    .infer = infer,
    .operands = operands,
    .operand_shape = operand_shape,
    .flops = flops,
    .parse = parse,
    .print = print,
};

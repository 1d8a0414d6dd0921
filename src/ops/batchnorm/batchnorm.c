/* What batchnorm means in inference, whoever does it: its shapes, its work and its problem descriptor. */
#include "ops/batchnorm/batchnorm.h"
#include "core/status.h"
#include "ops/common/dims.h"

#include <math.h>
#include <stdio.h>

enum { OPERANDS = 5 };
static const char *const names[OPERANDS] = {"input", "weight", "bias", "running mean", "running variance"};

static tw_dims dims_of(const tw_batchnorm *p)
{
    return (tw_dims){p->n, p->c, p->h, p->w, p->rank};
}

static void set(tw_batchnorm *p, const tw_dims *d, float epsilon)
{
    *p = (tw_batchnorm){d->n, d->c, d->h, d->w, d->rank, epsilon};
}

static tw_status check_epsilon(float epsilon, tw_error *error)
{
    if (epsilon >= 0 && isfinite(epsilon)) return TW_OK;
    return tw_fail(error, TW_INVALID, "batchnorm: epsilon %g: expected a finite number of 0 or more", (double)epsilon);
}

static tw_status infer(void *params, const tw_shape *in, int n_in, tw_shape *out, tw_error *error)
{
    tw_batchnorm *p = params;
    tw_dims dims;
    if (n_in != OPERANDS) return tw_fail(error, TW_INVALID, "batchnorm: %d operands: expected %d", n_in, (int)OPERANDS);
    tw_status status = tw_dims_from("batchnorm", &in[0], &dims, error);
    if (status == TW_OK) status = check_epsilon(p->epsilon, error);
    if (status != TW_OK) return status;
    for (int i = 1; i < OPERANDS; i++)
        if (in[i].rank != 1 || in[i].dims[0] != dims.c)
            return tw_fail(error, TW_INVALID, "batchnorm: the %s must have %d elements in one dimension", names[i],
                           dims.c);
    set(p, &dims, p->epsilon);
    *out = in[0];
    return TW_OK;
}

static int operands(const void *params)
{
    (void)params;
    return OPERANDS;
}

static void operand_shape(const void *params, int index, tw_shape *shape)
{
    const tw_batchnorm *p = params;
    tw_dims dims = dims_of(p);
    *shape = index == 0 || index == OPERANDS ? tw_dims_shape(&dims) : (tw_shape){1, {p->c}};
}

static double flops(const void *params)
{
    tw_dims dims = dims_of(params);
    return 2 * tw_dims_elements(&dims); /* a multiply-add */
}

/* "1x64x112x112:1e-5": epsilon, by default PyTorch's. */
static tw_status parse(const char *text, void *params, tw_error *error)
{
    char suffix[TW_DIMS_SUFFIX];
    tw_dims dims;
    float epsilon = 1e-5f;
    tw_status status = tw_dims_parse("batchnorm", text, &dims, suffix, error);
    if (status == TW_OK) status = tw_dims_numbers("batchnorm", suffix, &epsilon, 1, error);
    if (status == TW_OK) status = check_epsilon(epsilon, error);
    if (status == TW_OK) set(params, &dims, epsilon);
    return status;
}

static void print(const void *params, char *text, size_t size)
{
    const tw_batchnorm *p = params;
    char head[64];
    tw_dims dims = dims_of(p);
    tw_dims_print(&dims, head, sizeof head);
    snprintf(text, size, "%s:%.9g", head, (double)p->epsilon);
}

const tw_op tw_op_batchnorm = {
    .name = "batchnorm",
    .params_size = sizeof(tw_batchnorm),
    .n_in = OPERANDS,
    .roles = {TW_ROLE_ACTIVATION, TW_ROLE_PARAMETER, TW_ROLE_PARAMETER, TW_ROLE_PARAMETER, TW_ROLE_PARAMETER},
    .infer = infer,
    .operands = operands,
    .operand_shape = operand_shape,
    .flops = flops,
    .parse = parse,
    .print = print,
};

/* What add means, whoever does it: its shapes, its work and its problem descriptor. */
#include "ops/add/add.h"
#include "core/status.h"
#include "ops/common/dims.h"

#include <stdio.h>
#include <string.h>

/* By TW_ACT_*: what a descriptor says behind the dimensions. */
static const char *const suffixes[] = {"", ":relu", ":relu6"};

static tw_dims dims_of(const tw_add *p)
{
    return (tw_dims){p->n, p->c, p->h, p->w, p->rank};
}

static void set(tw_add *p, const tw_dims *d, int activation)
{
    *p = (tw_add){d->n, d->c, d->h, d->w, d->rank, activation};
}

static tw_status infer(void *params, const tw_shape *in, int n_in, tw_shape *out, tw_error *error)
{
    tw_add *p = params;
    tw_dims a, b;
    if (n_in != 2) return tw_fail(error, TW_INVALID, "add: %d inputs: expected 2", n_in);
    if (p->activation < TW_ACT_NONE || p->activation > TW_ACT_RELU6)
        return tw_fail(error, TW_INVALID, "add: activation %d: expected 0 (none), 1 (relu) or 2 (relu6)",
                       p->activation);
    tw_status status = tw_dims_from("add", &in[0], &a, error);
    if (status == TW_OK) status = tw_dims_from("add", &in[1], &b, error);
    if (status != TW_OK) return status;
    if (memcmp(&a, &b, sizeof a) != 0) {
        char first[64], second[64];
        tw_dims_print(&a, first, sizeof first);
        tw_dims_print(&b, second, sizeof second);
        return tw_fail(error, TW_INVALID, "add: inputs of %s and %s: expected one shape", first, second);
    }
    set(p, &a, p->activation);
    *out = in[0];
    return TW_OK;
}

static int operands(const void *params)
{
    (void)params;
    return 2;
}

static void operand_shape(const void *params, int index, tw_shape *shape)
{
    (void)index; /* all alike */
    tw_dims dims = dims_of(params);
    *shape = tw_dims_shape(&dims);
}

static double flops(const void *params)
{
    tw_dims dims = dims_of(params);
    return tw_dims_elements(&dims);
}

/* "1x64x56x56", with ":relu" or ":relu6" behind it where there is an activation. */
static tw_status parse(const char *text, void *params, tw_error *error)
{
    char suffix[TW_DIMS_SUFFIX];
    tw_dims dims;
    tw_status status = tw_dims_parse("add", text, &dims, suffix, error);
    if (status != TW_OK) return status;
    for (int activation = TW_ACT_NONE; activation <= TW_ACT_RELU6; activation++)
        if (strcmp(suffix, suffixes[activation]) == 0) {
            set(params, &dims, activation);
            return TW_OK;
        }
    return tw_fail(error, TW_INVALID, "add: unexpected \"%s\" behind the dimensions: expected :relu, :relu6 or nothing",
                   suffix);
}

static void print(const void *params, char *text, size_t size)
{
    const tw_add *p = params;
    char head[64];
    tw_dims dims = dims_of(p);
    tw_dims_print(&dims, head, sizeof head);
    snprintf(text, size, "%s%s", head, suffixes[p->activation]);
}

const tw_op tw_op_add = {
    .name = "add",
    .params_size = sizeof(tw_add),
    .n_in = 2,
    .roles = {TW_ROLE_ACTIVATION, TW_ROLE_ACTIVATION},
    .infer = infer,
    .operands = operands,
    .operand_shape = operand_shape,
    .flops = flops,
    .parse = parse,
    .print = print,
};

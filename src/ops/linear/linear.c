/* What linear means, whoever does it: its shapes, its work and its problem descriptor. */
#include "ops/linear/linear.h"
#include "core/op.h"
#include "core/status.h"

#include <limits.h>
#include <stdio.h>

/* Sizes fit an int, and each operand's bytes fit a size_t (checked as float64, so that any type does). */
static tw_status check(const tw_linear *p, tw_error *error)
{
    if (p->n < 1 || p->ic < 1 || p->oc < 1)
        return tw_fail(error, TW_INVALID, "linear: batch %d, inputs %d, outputs %d: each must be at least 1", p->n,
                       p->ic, p->oc);
    if (p->activation < TW_ACT_NONE || p->activation > TW_ACT_RELU6)
        return tw_fail(error, TW_INVALID, "linear: activation %d: expected 0 (none), 1 (relu) or 2 (relu6)",
                       p->activation);
    if (p->has_bias < 0 || p->has_bias > 1)
        return tw_fail(error, TW_INVALID, "linear: bias %d: expected 0 or 1", p->has_bias);
    const int sides[3][2] = {{p->n, p->ic}, {p->oc, p->ic}, {p->n, p->oc}};
    for (int i = 0; i < 3; i++) {
        tw_shape shape = {2, {sides[i][0], sides[i][1]}};
        size_t count;
        tw_status status = tw_shape_count(&shape, TW_F64, &count, error);
        if (status != TW_OK) return status;
    }
    return TW_OK;
}

static bool fits_int(int64_t size)
{
    return size >= 1 && size <= INT_MAX;
}

/* The weight decides how many outputs there are; x's batch is free. */
static tw_status infer(void *params, const tw_shape *in, int n_in, tw_shape *out, tw_error *error)
{
    tw_linear *p = params;
    if (n_in != 3) return tw_fail(error, TW_INVALID, "linear: %d operands: expected x, weight and bias", n_in);
    const tw_shape *x = &in[0], *w = &in[1], *bias = &in[2];
    if (x->rank != 2)
        return tw_fail(error, TW_INVALID, "linear: input of rank %d: expected [n][features]; flatten comes first",
                       x->rank);
    if (w->rank != 2)
        return tw_fail(error, TW_INVALID, "linear: weight of rank %d: expected [outputs][inputs]", w->rank);
    if (!fits_int(x->dims[0]) || !fits_int(x->dims[1]) || !fits_int(w->dims[0]))
        return tw_fail(error, TW_INVALID, "linear: input %lldx%lld, weight %lldx%lld: sizes go from 1 to %d",
                       (long long)x->dims[0], (long long)x->dims[1], (long long)w->dims[0], (long long)w->dims[1],
                       INT_MAX);
    if (w->dims[1] != x->dims[1])
        return tw_fail(error, TW_INVALID, "linear: the input has %lld features, the weight expects %lld",
                       (long long)x->dims[1], (long long)w->dims[1]);
    if (bias->rank >= 0 && (bias->rank != 1 || bias->dims[0] != w->dims[0]))
        return tw_fail(error, TW_INVALID, "linear: the bias must have %lld elements in one dimension",
                       (long long)w->dims[0]);
    p->n = (int)x->dims[0];
    p->ic = (int)x->dims[1];
    p->oc = (int)w->dims[0];
    p->has_bias = bias->rank >= 0;
    *out = (tw_shape){2, {p->n, p->oc}};
    return check(p, error);
}

static int operands(const void *params)
{
    (void)params;
    return 3;
}

static void operand_shape(const void *params, int index, tw_shape *shape)
{
    const tw_linear *p = params;
    switch (index) {
    case 0: *shape = (tw_shape){2, {p->n, p->ic}}; break;
    case 1: *shape = (tw_shape){2, {p->oc, p->ic}}; break;
    case 2: *shape = p->has_bias ? (tw_shape){1, {p->oc}} : (tw_shape){.rank = -1}; break;
    default: *shape = (tw_shape){2, {p->n, p->oc}}; break;
    }
}

static double flops(const void *params)
{
    const tw_linear *p = params;
    return 2.0 * p->n * p->oc * p->ic;
}

/* As benchdnn's inner product: the features are ic channels of id x ih x iw elements; a size that is not given repeats
 * the one before it, so "ic256ih6" is 256 x 6 x 6 features. */
static tw_status parse(const char *text, void *params, tw_error *error)
{
    static const char *const keys[] = {"mb", "ic", "oc", "id", "ih", "iw", "act", "bias"};
    enum { MB, IC, OC, ID, IH, IW, ACT, BIAS, KEYS };
    int values[KEYS] = {[MB] = 1, [ID] = 1, [IH] = 1, [IW] = 1};
    uint64_t seen;
    tw_status status = tw_desc_scan(text, keys, values, KEYS, &seen, error);
    if (status != TW_OK) return status;
    for (int i = IH; i <= IW; i++)
        if (!(seen >> i & 1)) values[i] = values[i - 1];
    for (int i = MB; i <= IW; i++)
        if (values[i] < 1)
            return tw_fail(error, TW_INVALID, "problem \"%s\": %s %s", text, keys[i],
                           seen >> i & 1 ? "must be at least 1" : "is missing");
    int features = values[IC];
    for (int i = ID; i <= IW; i++)
        if (__builtin_mul_overflow(features, values[i], &features))
            return tw_fail(error, TW_INVALID, "problem \"%s\": more than %d features", text, INT_MAX);
    tw_linear *p = params;
    *p = (tw_linear){values[MB], features, values[OC], values[ACT], values[BIAS]};
    status = check(p, error);
    if (status != TW_OK) tw_error_prefix(error, "problem \"%s\"", text);
    return status;
}

static void print(const void *params, char *text, size_t size)
{
    const tw_linear *p = params;
    int length = snprintf(text, size, "mb%dic%doc%d", p->n, p->ic, p->oc);
    if (p->activation && length >= 0 && (size_t)length < size)
        length += snprintf(text + length, size - (size_t)length, "act%d", p->activation);
    if (p->has_bias && length >= 0 && (size_t)length < size) snprintf(text + length, size - (size_t)length, "bias1");
}

const tw_op tw_op_linear = {
    .name = "linear",
    .params_size = sizeof(tw_linear),
    .n_in = 3,
    .roles = {TW_ROLE_ACTIVATION, TW_ROLE_PARAMETER, TW_ROLE_PARAMETER},
    .infer = infer,
    .operands = operands,
    .operand_shape = operand_shape,
    .flops = flops,
    .parse = parse,
    .print = print,
};

/* What concat means, whoever does it: its shapes and its problem descriptor. It computes nothing: 0 FLOPs. */
#include "ops/concat/concat.h"
#include "core/status.h"
#include "ops/common/dims.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

/* The output, once c[0 .. count) and the rest of the first part are known. */
static tw_status finish(tw_concat *p, const tw_dims *first, tw_error *error)
{
    int64_t channels = 0;
    for (int i = 0; i < p->count; i++) channels += p->c[i];
    for (int i = p->count; i < TW_CONCAT_MAX; i++) p->c[i] = 0;
    tw_dims all = *first;
    all.c = channels > INT_MAX ? INT_MAX : (int)channels; /* then refused below */
    tw_shape shape = tw_dims_shape(&all);
    tw_status status = tw_dims_from("concat", &shape, &all, error);
    if (status != TW_OK) {
        tw_error_prefix(error, "concat's output");
        return status;
    }
    p->n = first->n;
    p->h = first->h;
    p->w = first->w;
    p->rank = first->rank;
    p->oc = all.c;
    return TW_OK;
}

static tw_status infer(void *params, const tw_shape *in, int n_in, tw_shape *out, tw_error *error)
{
    tw_concat *p = params;
    tw_dims first = {0};
    if (n_in < 1 || n_in > TW_CONCAT_MAX)
        return tw_fail(error, TW_INVALID, "concat: %d inputs: expected 1 to %d", n_in, (int)TW_CONCAT_MAX);
    for (int i = 0; i < n_in; i++) {
        tw_dims dims;
        tw_status status = tw_dims_from("concat", &in[i], &dims, error);
        if (status != TW_OK) return status;
        if (i == 0) first = dims;
        if (dims.rank != first.rank || dims.n != first.n || dims.h != first.h || dims.w != first.w) {
            char a[64], b[64];
            tw_dims_print(&first, a, sizeof a);
            tw_dims_print(&dims, b, sizeof b);
            return tw_fail(error, TW_INVALID, "concat: inputs of %s and %s: expected to differ in channels only", a, b);
        }
        p->c[i] = dims.c;
    }
    p->count = n_in;
    tw_status status = finish(p, &first, error);
    if (status != TW_OK) return status;
    first.c = p->oc;
    *out = tw_dims_shape(&first);
    return TW_OK;
}

static int operands(const void *params)
{
    const tw_concat *p = params;
    return p->count;
}

static void operand_shape(const void *params, int index, tw_shape *shape)
{
    const tw_concat *p = params;
    tw_dims dims = {p->n, index == p->count ? p->oc : p->c[index], p->h, p->w, p->rank};
    *shape = tw_dims_shape(&dims);
}

static double flops(const void *params)
{
    (void)params;
    return 0;
}

/* "1x64x55x55+64+32": the first input, then the channels of the others. */
static tw_status parse(const char *text, void *params, tw_error *error)
{
    tw_concat *p = params;
    char suffix[TW_DIMS_SUFFIX];
    tw_dims first;
    tw_status status = tw_dims_parse("concat", text, &first, suffix, error);
    if (status != TW_OK) return status;
    p->count = 0;
    p->c[p->count++] = first.c;
    for (char *at = suffix; *at;) {
        char *end;
        long channels = *at == '+' ? strtol(at + 1, &end, 10) : 0;
        if (channels < 1 || channels > INT_MAX)
            return tw_fail(error, TW_INVALID, "concat: expected \"+\" and a number of channels at \"%s\"", at);
        if (p->count == TW_CONCAT_MAX)
            return tw_fail(error, TW_INVALID, "concat: more than %d inputs in \"%s\"", (int)TW_CONCAT_MAX, text);
        p->c[p->count++] = (int)channels;
        at = end;
    }
    return finish(p, &first, error);
}

static void print(const void *params, char *text, size_t size)
{
    const tw_concat *p = params;
    tw_dims first = {p->n, p->c[0], p->h, p->w, p->rank};
    int at = tw_dims_print(&first, text, size);
    for (int i = 1; i < p->count && at >= 0 && (size_t)at < size; i++)
        at += snprintf(text + at, size - (size_t)at, "+%d", p->c[i]);
}

const tw_op tw_op_concat = {
    .name = "concat",
    .params_size = sizeof(tw_concat),
    .n_in = 0,
    .infer = infer,
    .operands = operands,
    .operand_shape = operand_shape,
    .flops = flops,
    .parse = parse,
    .print = print,
};

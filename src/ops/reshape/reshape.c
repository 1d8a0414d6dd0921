/* What reshape means: the same elements under another shape. A plan makes it a view: no design, no FLOPs. */
#include "ops/reshape/reshape.h"
#include "core/op.h"
#include "core/status.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int64_t product(const int *dims, int from, int rank)
{
    int64_t all = 1; /* cannot overflow: of a shape whose bytes fit */
    for (int i = from; i < rank; i++) all *= dims[i];
    return all;
}

static tw_status set_input(tw_reshape *p, const tw_shape *in, tw_error *error)
{
    size_t count;
    tw_status status = tw_shape_count(in, TW_F64, &count, error);
    if (status != TW_OK) {
        tw_error_prefix(error, "reshape");
        return status;
    }
    if (in->rank < 1) return tw_fail(error, TW_INVALID, "reshape: the input has no dimensions");
    p->in_rank = in->rank;
    memset(p->in_dims, 0, sizeof p->in_dims);
    for (int i = 0; i < in->rank; i++) {
        if (in->dims[i] < 1 || in->dims[i] > INT_MAX)
            return tw_fail(error, TW_INVALID, "reshape: dimension %d of the input is %lld: expected 1 to %d", i,
                           (long long)in->dims[i], INT_MAX);
        p->in_dims[i] = (int)in->dims[i];
    }
    return TW_OK;
}

/* The dimension that follows from the rest, and the check that the elements are as many. in_dims, rank, dims and
 * infer are given. */
static tw_status resolve(tw_reshape *p, tw_error *error)
{
    if (p->rank < 1 || p->rank > TW_MAX_RANK)
        return tw_fail(error, TW_INVALID, "reshape: %d dimensions: expected 1 to %d", p->rank, TW_MAX_RANK);
    if (p->infer == 0 || p->infer < -1 || p->infer >= p->rank)
        return tw_fail(error, TW_INVALID, "reshape: dimension %d cannot follow from the rest", p->infer);
    p->dims[0] = p->in_dims[0];
    int64_t elements = product(p->in_dims, 1, p->in_rank), rest = 1;
    for (int i = 1; i < p->rank; i++) {
        if (i == p->infer) continue;
        if (p->dims[i] < 1)
            return tw_fail(error, TW_INVALID, "reshape: dimension %d is %d: expected at least 1", i, p->dims[i]);
        if (__builtin_mul_overflow(rest, p->dims[i], &rest)) rest = INT64_MAX;
    }
    int64_t missing = p->infer > 0 ? elements / rest : 1;
    if (rest > elements || missing * rest != elements)
        return tw_fail(error, TW_INVALID,
                       "reshape: %lld elements behind the batch do not fill a shape of %s%lld elements",
                       (long long)elements, p->infer > 0 ? "a multiple of " : "", (long long)rest);
    if (missing > INT_MAX)
        return tw_fail(error, TW_INVALID, "reshape: dimension %d would be %lld: expected at most %d", p->infer,
                       (long long)missing, INT_MAX);
    if (p->infer > 0) p->dims[p->infer] = (int)missing;
    for (int i = p->rank; i < TW_MAX_RANK; i++) p->dims[i] = 0;
    return TW_OK;
}

static void shape_of(const int *dims, int rank, tw_shape *shape)
{
    *shape = (tw_shape){.rank = rank};
    for (int i = 0; i < rank; i++) shape->dims[i] = dims[i];
}

static tw_status infer(void *params, const tw_shape *in, int n_in, tw_shape *out, tw_error *error)
{
    tw_reshape *p = params;
    if (n_in != 1) return tw_fail(error, TW_INVALID, "reshape: %d inputs: expected 1", n_in);
    tw_status status = set_input(p, &in[0], error);
    if (status == TW_OK) status = resolve(p, error);
    if (status == TW_OK) shape_of(p->dims, p->rank, out);
    return status;
}

static int operands(const void *params)
{
    (void)params;
    return 1;
}

static void operand_shape(const void *params, int index, tw_shape *shape)
{
    const tw_reshape *p = params;
    if (index == 0)
        shape_of(p->in_dims, p->in_rank, shape);
    else
        shape_of(p->dims, p->rank, shape);
}

static double flops(const void *params)
{
    (void)params;
    return 0;
}

/* The output's dimensions: numbers joined by x, one of which, not the first, may be -1. */
static tw_status parse_output(const char *text, tw_reshape *p, tw_error *error)
{
    p->rank = 0;
    p->infer = -1;
    for (const char *at = text;; at++) {
        char *end;
        long dim = strtol(at, &end, 10);
        bool follows = dim == -1 && p->rank > 0 && p->infer < 0;
        if (end == at || dim > INT_MAX || (dim < 1 && !follows) || p->rank == TW_MAX_RANK || (*end && *end != 'x'))
            return tw_fail(error, TW_INVALID, "reshape: expected 1 to %d dimensions joined by x at \"%s\"", TW_MAX_RANK,
                           at);
        if (follows) p->infer = p->rank;
        p->dims[p->rank++] = (int)dim;
        if (!*end) return TW_OK;
        at = end;
    }
}

/* "1x256x6x6:1x-1": input and output. */
static tw_status parse(const char *text, void *params, tw_error *error)
{
    tw_reshape *p = params;
    char copy[256];
    size_t length = strcspn(text, "n"); /* n"name" */
    if (length >= sizeof copy) return tw_fail(error, TW_INVALID, "reshape: the problem \"%.32s...\" is too long", text);
    memcpy(copy, text, length);
    copy[length] = 0;
    char *colon = strchr(copy, ':');
    if (!colon)
        return tw_fail(error, TW_INVALID, "reshape: expected INPUT:OUTPUT such as 1x256x6x6:1x9216, not \"%s\"", text);
    *colon = 0;
    tw_shape in;
    tw_status status = tw_desc_dims(copy, &in, error);
    if (status == TW_OK) status = set_input(p, &in, error);
    if (status == TW_OK) status = parse_output(colon + 1, p, error);
    if (status != TW_OK) return status;
    if (p->dims[0] != p->in_dims[0])
        return tw_fail(error, TW_INVALID, "reshape: the batch goes from %d to %d: it must stay", p->in_dims[0],
                       p->dims[0]);
    return resolve(p, error);
}

static void print(const void *params, char *text, size_t size)
{
    const tw_reshape *p = params;
    int at = 0;
    for (int i = 0; i < p->in_rank + p->rank && (size_t)at < size; i++) {
        int o = i - p->in_rank;
        int dim = o < 0 ? p->in_dims[i] : o == p->infer ? -1 : p->dims[o];
        at += snprintf(text + at, size - (size_t)at, "%s%d", i == 0 ? "" : o == 0 ? ":" : "x", dim);
    }
}

const tw_op tw_op_reshape = {
    .name = "reshape",
    .params_size = sizeof(tw_reshape),
    .n_in = 1,
    .roles = {TW_ROLE_ACTIVATION},
    .infer = infer,
    .operands = operands,
    .operand_shape = operand_shape,
    .flops = flops,
    .parse = parse,
    .print = print,
};

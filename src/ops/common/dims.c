#include "ops/common/dims.h"
#include "core/status.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tw_status tw_dims_from(const char *op, const tw_shape *shape, tw_dims *dims, tw_error *error)
{
    if (shape->rank != 2 && shape->rank != 4)
        return tw_fail(error, TW_INVALID, "%s: the input has %d dimensions: expected 2 or 4", op,
                       shape->rank < 0 ? 0 : shape->rank);
    for (int i = 0; i < shape->rank; i++)
        if (shape->dims[i] < 1 || shape->dims[i] > INT_MAX - TW_BLOCK)
            return tw_fail(error, TW_INVALID, "%s: dimension %d of the input is %lld: expected 1 to %d", op, i,
                           (long long)shape->dims[i], INT_MAX - TW_BLOCK);
    *dims = (tw_dims){(int)shape->dims[0], (int)shape->dims[1], 1, 1, shape->rank};
    if (shape->rank == 4) {
        dims->h = (int)shape->dims[2];
        dims->w = (int)shape->dims[3];
    }
    if ((int64_t)dims->h * dims->w > INT_MAX)
        return tw_fail(error, TW_INVALID, "%s: a plane of %dx%d is too large: more than %d elements", op, dims->h,
                       dims->w, INT_MAX);
    tw_shape padded = *shape;
    padded.dims[1] = (padded.dims[1] + TW_BLOCK - 1) / TW_BLOCK * TW_BLOCK;
    size_t count;
    tw_status status = tw_shape_count(&padded, TW_F64, &count, error);
    if (status != TW_OK) tw_error_prefix(error, "%s", op);
    return status;
}

tw_shape tw_dims_shape(const tw_dims *dims)
{
    return (tw_shape){dims->rank, {dims->n, dims->c, dims->rank == 4 ? dims->h : 0, dims->rank == 4 ? dims->w : 0}};
}

tw_status tw_dims_parse(const char *op, const char *text, tw_dims *dims, char suffix[TW_DIMS_SUFFIX], tw_error *error)
{
    size_t length = strcspn(text, ":+");
    const char *name = strstr(text, "n\"");
    size_t end = name ? (size_t)(name - text) : strlen(text);
    if (length > end) length = end;
    char head[128];
    if (length >= sizeof head || end - length >= TW_DIMS_SUFFIX)
        return tw_fail(error, TW_INVALID, "%s: the problem \"%.32s...\" is too long", op, text);
    memcpy(head, text, length);
    head[length] = 0;
    memcpy(suffix, text + length, end - length);
    suffix[end - length] = 0;
    tw_shape shape;
    tw_status status = tw_desc_dims(head, &shape, error);
    if (status != TW_OK) {
        tw_error_prefix(error, "%s", op);
        return status;
    }
    return tw_dims_from(op, &shape, dims, error);
}

int tw_dims_print(const tw_dims *dims, char *text, size_t size)
{
    return dims->rank == 4 ? snprintf(text, size, "%dx%dx%dx%d", dims->n, dims->c, dims->h, dims->w)
                           : snprintf(text, size, "%dx%d", dims->n, dims->c);
}

tw_status tw_dims_numbers(const char *op, const char *suffix, float *values, int count, tw_error *error)
{
    const char *at = suffix;
    for (int i = 0; i < count && *at == ':'; i++) {
        char *end;
        values[i] = strtof(at + 1, &end);
        if (end == at + 1) return tw_fail(error, TW_INVALID, "%s: expected a number after \":\" at \"%s\"", op, at);
        at = end;
    }
    if (*at)
        return tw_fail(error, TW_INVALID,
                       "%s: unexpected \"%s\" behind the dimensions: at most %d number%s, each after \":\"", op, at,
                       count, count == 1 ? "" : "s");
    return TW_OK;
}

/* What kind of operand it is; concat's are all activations. */
static tw_role role_of(const tw_op *op, int index)
{
    return op->n_in == 0 ? TW_ROLE_ACTIVATION : op->roles[index];
}

bool tw_problem_in(const tw_problem *problem, tw_layout layout)
{
    for (int i = 0; i < problem->n_in; i++) {
        if (problem->in[i].dtype != TW_F32) return false;
        if (role_of(problem->op, i) != TW_ROLE_PARAMETER && problem->in[i].layout != layout) return false;
    }
    return problem->out.dtype == TW_F32 && problem->out.layout == layout;
}

size_t tw_problem_elements(const tw_problem *problem, int index)
{
    tw_shape shape;
    problem->op->operand_shape(problem->params, index, &shape);
    return tw_layout_count(&shape, index == problem->n_in ? problem->out.layout : problem->in[index].layout);
}

double tw_problem_traffic(const tw_problem *problem)
{
    double count = 0;
    for (int i = 0; i <= problem->n_in; i++)
        if (i == problem->n_in || role_of(problem->op, i) != TW_ROLE_PARAMETER)
            count += (double)tw_problem_elements(problem, i);
    return count * (double)tw_dtype_bytes(problem->out.dtype);
}

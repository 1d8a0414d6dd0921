/* The list of operators, and what all of them share: views of shapes, problem descriptors. */
#include "core/op.h"
#include "core/status.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define OPERATOR(name) extern const tw_op tw_op_##name;
#include "ops/ops.def"
#undef OPERATOR

static const tw_op *const ops[] = {
#define OPERATOR(name) &tw_op_##name,
#include "ops/ops.def"
#undef OPERATOR
};

size_t tw_op_count(void)
{
    return sizeof ops / sizeof *ops;
}

const tw_op *tw_op_at(size_t index)
{
    return ops[index];
}

const tw_op *tw_op_find(const char *name)
{
    for (size_t i = 0; i < tw_op_count(); i++)
        if (strcmp(ops[i]->name, name) == 0) return ops[i];
    return NULL;
}

const char *tw_layout_name(tw_layout layout)
{
    static const char *const names[] = {[TW_PLAIN] = "plain", [TW_NHWC] = "nhwc", [TW_BLOCKED] = "blocked"};
    return layout < TW_LAYOUTS ? names[layout] : "unknown";
}

tw_view tw_shape_view(const tw_shape *shape)
{
    tw_view view = {1, 1, 1};
    if (shape->rank > 0) view.n = (int)shape->dims[0];
    if (shape->rank > 1) view.c = (int)shape->dims[1];
    for (int i = 2; i < shape->rank; i++) view.pixels *= (int)shape->dims[i];
    return view;
}

size_t tw_layout_count(const tw_shape *shape, tw_layout layout)
{
    size_t count = 1;
    for (int i = 0; i < shape->rank; i++) {
        size_t dim = (size_t)shape->dims[i];
        if (layout == TW_BLOCKED && i == 1) dim = (dim + TW_BLOCK - 1) / TW_BLOCK * TW_BLOCK;
        count *= dim;
    }
    return count;
}

size_t tw_type_bytes(const tw_shape *shape, tw_type type)
{
    return tw_layout_count(shape, type.layout) * tw_dtype_bytes(type.dtype);
}

double tw_op_bytes(const tw_op *op, const void *params, size_t element)
{
    double count = 0;
    int operands = op->operands(params);
    for (int i = 0; i <= operands; i++) {
        tw_shape shape;
        op->operand_shape(params, i, &shape);
        if (shape.rank >= 0) count += (double)tw_layout_count(&shape, TW_PLAIN);
    }
    return count * (double)element;
}

/* The longest key that `text` starts with, or -1. */
static int match_key(const char *text, const char *const *keys, int count)
{
    int best = -1;
    size_t best_length = 0;
    for (int i = 0; i < count; i++) {
        size_t length = strlen(keys[i]);
        if (length > best_length && strncmp(text, keys[i], length) == 0) {
            best = i;
            best_length = length;
        }
    }
    return best;
}

static bool read_int(const char **text, int *value)
{
    const char *digits = *text + (**text == '-');
    if (!isdigit((unsigned char)*digits)) return false;
    char *end;
    errno = 0;
    long parsed = strtol(*text, &end, 10);
    if (errno || parsed > INT_MAX || parsed < INT_MIN) return false;
    *value = (int)parsed;
    *text = end;
    return true;
}

tw_status tw_desc_scan(const char *text, const char *const *keys, int *values, int count, uint64_t *seen,
                       tw_error *error)
{
    const char *at = text;
    uint64_t given = 0;
    while (*at) {
        if (at[0] == 'n' && at[1] == '"') break; /* benchdnn's name */
        if (*at == '_') {                        /* benchdnn allows it between groups */
            at++;
            continue;
        }
        int key = match_key(at, keys, count);
        if (key < 0)
            return tw_fail(error, TW_INVALID, "problem \"%s\": unknown key at \"%.16s\" (column %d)", text, at,
                           (int)(at - text) + 1);
        at += strlen(keys[key]);
        if (given >> key & 1)
            return tw_fail(error, TW_INVALID, "problem \"%s\": \"%s\" is given twice", text, keys[key]);
        given |= (uint64_t)1 << key;
        if (!read_int(&at, &values[key]))
            return tw_fail(error, TW_INVALID, "problem \"%s\": expected an integer after \"%s\" (column %d)", text,
                           keys[key], (int)(at - text) + 1);
    }
    if (seen) *seen = given;
    return TW_OK;
}

tw_status tw_desc_dims(const char *text, tw_shape *shape, tw_error *error)
{
    const char *at = text;
    shape->rank = 0;
    for (;;) {
        int dim;
        if (shape->rank == TW_MAX_RANK)
            return tw_fail(error, TW_INVALID, "dimensions \"%s\": more than %d", text, TW_MAX_RANK);
        if (!read_int(&at, &dim) || dim < 1)
            return tw_fail(error, TW_INVALID, "dimensions \"%s\": expected a positive integer at column %d", text,
                           (int)(at - text) + 1);
        shape->dims[shape->rank++] = dim;
        if (!*at || (at[0] == 'n' && at[1] == '"')) break;
        if (*at++ != 'x')
            return tw_fail(error, TW_INVALID, "dimensions \"%s\": expected an x at column %d", text, (int)(at - text));
    }
    size_t product;
    return tw_shape_count(shape, TW_F64, &product, error);
}

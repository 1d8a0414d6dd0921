/* Shape arithmetic: integers that exporters compute at run time from a tensor's shape are known here, but for the
 * batch N. Each is constant + batches * N, which addition, multiplication by a number and exact division keep. */
#include "onnx/import.h"

#include <string.h>

enum { MOST = 1 << 16 }; /* elements: shapes, axes and bounds are short */

static int64_t integer_at(const tw_tensor *tensor, size_t i)
{
    const char *at = (const char *)tensor->data + i * tw_dtype_bytes(tensor->dtype);
    int64_t i64;
    int32_t i32;
    int16_t i16;
    switch (tensor->dtype) {
    case TW_I64: memcpy(&i64, at, sizeof i64); return i64;
    case TW_I32: memcpy(&i32, at, sizeof i32); return i32;
    case TW_I16: memcpy(&i16, at, sizeof i16); return i16;
    case TW_I8: return *(const int8_t *)at;
    default: return *(const uint8_t *)at;
    }
}

static tw_onnx_number *new_numbers(tw_onnx_node *n, int64_t count)
{
    if (n->status != TW_OK) return NULL;
    if (count > MOST) {
        tw_onnx_refuse(n, "of %lld integers", (long long)count);
        return NULL;
    }
    tw_onnx_number *numbers = tw_onnx_alloc(n->import, (size_t)count, sizeof *numbers);
    if (!numbers) tw_onnx_fatal(n);
    return numbers;
}

const tw_onnx_number *tw_onnx_numbers(tw_onnx_node *n, const tw_onnx_value *value, int *count)
{
    if (n->status != TW_OK) return NULL;
    int64_t elements = tw_onnx_elements(&value->shape);
    bool known = value->kind == TW_ONNX_NUMBERS;
    if (!known && (value->kind != TW_ONNX_CONSTANT || tw_onnx_is_real(value->constant.dtype)))
        tw_onnx_refuse(n, value->kind == TW_ONNX_CONSTANT ? "of real constants" : "of an activation");
    else if (elements > MOST)
        tw_onnx_refuse(n, "of %lld integers", (long long)elements);
    *count = (int)(elements > MOST ? 0 : elements);
    if (n->status != TW_OK || known) return n->status == TW_OK ? value->numbers : NULL;
    tw_onnx_number *numbers = new_numbers(n, elements);
    for (int i = 0; numbers && i < *count; i++) numbers[i].constant = integer_at(&value->constant, (size_t)i);
    return numbers;
}

int tw_onnx_integers(tw_onnx_node *n, int input, int64_t *values, int capacity)
{
    int count;
    const tw_onnx_value *value = tw_onnx_need(n, input);
    const tw_onnx_number *numbers = value ? tw_onnx_numbers(n, value, &count) : NULL;
    if (!numbers) return -1;
    if (count > capacity) {
        tw_onnx_invalid(n, "input %d has %d numbers, expected at most %d", input, count, capacity);
        return -1;
    }
    for (int i = 0; i < count; i++) {
        values[i] = numbers[i].constant;
        if (numbers[i].batches) {
            tw_onnx_refuse(n, "by the batch");
            return -1;
        }
    }
    return count;
}

void tw_onnx_select(tw_onnx_node *n, const tw_onnx_value *x, const int64_t *offsets, const tw_shape *shape)
{
    if (n->status != TW_OK || !offsets) return;
    size_t count = (size_t)tw_onnx_elements(shape), size = tw_dtype_bytes(x->constant.dtype);
    if (x->kind == TW_ONNX_NUMBERS) {
        tw_onnx_number *to = new_numbers(n, (int64_t)count);
        for (size_t i = 0; to && i < count; i++) to[i] = x->numbers[offsets[i]];
        tw_onnx_set_numbers(n, to, shape);
        return;
    }
    tw_tensor to = {x->constant.dtype, *shape, tw_onnx_alloc(n->import, count, size)};
    if (!to.data) tw_onnx_fatal(n);
    for (size_t i = 0; to.data && i < count; i++)
        memcpy((char *)to.data + i * size, (const char *)x->constant.data + (size_t)offsets[i] * size, size);
    tw_onnx_set_constant(n, &to, NULL);
}

/* ---- arithmetic ---- */

static bool combine(tw_onnx_number a, tw_onnx_number b, char op, tw_onnx_number *out)
{
    switch (op) {
    case '+':
        return !__builtin_add_overflow(a.constant, b.constant, &out->constant) &&
               !__builtin_add_overflow(a.batches, b.batches, &out->batches);
    case '-':
        return !__builtin_sub_overflow(a.constant, b.constant, &out->constant) &&
               !__builtin_sub_overflow(a.batches, b.batches, &out->batches);
    case '*':
        if (a.batches && b.batches) return false;
        if (a.batches) return combine(b, a, op, out);
        return !__builtin_mul_overflow(a.constant, b.constant, &out->constant) &&
               !__builtin_mul_overflow(a.constant, b.batches, &out->batches);
    default:
        if (b.batches || b.constant == 0 || (b.constant == -1 && a.constant == INT64_MIN)) return false;
        if (a.batches && (b.constant == -1 || a.batches % b.constant || a.constant % b.constant)) return false;
        *out = (tw_onnx_number){a.constant / b.constant, a.batches ? a.batches / b.constant : 0};
        return true;
    }
}

static void fold_integers(tw_onnx_node *n, const tw_onnx_value *a, const tw_onnx_value *b, char op)
{
    int na, nb;
    const tw_onnx_number *from = tw_onnx_numbers(n, a, &na), *with = tw_onnx_numbers(n, b, &nb);
    if (!from || !with) return;
    bool alike = a->shape.rank == b->shape.rank &&
                 memcmp(a->shape.dims, b->shape.dims, (size_t)a->shape.rank * sizeof *a->shape.dims) == 0;
    bool vectors = a->shape.rank <= 1 && b->shape.rank <= 1; /* of more dimensions, 2x1 and 1x2 make 2x2 */
    if (!alike && na != 1 && nb != 1 && !(vectors && na == nb)) {
        tw_onnx_refuse(n, "of %d and %d integers", na, nb);
        return;
    }
    const tw_shape *shape =
        na == nb ? (a->shape.rank > b->shape.rank ? &a->shape : &b->shape) : (nb == 1 ? &a->shape : &b->shape);
    if ((na == 1 && a->shape.rank > shape->rank) || (nb == 1 && b->shape.rank > shape->rank)) {
        tw_onnx_refuse(n, "of %d and %d integers", na, nb);
        return;
    }
    int count = na > nb ? na : nb;
    if (na == 0 || nb == 0) count = 0;
    tw_onnx_number *to = new_numbers(n, count);
    for (int i = 0; to && i < count; i++)
        if (!combine(from[na == 1 ? 0 : i], with[nb == 1 ? 0 : i], op, &to[i])) {
            tw_onnx_refuse(n, "that is not linear in the batch");
            return;
        }
    if (to) tw_onnx_set_numbers(n, to, shape);
}

static float combine_reals(float a, float b, char op)
{
    return op == '+' ? a + b : op == '-' ? a - b : op == '*' ? a * b : a / b;
}

static void fold_reals(tw_onnx_node *n, const tw_onnx_value *a, const tw_onnx_value *b, char op)
{
    const tw_onnx_value *longer = a->shape.rank >= b->shape.rank ? a : b, *shorter = longer == a ? b : a;
    tw_shape shape = longer->shape;
    int shift = longer->shape.rank - shorter->shape.rank;
    for (int i = 0; i < shorter->shape.rank; i++)
        if (shape.dims[i + shift] == 1) shape.dims[i + shift] = shorter->shape.dims[i];
    const float *x = tw_onnx_broadcast(n, &a->constant, &shape), *y = tw_onnx_broadcast(n, &b->constant, &shape);
    tw_tensor out;
    if (!x || !y || !tw_onnx_new_floats(n, &shape, &out)) return;
    int64_t count = tw_onnx_elements(&shape);
    for (int64_t i = 0; i < count; i++) ((float *)out.data)[i] = combine_reals(x[i], y[i], op);
    tw_onnx_set_constant(n, &out, NULL);
}

static bool is_real_constant(const tw_onnx_value *value)
{
    return value->kind == TW_ONNX_CONSTANT && tw_onnx_is_real(value->constant.dtype);
}

void tw_onnx_fold_binary(tw_onnx_node *n, char op)
{
    const tw_onnx_value *a = tw_onnx_need(n, 0), *b = tw_onnx_need(n, 1);
    if (!a || !b) return;
    if (is_real_constant(a) && is_real_constant(b))
        fold_reals(n, a, b, op);
    else
        fold_integers(n, a, b, op);
}

void tw_onnx_fold_concat(tw_onnx_node *n)
{
    int total = 0, count;
    for (int i = 0; i < tw_onnx_inputs(n); i++) {
        const tw_onnx_value *value = tw_onnx_need(n, i);
        if (!value || !tw_onnx_numbers(n, value, &count)) return;
        if (value->shape.rank != 1) {
            tw_onnx_refuse(n, "of constants of %d dimensions", value->shape.rank);
            return;
        }
        total += count;
        if (total > MOST) break;
    }
    tw_onnx_number *to = new_numbers(n, total);
    for (int i = 0, at = 0; to && i < tw_onnx_inputs(n); i++) {
        const tw_onnx_number *from = tw_onnx_numbers(n, tw_onnx_need(n, i), &count);
        if (!from) return;
        memcpy(to + at, from, (size_t)count * sizeof *to);
        at += count;
    }
    if (to) tw_onnx_set_numbers(n, to, &(tw_shape){1, {total}});
}

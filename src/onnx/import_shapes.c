/* Operators that move no number, and those that compute shapes. An activation takes on its new shape at once; the
 * graph learns of it only where an operator needs another view. */
#include "onnx/import_nodes.h"

#include <string.h>

/* ---- new shapes ---- */

/* Output 0 is x under another shape of as many elements. */
static void set_shape(tw_onnx_node *n, const tw_onnx_value *x, const tw_shape *shape)
{
    if (n->status != TW_OK) return;
    if (tw_onnx_elements(shape) != tw_onnx_elements(&x->shape)) {
        tw_onnx_invalid(n, "%lld elements under a shape of %lld", (long long)tw_onnx_elements(&x->shape),
                        (long long)tw_onnx_elements(shape));
        return;
    }
    tw_onnx_set_same(n, x, shape);
    if (x->kind != TW_ONNX_ACTIVATION || x->order.rank || n->status != TW_OK) return;
    tw_shape wanted = tw_onnx_graph_shape(shape), now;
    if (tw_graph_shape(n->import->graph, x->value, &now, NULL) != TW_OK) return;
    if (now.rank == wanted.rank && memcmp(now.dims, wanted.dims, (size_t)now.rank * sizeof *now.dims) == 0) return;
    tw_onnx_set_activation(n, tw_graph_reshape(n->import->graph, x->value, &wanted, tw_onnx_name(n)), shape);
}

/* What may be reshaped: anything but an activation whose padding, or whose moved batch, was left undone. */
static tw_onnx_value *reshapable(tw_onnx_node *n, int index)
{
    tw_onnx_value *x = tw_onnx_need(n, index);
    if (!x || x->kind != TW_ONNX_ACTIVATION) return x;
    if (x->order.rank && (!n->import->batched || x->order.perm[0] == 0)) return x;
    return tw_onnx_activation(n, index);
}

/* ---- Reshape ---- */

/* Dimension 0 of a reshaped activation that has a batch: N, the file's own number for it, or -1 where the others hold
 * all the elements of an image. It becomes 1, which stands for N. */
static bool batch_target(tw_onnx_node *n, const tw_onnx_value *x, tw_onnx_number *target, int count)
{
    tw_onnx_import *import = n->import;
    for (int i = 1; i < count; i++)
        if (target[i].batches) tw_onnx_refuse(n, "that moves the batch");
    if (count < 1) tw_onnx_refuse(n, "to a scalar");
    if (n->status != TW_OK) return false;
    tw_onnx_number first = target[0];
    bool is_batch = first.batches == 1 && first.constant == 0;
    is_batch = is_batch || (first.batches == 0 && first.constant > 0 && first.constant == import->fixed_batch);
    if (first.batches == 0 && first.constant == -1) {
        int64_t rest = 1;
        is_batch = true;
        for (int i = 1; i < count && is_batch; i++)
            is_batch = target[i].constant > 0 && !__builtin_mul_overflow(rest, target[i].constant, &rest);
        is_batch = is_batch && rest == tw_onnx_elements(&x->shape);
    }
    if (!is_batch) tw_onnx_refuse(n, "that mixes images");
    target[0] = (tw_onnx_number){1, 0};
    return is_batch;
}

/* Fills the dimension that is -1 and checks the others. */
static bool resolve(tw_onnx_node *n, const tw_onnx_value *x, const tw_onnx_number *target, tw_shape *shape)
{
    int64_t known = 1;
    int open = -1;
    for (int i = 0; i < shape->rank; i++) {
        int64_t size = target[i].constant;
        if (target[i].batches) tw_onnx_refuse(n, "that depends on the batch");
        if (size == -1 && open < 0) {
            open = i;
            continue;
        }
        if (size < 0 || __builtin_mul_overflow(known, size, &known)) {
            tw_onnx_invalid(n, "dimension %d would be %lld", i, (long long)size);
            return false;
        }
        shape->dims[i] = size;
    }
    int64_t elements = tw_onnx_elements(&x->shape);
    if (open >= 0 && (known == 0 || elements % known))
        tw_onnx_invalid(n, "%lld elements do not fill dimensions of %lld", (long long)elements, (long long)known);
    else if (open >= 0)
        shape->dims[open] = elements / known;
    else if (known != elements)
        tw_onnx_invalid(n, "%lld elements under a shape of %lld", (long long)elements, (long long)known);
    return n->status == TW_OK;
}

void tw_onnx_reshape(tw_onnx_node *n)
{
    tw_onnx_value *x = reshapable(n, 0), *to = tw_onnx_need(n, 1);
    tw_onnx_number target[TW_MAX_RANK];
    tw_shape shape = {0};
    if (!x || !to) return;
    const tw_onnx_number *numbers = tw_onnx_numbers(n, to, &shape.rank);
    bool zeros = tw_onnx_int(n, "allowzero", 0) != 0, batched = n->import->batched && x->kind == TW_ONNX_ACTIVATION;
    if (shape.rank > TW_MAX_RANK) tw_onnx_invalid(n, "to %d dimensions, expected at most %d", shape.rank, TW_MAX_RANK);
    if (!numbers || n->status != TW_OK) return;
    for (int i = 0; i < shape.rank; i++) {
        target[i] = numbers[i];
        if (target[i].constant || target[i].batches || zeros) continue;
        if (i >= x->shape.rank) {
            tw_onnx_invalid(n, "dimension %d is kept, and the input has %d", i, x->shape.rank);
            return;
        }
        target[i] = batched && i == 0 ? (tw_onnx_number){0, 1} : (tw_onnx_number){x->shape.dims[i], 0};
    }
    if (batched && !batch_target(n, x, target, shape.rank)) return;
    if (resolve(n, x, target, &shape)) set_shape(n, x, &shape);
}

void tw_onnx_flatten(tw_onnx_node *n)
{
    tw_onnx_value *x = reshapable(n, 0);
    int64_t given = tw_onnx_int(n, "axis", 1);
    int axis;
    if (!x) return;
    if (given == x->shape.rank)
        axis = x->shape.rank;
    else if (!tw_onnx_axis(n, given, x->shape.rank, &axis))
        return;
    tw_shape shape = {2, {tw_onnx_product(&x->shape, 0, axis), tw_onnx_product(&x->shape, axis, x->shape.rank)}};
    if (n->import->batched && x->kind == TW_ONNX_ACTIVATION && (axis == 0 || shape.dims[0] != 1))
        tw_onnx_refuse(n, "that mixes images");
    set_shape(n, x, &shape);
}

/* ---- dimensions of size 1 ---- */

/* The axes as a mask over `rank` dimensions. */
static bool axis_mask(tw_onnx_node *n, const int64_t *axes, int count, int rank, bool mask[TW_MAX_RANK])
{
    memset(mask, 0, TW_MAX_RANK * sizeof *mask);
    for (int i = 0; i < count; i++) {
        int axis;
        if (!tw_onnx_axis(n, axes[i], rank, &axis)) return false;
        if (mask[axis]) tw_onnx_invalid(n, "axis %d is given twice", axis);
        mask[axis] = true;
    }
    return n->status == TW_OK;
}

void tw_onnx_squeeze(tw_onnx_node *n)
{
    tw_onnx_value *x = reshapable(n, 0);
    int64_t axes[TW_MAX_RANK];
    bool mask[TW_MAX_RANK];
    int count = tw_onnx_axes(n, 12, 1, axes);
    if (!x || n->status != TW_OK || !axis_mask(n, axes, count, x->shape.rank, mask)) return;
    bool batched = n->import->batched && x->kind == TW_ONNX_ACTIVATION;
    tw_shape shape = {0};
    for (int i = 0; i < x->shape.rank; i++) {
        bool batch = batched && i == 0;
        if (batch && (count < 0 ? n->import->fixed_batch == 1 : mask[0])) tw_onnx_refuse(n, "that drops the batch");
        if (mask[i] && x->shape.dims[i] != 1) tw_onnx_invalid(n, "dimension %d is not 1", i);
        bool drop = count < 0 ? x->shape.dims[i] == 1 && !batch : mask[i];
        if (!drop) shape.dims[shape.rank++] = x->shape.dims[i];
    }
    set_shape(n, x, &shape);
}

void tw_onnx_unsqueeze(tw_onnx_node *n)
{
    tw_onnx_value *x = reshapable(n, 0);
    int64_t axes[TW_MAX_RANK];
    bool mask[TW_MAX_RANK];
    int count = tw_onnx_axes(n, 12, 1, axes);
    if (!x || n->status != TW_OK) return;
    int rank = x->shape.rank + (count > 0 ? count : 0);
    if (rank > TW_MAX_RANK) tw_onnx_invalid(n, "%d dimensions, expected at most %d", rank, TW_MAX_RANK);
    if (n->status != TW_OK || !axis_mask(n, axes, count, rank, mask)) return;
    if (mask[0] && n->import->batched && x->kind == TW_ONNX_ACTIVATION) tw_onnx_refuse(n, "before the batch");
    tw_shape shape = {.rank = rank};
    for (int i = 0, at = 0; i < rank; i++) shape.dims[i] = mask[i] ? 1 : x->shape.dims[at++];
    set_shape(n, x, &shape);
}

/* ---- Transpose ---- */

static bool read_perm(tw_onnx_node *n, int rank, int perm[TW_MAX_RANK])
{
    int64_t given[TW_MAX_RANK];
    bool mask[TW_MAX_RANK];
    int count = tw_onnx_ints(n, "perm", given, TW_MAX_RANK);
    if (n->status != TW_OK) return false;
    for (int i = 0; count < 0 && i < rank; i++) perm[i] = rank - 1 - i;
    if (count < 0) return true;
    if (count != rank) {
        tw_onnx_invalid(n, "a permutation of %d dimensions for %d", count, rank);
        return false;
    }
    for (int i = 0; i < rank; i++) {
        if (given[i] < 0) tw_onnx_invalid(n, "a permutation with %lld", (long long)given[i]);
        perm[i] = (int)given[i];
    }
    return axis_mask(n, given, rank, rank, mask);
}

/* Do only dimensions of size 1 move? The batch is not one of them. */
static bool moves_nothing(const tw_onnx_order *order, bool batched)
{
    int last = -1;
    for (int i = 0; i < order->rank; i++) {
        if (order->dims[order->perm[i]] == 1 && !(batched && order->perm[i] == 0)) continue;
        if (order->perm[i] < last) return false;
        last = order->perm[i];
    }
    return true;
}

/* The transposition goes on top of one that is there already: they may cancel. */
static bool compose(tw_onnx_node *n, const tw_onnx_value *x, const int *perm, tw_onnx_order *order)
{
    *order = (tw_onnx_order){.rank = x->shape.rank};
    for (int i = 0; i < order->rank; i++) {
        order->dims[i] = x->shape.dims[i];
        order->perm[i] = perm[i];
    }
    if (!x->order.rank) return true;
    bool same = x->order.rank == x->shape.rank;
    for (int i = 0; same && i < order->rank; i++) same = x->order.dims[x->order.perm[i]] == x->shape.dims[i];
    if (!same) {
        tw_onnx_refuse(n, "of a transposed activation");
        return false;
    }
    for (int i = 0; i < order->rank; i++) {
        order->dims[i] = x->order.dims[i];
        order->perm[i] = x->order.perm[perm[i]];
    }
    return true;
}

void tw_onnx_transpose(tw_onnx_node *n)
{
    tw_onnx_value *x = tw_onnx_need(n, 0);
    int perm[TW_MAX_RANK];
    tw_tensor copy;
    if (x && x->kind == TW_ONNX_ACTIVATION && !x->order.rank) x = tw_onnx_activation(n, 0);
    if (!x || !read_perm(n, x->shape.rank, perm)) return;
    if (x->kind == TW_ONNX_CONSTANT) {
        if (tw_onnx_transpose_copy(n, x, perm, &copy)) tw_onnx_set_constant(n, &copy, NULL);
        return;
    }
    if (x->kind != TW_ONNX_ACTIVATION) {
        tw_onnx_refuse(n, "of shapes");
        return;
    }
    tw_onnx_value turned = *x;
    if (!compose(n, x, perm, &turned.order)) return;
    for (int i = 0; i < x->shape.rank; i++) turned.shape.dims[i] = x->shape.dims[perm[i]];
    if (!moves_nothing(&turned.order, n->import->batched)) {
        tw_onnx_set_same(n, &turned, NULL);
        return;
    }
    turned.order.rank = 0;
    tw_shape shape = turned.shape;
    set_shape(n, &turned, &shape);
}

/* ---- shapes as numbers ---- */

void tw_onnx_shape(tw_onnx_node *n)
{
    tw_onnx_value *x = reshapable(n, 0);
    if (!x) return;
    int64_t rank = x->shape.rank, start = tw_onnx_int(n, "start", 0), end = tw_onnx_int(n, "end", rank);
    if (start < 0) start += rank;
    if (end < 0) end += rank;
    start = start < 0 ? 0 : start > rank ? rank : start;
    end = end < start ? start : end > rank ? rank : end;
    tw_onnx_number *numbers = tw_onnx_alloc(n->import, (size_t)(end - start), sizeof *numbers);
    if (!numbers) tw_onnx_fatal(n);
    if (n->status != TW_OK) return;
    bool batched = n->import->batched && x->kind == TW_ONNX_ACTIVATION;
    for (int64_t i = start; i < end; i++)
        numbers[i - start] = batched && i == 0 ? (tw_onnx_number){0, 1} : (tw_onnx_number){x->shape.dims[i], 0};
    tw_onnx_set_numbers(n, numbers, &(tw_shape){1, {end - start}});
}

/* A vector of integers that are known but for the batch. */
static const tw_onnx_number *vector(tw_onnx_node *n, tw_onnx_value **x, int *count)
{
    *x = tw_onnx_need(n, 0);
    const tw_onnx_number *numbers = *x ? tw_onnx_numbers(n, *x, count) : NULL;
    if (numbers && (*x)->shape.rank != 1) tw_onnx_refuse(n, "of constants of %d dimensions", (*x)->shape.rank);
    return n->status == TW_OK ? numbers : NULL;
}

void tw_onnx_gather(tw_onnx_node *n)
{
    tw_onnx_value *x, *indices;
    int size, count;
    const tw_onnx_number *from = vector(n, &x, &size);
    const tw_onnx_number *which = from && (indices = tw_onnx_need(n, 1)) ? tw_onnx_numbers(n, indices, &count) : NULL;
    if (!which) return;
    int64_t axis = tw_onnx_int(n, "axis", 0);
    if (axis != 0 && axis != -1) tw_onnx_invalid(n, "axis %lld of 1 dimension", (long long)axis);
    tw_onnx_number *to = tw_onnx_alloc(n->import, (size_t)count, sizeof *to);
    if (!to) tw_onnx_fatal(n);
    for (int i = 0; i < count && n->status == TW_OK; i++) {
        int at;
        if (which[i].batches) tw_onnx_refuse(n, "by the batch");
        if (tw_onnx_axis(n, which[i].constant, size, &at)) to[i] = from[at];
    }
    tw_onnx_set_numbers(n, to, &indices->shape);
}

/* A bound of a slice within 0 .. size (or -1 .. size - 1 backwards). */
static int64_t clamp(int64_t at, int64_t size, bool backwards)
{
    if (at < 0) at = at < -size ? -1 : at + size;
    if (backwards) return at >= size ? size - 1 : at;
    return at < 0 ? 0 : at > size ? size : at;
}

/* start, end and step: attributes up to opset 9, inputs 1, 2 and 4 after. */
static bool slice_bounds(tw_onnx_node *n, int64_t bounds[3])
{
    int64_t axis = 0;
    bounds[2] = 1;
    if (n->import->opset < 10) {
        bool both = tw_onnx_ints(n, "starts", &bounds[0], 1) == 1 && tw_onnx_ints(n, "ends", &bounds[1], 1) == 1;
        if (!both) tw_onnx_invalid(n, "starts and ends are missing");
        tw_onnx_ints(n, "axes", &axis, 1);
    } else {
        for (int i = 0; i < 2; i++)
            if (tw_onnx_integers(n, i + 1, &bounds[i], 1) != 1) tw_onnx_invalid(n, "input %d is no single number", i + 1);
        if (tw_onnx_input(n, 3)) tw_onnx_integers(n, 3, &axis, 1);
        if (tw_onnx_input(n, 4)) tw_onnx_integers(n, 4, &bounds[2], 1);
    }
    if (axis != 0 && axis != -1) tw_onnx_invalid(n, "axis %lld of 1 dimension", (long long)axis);
    if (bounds[2] == 0) tw_onnx_invalid(n, "a step of 0");
    return n->status == TW_OK;
}

void tw_onnx_slice(tw_onnx_node *n)
{
    tw_onnx_value *x;
    int64_t bounds[3];
    int size, count = 0;
    const tw_onnx_number *from = vector(n, &x, &size);
    if (!from || !slice_bounds(n, bounds)) return;
    int64_t step = bounds[2] > size ? size + 1 : bounds[2] < -(int64_t)size ? -(int64_t)size - 1 : bounds[2];
    int64_t start = clamp(bounds[0], size, step < 0), end = clamp(bounds[1], size, step < 0);
    tw_onnx_number *to = tw_onnx_alloc(n->import, (size_t)size, sizeof *to);
    if (!to) tw_onnx_fatal(n);
    for (int64_t i = start; to && i >= 0 && i < size && (step > 0 ? i < end : i > end); i += step) to[count++] = from[i];
    tw_onnx_set_numbers(n, to, &(tw_shape){1, {count}});
}

/* ---- constants ---- */

static void set_floats(tw_onnx_node *n, const float *values, int64_t count, int rank)
{
    tw_tensor tensor;
    if (!tw_onnx_new_floats(n, &(tw_shape){rank, {count}}, &tensor)) return;
    if (count) memcpy(tensor.data, values, (size_t)count * sizeof *values);
    tw_onnx_set_constant(n, &tensor, NULL);
}

static void set_integers(tw_onnx_node *n, const int64_t *values, size_t count, int rank)
{
    int64_t *copy = tw_onnx_alloc(n->import, count, sizeof *copy);
    tw_tensor tensor = {TW_I64, {rank, {(int64_t)count}}, copy};
    if (!copy) {
        tw_onnx_fatal(n);
        return;
    }
    if (count) memcpy(copy, values, count * sizeof *copy);
    tw_onnx_set_constant(n, &tensor, NULL);
}

static void set_tensor(tw_onnx_node *n, const Onnx__TensorProto *proto)
{
    tw_tensor tensor;
    if (!proto)
        tw_onnx_invalid(n, "the value is missing");
    else if (tw_onnx_model_tensor(n->import->owner->model, proto, &tensor, &n->import->error) != TW_OK)
        tw_onnx_fatal(n);
    else
        tw_onnx_set_constant(n, &tensor, NULL);
}

void tw_onnx_constant_node(tw_onnx_node *n)
{
    const Onnx__AttributeProto *a = n->proto->n_attribute == 1 ? n->proto->attribute[0] : NULL;
    const char *name = a && a->name ? a->name : "";
    if (strcmp(name, "value") == 0)
        set_tensor(n, a->t);
    else if (strcmp(name, "value_float") == 0)
        set_floats(n, &a->f, 1, 0);
    else if (strcmp(name, "value_floats") == 0)
        set_floats(n, a->floats, (int64_t)a->n_floats, 1);
    else if (strcmp(name, "value_int") == 0)
        set_integers(n, &a->i, 1, 0);
    else if (strcmp(name, "value_ints") == 0)
        set_integers(n, a->ints, a->n_ints, 1);
    else
        tw_onnx_refuse(n, "of %.64s", *name ? name : "no value");
}

void tw_onnx_constant_of_shape(tw_onnx_node *n)
{
    int64_t dims[TW_MAX_RANK];
    int rank = tw_onnx_integers(n, 0, dims, TW_MAX_RANK);
    const Onnx__AttributeProto *a = tw_onnx_attribute(n, "value");
    tw_tensor one = {TW_F32, {1, {1}}, &(float){0}}, all;
    size_t count;
    if (rank < 0) return;
    if (a && a->t && tw_onnx_model_tensor(n->import->owner->model, a->t, &one, &n->import->error) != TW_OK) {
        tw_onnx_fatal(n);
        return;
    }
    all = (tw_tensor){one.dtype, {.rank = rank}, NULL};
    memcpy(all.shape.dims, dims, (size_t)rank * sizeof *dims);
    if (tw_onnx_elements(&one.shape) != 1) tw_onnx_invalid(n, "the value is no single number");
    size_t size = tw_dtype_bytes(one.dtype);
    if (tw_shape_count(&all.shape, one.dtype, &count, &n->import->error) == TW_OK)
        all.data = tw_onnx_alloc(n->import, count, size);
    if (!all.data) tw_onnx_fatal(n);
    for (size_t i = 0; n->status == TW_OK && i < count; i++) memcpy((char *)all.data + i * size, one.data, size);
    tw_onnx_set_constant(n, &all, NULL);
}

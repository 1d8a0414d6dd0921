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
    if (count < 1) {
        tw_onnx_refuse(n, "to a scalar");
        return false;
    }
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
    if (count < 0) {
        tw_onnx_invalid(n, "axes are missing");
        return;
    }
    int rank = x->shape.rank + count;
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
    if (batched && order->rank && order->perm[0] != 0) return false; /* even past dimensions of size 1 */
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
    if (x->kind == TW_ONNX_NUMBERS) {
        const int64_t *offsets = tw_onnx_transposed_offsets(n, x->shape.dims, perm, x->shape.rank);
        tw_shape shape = x->shape;
        for (int i = 0; i < shape.rank; i++) shape.dims[i] = x->shape.dims[perm[i]];
        tw_onnx_select(n, x, offsets, &shape);
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
    if (!numbers) {
        tw_onnx_fatal(n);
        return;
    }
    if (n->status != TW_OK) return;
    bool batched = n->import->batched && x->kind == TW_ONNX_ACTIVATION;
    for (int64_t i = start; i < end; i++)
        numbers[i - start] = batched && i == 0 ? (tw_onnx_number){0, 1} : (tw_onnx_number){x->shape.dims[i], 0};
    tw_onnx_set_numbers(n, numbers, &(tw_shape){1, {end - start}});
}

/* A constant or numbers; activations cannot be cut. */
static tw_onnx_value *cuttable(tw_onnx_node *n)
{
    tw_onnx_value *x = tw_onnx_need(n, 0);
    if (x && x->kind == TW_ONNX_ACTIVATION) tw_onnx_refuse(n, "of an activation");
    return n->status == TW_OK ? x : NULL;
}

/* Room for the offset of every element of the result. */
static int64_t *new_offsets(tw_onnx_node *n, const tw_shape *shape)
{
    size_t count;
    int64_t *offsets = NULL;
    if (n->status == TW_OK && tw_shape_count(shape, TW_I64, &count, &n->import->error) == TW_OK)
        offsets = tw_onnx_alloc(n->import, count, sizeof *offsets);
    if (!offsets) tw_onnx_fatal(n);
    return offsets;
}

/* out[before][indices...][after] = x[before][axis][after] */
void tw_onnx_gather(tw_onnx_node *n)
{
    tw_onnx_value *x = cuttable(n), *indices = tw_onnx_need(n, 1);
    int axis, count;
    const tw_onnx_number *which = x && indices ? tw_onnx_numbers(n, indices, &count) : NULL;
    if (!which || !tw_onnx_axis(n, tw_onnx_int(n, "axis", 0), x->shape.rank, &axis)) return;
    tw_shape shape = {.rank = x->shape.rank - 1 + indices->shape.rank};
    if (shape.rank > TW_MAX_RANK) tw_onnx_invalid(n, "a result of %d dimensions", shape.rank);
    if (n->status != TW_OK) return;
    for (int i = 0; i < axis; i++) shape.dims[i] = x->shape.dims[i];
    for (int i = 0; i < indices->shape.rank; i++) shape.dims[axis + i] = indices->shape.dims[i];
    for (int i = axis + 1; i < x->shape.rank; i++) shape.dims[indices->shape.rank + i - 1] = x->shape.dims[i];
    int64_t before = tw_onnx_product(&x->shape, 0, axis), size = x->shape.dims[axis];
    int64_t after = tw_onnx_product(&x->shape, axis + 1, x->shape.rank), *offsets = new_offsets(n, &shape);
    if (after == 0 || count == 0) before = 0; /* it may be huge where nothing is there */
    for (int64_t i = 0; offsets && n->status == TW_OK && i < before; i++)
        for (int j = 0; j < count && n->status == TW_OK; j++) {
            int64_t at = which[j].constant < 0 ? which[j].constant + size : which[j].constant;
            if (which[j].batches) tw_onnx_refuse(n, "by the batch");
            if (at < 0 || at >= size)
                tw_onnx_invalid(n, "index %lld of %lld", (long long)which[j].constant, (long long)size);
            for (int64_t k = 0; k < after; k++) offsets[(i * count + j) * after + k] = (i * size + at) * after + k;
        }
    tw_onnx_select(n, x, offsets, &shape);
}

/* A slice along one axis: the elements first, first + step, ..., `count` of them. */
typedef struct cut {
    int64_t first, step, count;
} cut;

/* Bounds beyond the ends are drawn in to them. */
static cut cut_of(int64_t start, int64_t end, int64_t step, int64_t size)
{
    int64_t lowest = step < 0 ? -1 : 0, highest = step < 0 ? size - 1 : size;
    if (start < 0) start = start < -size ? lowest : start + size;
    if (end < 0) end = end < -size ? lowest : end + size;
    if (start > highest) start = highest;
    if (end > highest) end = highest;
    if (step > size) step = size + 1;
    if (step < -size) step = -size - 1;
    int64_t room = step > 0 ? end - start : start - end, stride = step > 0 ? step : -step;
    return (cut){start, step, room > 0 && stride > 0 ? (room - 1) / stride + 1 : 0};
}

/* starts, ends, axes and steps: attributes up to opset 9, inputs 1 to 4 after. */
static bool read_cuts(tw_onnx_node *n, const tw_shape *shape, cut cuts[TW_MAX_RANK])
{
    enum { STARTS, ENDS, AXES, STEPS };
    static const char *const names[] = {"starts", "ends", "axes", "steps"};
    int64_t v[4][TW_MAX_RANK];
    int counts[4];
    for (int i = 0; i < 4; i++) {
        bool there =
            n->import->opset < 10 ? i != STEPS && tw_onnx_attribute(n, names[i]) : tw_onnx_input(n, i + 1) != NULL;
        if (!there)
            counts[i] = -1;
        else
            counts[i] = n->import->opset < 10 ? tw_onnx_ints(n, names[i], v[i], TW_MAX_RANK)
                                              : tw_onnx_integers(n, i + 1, v[i], TW_MAX_RANK);
        if (i > 0 && counts[i] != counts[STARTS] && (counts[i] >= 0 || i == ENDS))
            tw_onnx_invalid(n, "%s and %s are not as many", names[STARTS], names[i]);
    }
    for (int i = 0; i < shape->rank; i++) cuts[i] = (cut){0, 1, shape->dims[i]};
    if (counts[STARTS] < 0 || counts[STARTS] > shape->rank) tw_onnx_invalid(n, "starts do not fit the input");
    for (int i = 0; n->status == TW_OK && i < counts[STARTS]; i++) {
        int axis;
        int64_t step = counts[STEPS] < 0 ? 1 : v[STEPS][i];
        if (step == 0)
            tw_onnx_invalid(n, "a step of 0");
        else if (tw_onnx_axis(n, counts[AXES] < 0 ? i : v[AXES][i], shape->rank, &axis))
            cuts[axis] = cut_of(v[STARTS][i], v[ENDS][i], step, shape->dims[axis]);
    }
    return n->status == TW_OK;
}

void tw_onnx_slice(tw_onnx_node *n)
{
    tw_onnx_value *x = cuttable(n);
    cut cuts[TW_MAX_RANK];
    int64_t strides[TW_MAX_RANK], index[TW_MAX_RANK] = {0}, offset = 0, all = 1;
    if (!x || !read_cuts(n, &x->shape, cuts)) return;
    tw_shape shape = x->shape;
    for (int i = shape.rank - 1; i >= 0; i--) {
        strides[i] = all;
        all *= x->shape.dims[i];
        shape.dims[i] = cuts[i].count;
    }
    int64_t count = tw_onnx_elements(&shape), *offsets = new_offsets(n, &shape);
    for (int i = 0; count > 0 && i < shape.rank; i++) offset += cuts[i].first * strides[i]; /* inside, if any are */
    for (int64_t i = 0; offsets && i < count; i++) {
        offsets[i] = offset;
        for (int axis = shape.rank - 1; axis >= 0; axis--) {
            offset += cuts[axis].step * strides[axis];
            if (++index[axis] < shape.dims[axis]) break;
            offset -= cuts[axis].step * strides[axis] * shape.dims[axis];
            index[axis] = 0;
        }
    }
    tw_onnx_select(n, x, offsets, &shape);
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
    if (!all.data) {
        tw_onnx_fatal(n);
        return;
    }
    for (size_t i = 0; n->status == TW_OK && i < count; i++) memcpy((char *)all.data + i * size, one.data, size);
    tw_onnx_set_constant(n, &all, NULL);
}

/* Operators on every element: activations, sums, scales and shifts by constants, normalisation, softmax, concatenation,
 * and those that change nothing when a network is run. */
#include "onnx/import_nodes.h"

#include <math.h>
#include <string.h>

/* ---- clipping ---- */

void tw_onnx_relu(tw_onnx_node *n)
{
    tw_onnx_value *x = tw_onnx_activation(n, 0);
    if (x) tw_onnx_set_activation(n, tw_graph_relu(n->import->graph, x->value, tw_onnx_name(n)), &x->shape);
}

/* A bound: an attribute up to opset 10, an input of one number after. */
static float bound(tw_onnx_node *n, const char *attribute, int index, float otherwise)
{
    if (n->import->opset < 11) return tw_onnx_float(n, attribute, otherwise);
    if (!tw_onnx_input(n, index)) return otherwise;
    const tw_onnx_value *value = tw_onnx_constant(n, index);
    const float *number = value ? tw_onnx_floats(n, &value->constant) : NULL;
    if (!number) return otherwise;
    if (tw_onnx_elements(&value->shape) != 1) {
        tw_onnx_invalid(n, "the bound %s is no single number", attribute);
        return otherwise;
    }
    if (isnan(*number)) tw_onnx_invalid(n, "the bound %s is not a number", attribute);
    return *number;
}

void tw_onnx_clip(tw_onnx_node *n)
{
    tw_onnx_value *x = tw_onnx_activation(n, 0);
    float low = bound(n, "min", 1, -INFINITY), high = bound(n, "max", 2, INFINITY);
    if (!x || n->status != TW_OK) return;
    if (low > high) low = high; /* min(max(x, low), high) */
    tw_value y = low == 0 && isinf(high) ? tw_graph_relu(n->import->graph, x->value, tw_onnx_name(n))
                                         : tw_graph_clip(n->import->graph, x->value, low, high, tw_onnx_name(n));
    tw_onnx_set_activation(n, y, &x->shape);
}

/* ---- x * scale + shift ---- */

/* Which of a constant's dimensions are not 1, aligned with x's at the right; the batch and those beyond x's must be. */
static bool constant_axes(tw_onnx_node *n, const tw_onnx_value *x, const tw_onnx_value *constant,
                          bool axes[TW_MAX_RANK])
{
    int shift = x->shape.rank - constant->shape.rank;
    if (n->status != TW_OK) return false;
    memset(axes, 0, TW_MAX_RANK * sizeof *axes);
    for (int i = 0; i < constant->shape.rank; i++) {
        int64_t size = constant->shape.dims[i];
        int axis = i + shift;
        if (size == 1 && axis >= 0) continue;
        if (axis < 0 || (axis == 0 && n->import->batched))
            tw_onnx_refuse(n, "with a constant that changes the shape or differs from image to image");
        else if (size != x->shape.dims[axis])
            tw_onnx_refuse(n, "with a constant that changes the shape");
        else
            axes[axis] = true;
    }
    return n->status == TW_OK;
}

/* A view of x in whose channels the constant lies: dimension 1 where it differs along that alone, else every element. */
static tw_shape channel_view(const tw_onnx_value *x, const bool axes[TW_MAX_RANK], tw_shape *pattern)
{
    bool channels = x->shape.rank >= 2 && x->shape.dims[0] == 1;
    for (int i = 0; i < x->shape.rank; i++) channels = channels && (i == 1 || !axes[i] || x->shape.dims[i] == 1);
    *pattern = x->shape;
    if (!channels) return (tw_shape){2, {1, tw_onnx_elements(&x->shape)}};
    for (int i = 0; i < pattern->rank; i++)
        if (i != 1) pattern->dims[i] = 1;
    int64_t c = x->shape.dims[1], pixels = tw_onnx_product(&x->shape, 2, x->shape.rank);
    if (x->shape.rank == 4) return x->shape;
    return x->shape.rank == 2 ? (tw_shape){2, {1, c}} : (tw_shape){4, {1, c, 1, pixels}};
}

/* The four vectors of a batchnorm node; null: `otherwise` all over. */
typedef struct affine {
    float *weight, *bias;
} affine;

static void fill_vector(tw_onnx_node *n, const char *name, const char *part, tw_tensor vector, float number)
{
    if (!vector.data) {
        tw_shape shape = vector.shape;
        if (!tw_onnx_new_floats(n, &shape, &vector)) return;
        for (int64_t i = 0; i < shape.dims[0]; i++) ((float *)vector.data)[i] = number;
    }
    tw_onnx_parameter(n, name, part, &vector, NULL);
}

/* Batch normalisation with mean 0 and variance 1; a convolution or linear node before it takes it in. */
static void scale_and_shift(tw_onnx_node *n, tw_onnx_value *x, const tw_shape *view, const affine *a)
{
    const char *name = tw_onnx_name(n);
    tw_tensor vector = {TW_F32, {1, {view->dims[1]}}, NULL};
    tw_value y = tw_graph_batchnorm(n->import->graph, tw_onnx_view(n, x, view), 0, name);
    tw_onnx_set_activation(n, y, &x->shape);
    fill_vector(n, name, "running_mean", vector, 0);
    fill_vector(n, name, "running_var", vector, 1);
    vector.data = a->weight;
    fill_vector(n, name, "weight", vector, 1);
    vector.data = a->bias;
    fill_vector(n, name, "bias", vector, 0);
}

/* op with x, the operand at `index`, and a constant, the other. */
static void combine(tw_onnx_node *n, char op, int index, tw_onnx_value *x, const tw_onnx_value *c)
{
    bool axes[TW_MAX_RANK];
    tw_shape pattern;
    if (!constant_axes(n, x, c, axes)) return;
    tw_shape view = channel_view(x, axes, &pattern);
    float *numbers = tw_onnx_broadcast(n, &c->constant, &pattern);
    if (!numbers) return;
    affine a = {0};
    if (op == '*' || op == '/')
        a.weight = numbers;
    else
        a.bias = numbers;
    for (int64_t i = 0; i < view.dims[1]; i++) {
        if (op == '/') numbers[i] = 1 / numbers[i];
        if (op == '-' && index == 0) numbers[i] = -numbers[i];
    }
    if (op == '-' && index == 1) {
        tw_tensor minus;
        if (!tw_onnx_new_floats(n, &(tw_shape){1, {view.dims[1]}}, &minus)) return;
        a.weight = minus.data;
        for (int64_t i = 0; i < view.dims[1]; i++) a.weight[i] = -1;
    }
    scale_and_shift(n, x, &view, &a);
}

void tw_onnx_add_constant(tw_onnx_node *n, tw_onnx_value *x, const tw_onnx_value *constant)
{
    combine(n, '+', 0, x, constant);
}

static void with_constant(tw_onnx_node *n, char op, int index)
{
    tw_onnx_value *x = tw_onnx_activation(n, index);
    const tw_onnx_value *c = tw_onnx_constant(n, 1 - index);
    if (op == '/' && index == 1) tw_onnx_refuse(n, "by an activation");
    if (x && c && n->status == TW_OK) combine(n, op, index, x, c);
}

static bool is_constant(tw_onnx_node *n, int index)
{
    const tw_onnx_value *value = tw_onnx_need(n, index);
    return value && value->kind != TW_ONNX_ACTIVATION;
}

static void binary(tw_onnx_node *n, char op)
{
    bool first = is_constant(n, 0), second = is_constant(n, 1);
    if (n->status != TW_OK) return;
    if (first && second)
        tw_onnx_fold_binary(n, op);
    else if (first || second)
        with_constant(n, op, first ? 1 : 0);
    else
        tw_onnx_refuse(n, "of two activations");
}

void tw_onnx_sub(tw_onnx_node *n)
{
    binary(n, '-');
}

void tw_onnx_mul(tw_onnx_node *n)
{
    binary(n, '*');
}

void tw_onnx_div(tw_onnx_node *n)
{
    binary(n, '/');
}

/* ---- sums ---- */

static bool same_shape(const tw_shape *a, const tw_shape *b)
{
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0;
}

/* Two activations of one shape. `last`: the result is the node's. */
static tw_value add_two(tw_onnx_node *n, tw_value sum, const tw_onnx_value *first, const tw_onnx_value *other,
                        bool last)
{
    tw_shape shape;
    if (!same_shape(&first->shape, &other->shape)) {
        tw_onnx_refuse(n, "of activations of different shapes");
        return -1;
    }
    if (n->status != TW_OK || tw_graph_shape(n->import->graph, sum, &shape, &n->import->error) != TW_OK) return -1;
    tw_value view = tw_onnx_view(n, other, &shape);
    return tw_graph_add(n->import->graph, sum, view, last ? tw_onnx_name(n) : tw_onnx_helper_name(n, "sum"));
}

void tw_onnx_add(tw_onnx_node *n)
{
    bool first = is_constant(n, 0), second = is_constant(n, 1);
    if (n->status != TW_OK) return;
    if (first != second) {
        const tw_onnx_value *x = tw_onnx_need(n, first ? 1 : 0);
        if (x->has_bias)
            tw_onnx_set_same(n, x, NULL);
        else
            with_constant(n, '+', first ? 1 : 0);
    } else if (first) {
        tw_onnx_fold_binary(n, '+');
    } else {
        tw_onnx_sum(n);
    }
}

void tw_onnx_sum(tw_onnx_node *n)
{
    int count = tw_onnx_inputs(n);
    tw_onnx_value *first = tw_onnx_activation(n, 0);
    if (!first) return;
    if (count == 1) {
        tw_onnx_set_same(n, first, NULL);
        return;
    }
    tw_value sum = first->value;
    for (int i = 1; i < count; i++) {
        tw_onnx_value *other = tw_onnx_activation(n, i);
        if (other) sum = add_two(n, sum, first, other, i + 1 == count);
        if (n->status != TW_OK) return;
    }
    tw_onnx_set_activation(n, sum, &first->shape);
}

/* ---- normalisation ---- */

/* [1][channels][pixels] as the graph has it. */
static tw_shape channels_first(const tw_shape *s)
{
    if (s->rank == 4) return *s;
    if (s->rank == 2) return *s;
    return (tw_shape){4, {1, s->dims[1], 1, tw_onnx_product(s, 2, s->rank)}};
}

static bool has_channels(tw_onnx_node *n, const tw_onnx_value *x)
{
    if (n->status != TW_OK) return false;
    if (x->shape.rank < 2)
        tw_onnx_invalid(n, "an input of %d dimensions, expected at least 2", x->shape.rank);
    else if (x->shape.dims[0] != 1)
        tw_onnx_refuse(n, "of %lld images in a model that mixes them", (long long)x->shape.dims[0]);
    return n->status == TW_OK;
}

void tw_onnx_batch_normalization(tw_onnx_node *n)
{
    static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    tw_onnx_value *x = tw_onnx_activation(n, 0);
    float epsilon = tw_onnx_float(n, "epsilon", 1e-5f);
    /* Before opset 14 further outputs, whoever reads them, are what says training. */
    bool training = tw_onnx_int(n, "training_mode", 0) != 0;
    for (size_t i = 1; i < n->proto->n_output && i < 5; i++)
        training = training || (n->import->opset < 14 ? *n->proto->output[i] : tw_onnx_output_used(n, (int)i));
    if (training) tw_onnx_refuse(n, "in training mode");
    if (n->import->opset < 9 && !tw_onnx_int(n, "spatial", 1)) tw_onnx_refuse(n, "with spatial 0");
    if (!x || !has_channels(n, x)) return;
    tw_tensor vectors[4];
    const char *names[4];
    for (int i = 0; i < 4; i++) {
        tw_onnx_value *value = tw_onnx_constant(n, i + 1);
        if (!value || !tw_onnx_as_weight(n, value, &vectors[i])) return;
        names[i] = value->initializer;
        if (value->shape.rank == 1 && value->shape.dims[0] == x->shape.dims[1]) continue;
        tw_onnx_invalid(n, "input %d is no vector of %lld numbers", i + 1, (long long)x->shape.dims[1]);
        return;
    }
    const char *name = tw_onnx_name(n);
    tw_shape view = channels_first(&x->shape);
    tw_value y = tw_graph_batchnorm(n->import->graph, tw_onnx_view(n, x, &view), epsilon, name);
    tw_onnx_set_activation(n, y, &x->shape);
    for (int i = 0; i < 4; i++) tw_onnx_parameter(n, name, parts[i], &vectors[i], names[i]);
}

/* ONNX sums x^2 over [c - floor((size - 1) / 2), c + ceil((size - 1) / 2)], the graph over the mirrored window: the same
 * for odd sizes. */
void tw_onnx_lrn(tw_onnx_node *n)
{
    tw_onnx_value *x = tw_onnx_activation(n, 0);
    tw_lrn_desc desc = {.alpha = tw_onnx_float(n, "alpha", 1e-4f),
                        .beta = tw_onnx_float(n, "beta", 0.75f),
                        .k = tw_onnx_float(n, "bias", 1)};
    if (!x || !tw_onnx_size(n, "size", tw_onnx_int(n, "size", 0), 1, &desc.size) || !has_channels(n, x)) return;
    if (desc.size % 2 == 0) {
        tw_onnx_refuse(n, "of an even size");
        return;
    }
    tw_shape view = {4, {1, x->shape.dims[1], 1, tw_onnx_product(&x->shape, 2, x->shape.rank)}};
    if (x->shape.rank == 4) view = x->shape;
    desc.name = tw_onnx_name(n);
    tw_onnx_set_activation(n, tw_graph_lrn(n->import->graph, tw_onnx_view(n, x, &view), &desc), &x->shape);
}

/* ---- along an axis ---- */

/* x as [1][dimensions first to last][1][the rest]; what lies before must be one image's. */
static bool axis_view(tw_onnx_node *n, const tw_onnx_value *x, int first, int last, tw_shape *view)
{
    if (n->status != TW_OK) return false;
    if (n->import->batched && first == 0)
        tw_onnx_refuse(n, "over the batch");
    else if (tw_onnx_product(&x->shape, 0, first) != 1)
        tw_onnx_refuse(n, "along other than channels");
    if (n->status != TW_OK) return false;
    int64_t rest = tw_onnx_product(&x->shape, last, x->shape.rank);
    *view = (tw_shape){4, {1, tw_onnx_product(&x->shape, first, last), 1, rest}};
    if (first == 1 && last == 2 && x->shape.rank == 4) *view = x->shape;
    if (rest == 1 && last == x->shape.rank) *view = (tw_shape){2, {1, view->dims[1]}};
    return true;
}

/* Up to opset 12 the input is a matrix, split at the axis; since 13 one axis is summed over. */
void tw_onnx_softmax(tw_onnx_node *n)
{
    tw_onnx_value *x = tw_onnx_activation(n, 0);
    bool matrix = n->import->opset < 13;
    tw_shape view;
    int axis;
    if (!x || !tw_onnx_axis(n, tw_onnx_int(n, "axis", matrix ? 1 : -1), x->shape.rank, &axis)) return;
    if (!axis_view(n, x, axis, matrix ? x->shape.rank : axis + 1, &view)) return;
    tw_onnx_set_activation(n, tw_graph_softmax(n->import->graph, tw_onnx_view(n, x, &view), tw_onnx_name(n)),
                           &x->shape);
}

/* The graph joins at most 16 at a time: groups, then groups of groups. */
static tw_value join(tw_onnx_node *n, tw_value *values, int count)
{
    enum { MOST = 16 };
    while (count > MOST && n->status == TW_OK) {
        int groups = 0;
        for (int i = 0; i < count; i += MOST) {
            int size = count - i < MOST ? count - i : MOST;
            values[groups++] =
                size == 1 ? values[i]
                          : tw_graph_concat(n->import->graph, values + i, size, tw_onnx_helper_name(n, "concat"));
        }
        count = groups;
    }
    return n->status == TW_OK ? tw_graph_concat(n->import->graph, values, count, tw_onnx_name(n)) : -1;
}

/* All but the axis must agree. */
static bool can_follow(tw_onnx_node *n, const tw_onnx_value *first, const tw_onnx_value *next, int axis)
{
    bool same = next->shape.rank == first->shape.rank;
    for (int i = 0; same && i < first->shape.rank; i++) same = i == axis || next->shape.dims[i] == first->shape.dims[i];
    if (!same) tw_onnx_invalid(n, "inputs that differ in other than dimension %d", axis);
    return same;
}

static void concat_activations(tw_onnx_node *n)
{
    int count = tw_onnx_inputs(n), axis;
    tw_onnx_value *first = tw_onnx_activation(n, 0);
    if (!first) return;
    if (!tw_onnx_attribute(n, "axis")) tw_onnx_invalid(n, "axis is missing");
    if (!tw_onnx_axis(n, tw_onnx_int(n, "axis", 1), first->shape.rank, &axis)) return;
    tw_value *values = tw_onnx_alloc(n->import, (size_t)count, sizeof *values);
    if (!values) {
        tw_onnx_fatal(n);
        return;
    }
    tw_shape view, shape = first->shape;
    size_t total;
    shape.dims[axis] = 0;
    for (int i = 0; i < count && n->status == TW_OK; i++) {
        tw_onnx_value *x = tw_onnx_activation(n, i);
        if (!x || !can_follow(n, first, x, axis) || !axis_view(n, x, axis, axis + 1, &view)) return;
        values[i] = tw_onnx_view(n, x, &view);
        shape.dims[axis] += x->shape.dims[axis];
        if (tw_shape_count(&shape, TW_F32, &total, &n->import->error) != TW_OK) tw_onnx_fatal(n);
    }
    if (n->status != TW_OK) return;
    if (count == 1)
        tw_onnx_set_same(n, first, NULL);
    else
        tw_onnx_set_activation(n, join(n, values, count), &shape);
}

void tw_onnx_concat(tw_onnx_node *n)
{
    int activations = 0;
    for (int i = 0; i < tw_onnx_inputs(n); i++) activations += tw_onnx_is_activation(n, i);
    if (activations)
        concat_activations(n);
    else
        tw_onnx_fold_concat(n);
}

/* ---- nothing to compute ---- */

void tw_onnx_identity(tw_onnx_node *n)
{
    tw_onnx_value *x = tw_onnx_need(n, 0);
    if (x) tw_onnx_set_same(n, x, NULL);
}

/* The probability: an attribute up to opset 11, an input after. */
void tw_onnx_dropout(tw_onnx_node *n)
{
    tw_onnx_value *x = tw_onnx_activation(n, 0);
    float ratio = n->import->opset < 12 ? tw_onnx_float(n, "ratio", 0.5f) : 0.5f;
    if (n->import->opset >= 12 && tw_onnx_input(n, 1)) {
        const tw_onnx_value *value = tw_onnx_constant(n, 1);
        const float *number = value ? tw_onnx_floats(n, &value->constant) : NULL;
        if (number && tw_onnx_elements(&value->shape) == 1) ratio = *number;
    }
    if (n->import->opset >= 12 && tw_onnx_input(n, 2)) {
        int64_t training = 0;
        if (tw_onnx_integers(n, 2, &training, 1) != 1 || (training && ratio != 0))
            tw_onnx_refuse(n, "in training mode");
    }
    if (tw_onnx_output_used(n, 1)) tw_onnx_refuse(n, "with its mask");
    if (!x || n->status != TW_OK) return;
    tw_onnx_set_activation(n, tw_graph_dropout(n->import->graph, x->value, ratio, tw_onnx_name(n)), &x->shape);
}

static bool is_float_type(int64_t type)
{
    return type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT || type == ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 ||
           type == ONNX__TENSOR_PROTO__DATA_TYPE__BFLOAT16 || type == ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
}

/* Real constants that become integers, as exported sizes do; fractions are dropped. */
static void cast_to_integers(tw_onnx_node *n, const tw_onnx_value *x)
{
    enum { EXACT = 1 << 24 }; /* float32 holds all integers up to here */
    const float *reals = tw_onnx_floats(n, &x->constant);
    const size_t count = (size_t)tw_onnx_elements(&x->shape);
    if (!reals) return;
    tw_onnx_number *numbers = tw_onnx_alloc(n->import, count ? count : 1, sizeof *numbers);
    if (!numbers) {
        tw_onnx_fatal(n);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (!(fabsf(reals[i]) <= EXACT)) {
            tw_onnx_refuse(n, "of %g to an integer", (double)reals[i]);
            return;
        }
        numbers[i].constant = (int64_t)reals[i];
    }
    tw_onnx_set_numbers(n, numbers, &x->shape);
}

/* Real numbers stay float32 here, whatever the file calls them; integers stay integers. */
void tw_onnx_cast(tw_onnx_node *n)
{
    tw_onnx_value *x = tw_onnx_need(n, 0);
    int64_t to = tw_onnx_int(n, "to", 0);
    if (!x) return;
    bool real = x->kind == TW_ONNX_ACTIVATION || (x->kind == TW_ONNX_CONSTANT && tw_onnx_is_real(x->constant.dtype));
    bool integer = to == ONNX__TENSOR_PROTO__DATA_TYPE__INT64 || to == ONNX__TENSOR_PROTO__DATA_TYPE__INT32;
    if ((real && is_float_type(to)) || (!real && integer)) {
        tw_onnx_set_same(n, x, NULL);
        return;
    }
    if (x->kind == TW_ONNX_CONSTANT && real && integer) {
        cast_to_integers(n, x);
        return;
    }
    int count;
    tw_tensor out;
    if (real || !is_float_type(to)) tw_onnx_refuse(n, "between integers and real numbers");
    const tw_onnx_number *numbers = tw_onnx_numbers(n, x, &count);
    if (!numbers || !tw_onnx_new_floats(n, &x->shape, &out)) return;
    for (int i = 0; i < count; i++) {
        if (numbers[i].batches) tw_onnx_refuse(n, "of the batch");
        ((float *)out.data)[i] = (float)numbers[i].constant;
    }
    tw_onnx_set_constant(n, &out, NULL);
}

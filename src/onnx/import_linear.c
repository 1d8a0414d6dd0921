/* Matrix products with constant weights: Gemm and MatMul become linear nodes, whose weights are [out][in]. Where the
 * file has them so (Gemm with transB, as PyTorch exports), they stay views of it; otherwise a copy is transposed. Products
 * that sum over the rows of an activation (transA, or the constant at the left) become 1x1 convolutions. */
#include "onnx/import_nodes.h"

#include <string.h>

typedef struct product {
    tw_onnx_value *x;
    int64_t in, out;
    tw_tensor weight; /* [out][in] */
    const char *weight_name;
    tw_tensor bias; /* [out]; data null: none */
    const char *bias_name;
    bool vector; /* the weights had one dimension: the result loses its last */
} product;

/* ---- weights ---- */

/* Takes a constant [in][out], or [out][in] where `transposed`, as weights. Dimensions of 1 before these are nothing, and
 * one dimension alone is [in][1], as MatMul has it. */
static bool take_weights(tw_onnx_node *n, const tw_onnx_value *b, bool transposed, product *p)
{
    if (!b) return false;
    int rank = b->shape.rank;
    if (rank < 1 || (rank > 2 && (rank > p->x->shape.rank || tw_onnx_product(&b->shape, 0, rank - 2) != 1))) {
        tw_onnx_refuse(n, "by a constant of %d dimensions", rank);
        return false;
    }
    tw_onnx_value matrix = *b, turned = {0};
    p->vector = rank == 1;
    matrix.shape = (tw_shape){
        2, {p->vector ? b->shape.dims[0] : b->shape.dims[rank - 2], p->vector ? 1 : b->shape.dims[rank - 1]}};
    matrix.constant.shape = matrix.shape;
    p->out = matrix.shape.dims[transposed ? 0 : 1];
    p->in = matrix.shape.dims[transposed ? 1 : 0];
    if (transposed) {
        p->weight_name = rank == 2 ? b->initializer : NULL;
        return tw_onnx_as_weight(n, &matrix, &p->weight);
    }
    static const int swap[] = {1, 0};
    if (!tw_onnx_transpose_copy(n, &matrix, swap, &turned.constant)) return false;
    return tw_onnx_as_weight(n, &turned, &p->weight);
}

/* A transposition that was left undone before x was flattened: the weights' columns are put into the order of the
 * elements as they lie. */
static bool reorder_columns(tw_onnx_node *n, product *p)
{
    const tw_onnx_order *order = &p->x->order;
    const float *from = tw_onnx_floats(n, &p->weight);
    const int64_t *offsets = tw_onnx_transposed_offsets(n, order->dims, order->perm, order->rank);
    tw_tensor to;
    if (!from || !offsets || !tw_onnx_new_floats(n, &p->weight.shape, &to)) return false;
    for (int64_t row = 0; row < p->out; row++)
        for (int64_t column = 0; column < p->in; column++)
            ((float *)to.data)[row * p->in + offsets[column]] = from[row * p->in + column];
    p->weight = to;
    p->weight_name = NULL;
    return true;
}

/* x as [1][in]: one row an image. */
static bool check_rows(tw_onnx_node *n, const product *p)
{
    const tw_shape *s = &p->x->shape;
    if (n->status != TW_OK) return false;
    if (s->rank < 1 || s->dims[s->rank - 1] != p->in)
        tw_onnx_invalid(n, "%lld features, and weights for %lld", s->rank ? (long long)s->dims[s->rank - 1] : 0,
                        (long long)p->in);
    else if (tw_onnx_elements(s) != p->in)
        tw_onnx_refuse(n, "of more than one row an image");
    else if (n->import->batched && s->rank < 2)
        tw_onnx_refuse(n, "over the batch");
    else if (p->x->order.rank && n->import->batched && p->x->order.perm[0] != 0)
        tw_onnx_refuse(n, "of a transposed activation");
    return n->status == TW_OK;
}

/* The node under a name; its shape is x's with the last dimension replaced. */
static tw_value add_linear(tw_onnx_node *n, product *p, const char *name)
{
    int out;
    tw_tensor weight = p->weight;
    if (!check_rows(n, p) || !tw_onnx_size(n, "the number of outputs", p->out, 1, &out)) return -1;
    if (p->x->order.rank && !reorder_columns(n, p)) return -1;
    weight = p->weight;
    weight.shape = (tw_shape){2, {p->out, p->in}};
    tw_linear_desc desc = {.name = name, .out_features = out, .bias = p->bias.data != NULL};
    tw_value x = tw_onnx_view(n, p->x, &(tw_shape){2, {1, p->in}});
    tw_value y = tw_graph_linear(n->import->graph, x, &desc);
    if (y < 0) return y;
    tw_onnx_parameter(n, name, "weight", &weight, p->weight_name);
    if (p->bias.data) tw_onnx_parameter(n, name, "bias", &p->bias, p->bias_name);
    return y;
}

/* Every number times a factor; what then differs from the file loses its name there. */
static bool scale(tw_onnx_node *n, tw_tensor *tensor, float factor, const char **name)
{
    if (factor == 1) return true;
    float *numbers = tw_onnx_floats(n, tensor);
    int64_t count = tw_onnx_elements(&tensor->shape);
    for (int64_t i = 0; numbers && i < count; i++) numbers[i] *= factor;
    *tensor = (tw_tensor){TW_F32, tensor->shape, numbers};
    *name = NULL;
    return numbers != NULL;
}

static tw_shape result_shape(const product *p)
{
    tw_shape shape = p->x->shape;
    if (shape.rank) shape.dims[shape.rank - 1] = p->out;
    shape.rank -= p->vector;
    return shape;
}

/* ---- over the rows of x ---- */

/* Weights [out][in] times x [in][columns], an image with `in` channels and one row of pixels; the result is
 * [out][columns]. */
static tw_value add_columns(tw_onnx_node *n, product *p, const char *name)
{
    const tw_shape *s = &p->x->shape;
    int out;
    if (n->status != TW_OK) return -1;
    if (n->import->batched && s->rank < 3)
        tw_onnx_refuse(n, "over the batch");
    else if (s->rank < 2 || s->dims[s->rank - 2] != p->in)
        tw_onnx_invalid(n, "%lld rows, and weights for %lld", s->rank < 2 ? 1 : (long long)s->dims[s->rank - 2],
                        (long long)p->in);
    else if (tw_onnx_product(s, 0, s->rank - 2) != 1)
        tw_onnx_refuse(n, "of more than one matrix an image");
    if (!tw_onnx_size(n, "the number of outputs", p->out, 1, &out)) return -1;
    tw_tensor weight = p->weight;
    weight.shape = (tw_shape){4, {p->out, p->in, 1, 1}};
    tw_conv2d_desc desc = {.name = name, .out_channels = out, .kernel = {1, 1}, .bias = p->bias.data != NULL};
    tw_value x = tw_onnx_view(n, p->x, &(tw_shape){4, {1, p->in, 1, s->dims[s->rank - 1]}});
    tw_value y = tw_graph_conv2d(n->import->graph, x, &desc);
    if (y < 0) return y;
    tw_onnx_parameter(n, name, "weight", &weight, NULL);
    if (p->bias.data) tw_onnx_parameter(n, name, "bias", &p->bias, p->bias_name);
    return y;
}

/* A constant at the left, of 2 dimensions, times an activation: [out][in] * [...][in][columns]. */
static void multiply_left(tw_onnx_node *n, bool transposed, float alpha, tw_onnx_value *c)
{
    tw_onnx_value *a = tw_onnx_constant(n, 0), *x = tw_onnx_activation(n, 1);
    product p = {.x = x};
    if (!a || !x) return;
    if (a->shape.rank != 2) tw_onnx_refuse(n, "of a constant of %d dimensions", a->shape.rank);
    if (!take_weights(n, a, !transposed, &p) || !scale(n, &p.weight, alpha, &p.weight_name)) return;
    tw_onnx_value y = {.kind = TW_ONNX_ACTIVATION, .shape = x->shape};
    y.value = add_columns(n, &p, c ? tw_onnx_helper_name(n, "product") : tw_onnx_name(n));
    if (n->status != TW_OK || y.value < 0) return;
    y.shape.dims[x->shape.rank - 2] = p.out;
    if (c)
        tw_onnx_add_constant(n, &y, c);
    else
        tw_onnx_set_activation(n, y.value, &y.shape);
}

/* ---- Gemm ---- */

/* C as a bias, where it is the same for every row: of [out] as it is, otherwise broadcast. */
static bool take_bias(tw_onnx_node *n, const tw_onnx_value *c, product *p)
{
    if (c->kind != TW_ONNX_CONSTANT) {
        tw_onnx_refuse(n, "with such an input C");
        return false;
    }
    const tw_shape *s = &c->shape;
    int64_t count = tw_onnx_elements(s);
    if (s->rank > 2 || (count != 1 && (s->dims[s->rank - 1] != p->out || count != p->out))) {
        tw_onnx_refuse(n, "with an input C that differs from row to row");
        return false;
    }
    tw_shape wanted = {1, {p->out}};
    if (count == p->out && tw_onnx_as_weight(n, c, &p->bias)) {
        p->bias.shape = wanted;
        p->bias_name = s->rank == 1 ? c->initializer : NULL;
        return true;
    }
    tw_tensor one = c->constant;
    one.shape = (tw_shape){1, {1}};
    p->bias = (tw_tensor){TW_F32, wanted, tw_onnx_broadcast(n, &one, &wanted)};
    p->bias_name = NULL;
    return p->bias.data != NULL;
}

/* x [in][rows], transposed, times weights: [rows][out], computed as [out][rows] whose transposition is not done yet. */
static void multiply_columns(tw_onnx_node *n, product *p)
{
    int64_t rows = p->x->shape.dims[1];
    tw_onnx_value y = {.kind = TW_ONNX_ACTIVATION, .shape = {2, {rows, p->out}}};
    if (p->x->order.rank) tw_onnx_refuse(n, "of a transposed activation");
    y.value = add_columns(n, p, tw_onnx_name(n));
    if (rows > 1 && p->out > 1) y.order = (tw_onnx_order){2, {p->out, rows}, {1, 0}};
    if (n->status == TW_OK && y.value >= 0) tw_onnx_set_same(n, &y, NULL);
}

/* The product, then C, an activation of its shape, added. */
static void add_activation(tw_onnx_node *n, product *p, tw_onnx_value *c, float beta)
{
    tw_shape shape = result_shape(p), graph_shape = {2, {1, p->out}};
    if (beta != 1) tw_onnx_refuse(n, "with beta and an activation as input C");
    bool row = c->shape.rank == 1 && !n->import->batched, same = c->shape.rank == shape.rank || row;
    for (int i = 0; same && i < c->shape.rank; i++)
        same = c->shape.dims[i] == shape.dims[i + shape.rank - c->shape.rank];
    if (!same) tw_onnx_refuse(n, "with an input C of another shape");
    if (n->status != TW_OK) return;
    tw_value y = add_linear(n, p, tw_onnx_helper_name(n, "product"));
    tw_value other = tw_onnx_view(n, c, &graph_shape);
    tw_onnx_set_activation(n, tw_graph_add(n->import->graph, y, other, tw_onnx_name(n)), &shape);
}

/* A constant at the left; C, a constant too, may have any shape that broadcasts. */
static void gemm_left(tw_onnx_node *n, float alpha, float beta)
{
    tw_onnx_value *c = tw_onnx_input(n, 2), scaled;
    const char *none;
    if (tw_onnx_int(n, "transB", 0)) tw_onnx_refuse(n, "with transB and an activation as input B");
    if (c && c->kind != TW_ONNX_CONSTANT) tw_onnx_refuse(n, "of a constant and two activations");
    if (n->status != TW_OK) return;
    if (beta == 0) c = NULL;
    if (c) {
        scaled = *c;
        if (!scale(n, &scaled.constant, beta, &none)) return;
    }
    multiply_left(n, tw_onnx_int(n, "transA", 0) != 0, alpha, c ? &scaled : NULL);
}

/* x times weights, of one row or, with transA, of any number. */
static void gemm_right(tw_onnx_node *n, tw_onnx_value *x, float alpha, float beta)
{
    tw_onnx_value *b = tw_onnx_constant(n, 1), *c = tw_onnx_input(n, 2), turned;
    bool trans_a = tw_onnx_int(n, "transA", 0) != 0;
    product p = {.x = x};
    if (b && (b->shape.rank != 2 || (trans_a && x->shape.rank != 2)))
        tw_onnx_invalid(n, "inputs of %d and %d dimensions, expected 2", x->shape.rank, b->shape.rank);
    if (trans_a && n->import->batched) tw_onnx_refuse(n, "with transA over the batch");
    if (n->status != TW_OK || !take_weights(n, b, tw_onnx_int(n, "transB", 0) != 0, &p)) return;
    if (!scale(n, &p.weight, alpha, &p.weight_name)) return;
    bool columns = trans_a && x->shape.dims[1] != 1;
    if (trans_a && !columns) { /* a column is a row */
        turned = *x;
        turned.shape = (tw_shape){2, {1, x->shape.dims[0]}};
        p.x = &turned;
    }
    if (c && c->kind == TW_ONNX_ACTIVATION) {
        c = tw_onnx_activation(n, 2);
        if (columns) tw_onnx_refuse(n, "with transA and an activation as input C");
        if (c && n->status == TW_OK) add_activation(n, &p, c, beta);
        return;
    }
    if (c && beta != 0 && (!take_bias(n, c, &p) || !scale(n, &p.bias, beta, &p.bias_name))) return;
    if (columns) {
        multiply_columns(n, &p);
        return;
    }
    tw_shape shape = result_shape(&p);
    const char *name = tw_onnx_name(n);
    tw_onnx_set_activation(n, add_linear(n, &p, name), &shape);
}

/* The first input of a product: an activation, maybe with a transposition left undone. Null where it is a constant. */
static tw_onnx_value *left_activation(tw_onnx_node *n, bool *constant)
{
    tw_onnx_value *x = tw_onnx_need(n, 0);
    *constant = x && x->kind == TW_ONNX_CONSTANT && tw_onnx_is_activation(n, 1);
    if (!x || *constant) return NULL;
    return x->kind == TW_ONNX_ACTIVATION && x->order.rank ? x : tw_onnx_activation(n, 0);
}

void tw_onnx_gemm(tw_onnx_node *n)
{
    float alpha = tw_onnx_float(n, "alpha", 1), beta = tw_onnx_float(n, "beta", 1);
    bool constant;
    tw_onnx_value *x = left_activation(n, &constant);
    if (constant)
        gemm_left(n, alpha, beta);
    else if (x)
        gemm_right(n, x, alpha, beta);
}

/* ---- MatMul ---- */

/* Is the product read by one node only, which adds a constant vector? Then it is the bias, and the linear node has the
 * addition's name, since it computes its result. */
static const tw_onnx_value *following_bias(const tw_onnx_node *n, const product *p, tw_onnx_node *addition)
{
    tw_onnx_import *import = n->import;
    int at = tw_names_find(&import->values_by_name, n->proto->output[0]);
    if (at < 0 || import->values[at].readers != 1 || import->values[at].reader < 0) return NULL;
    *addition = (tw_onnx_node){.import = import, .index = import->values[at].reader};
    addition->proto = import->proto->node[addition->index];
    if (strcmp(addition->proto->op_type, "Add") != 0 || *addition->proto->domain || addition->proto->n_input != 2)
        return NULL;
    for (int i = 0; i < 2; i++) {
        const tw_onnx_value *other = tw_onnx_input(addition, i);
        if (!other || other->kind != TW_ONNX_CONSTANT || other->shape.rank != 1) continue;
        if (other->shape.dims[0] == p->out && tw_onnx_is_real(other->constant.dtype)) return other;
    }
    return NULL;
}

void tw_onnx_matmul(tw_onnx_node *n)
{
    bool constant;
    tw_onnx_value *x = left_activation(n, &constant);
    tw_onnx_node addition;
    if (constant) multiply_left(n, false, 1, NULL);
    if (!x) return;
    product p = {.x = x};
    if (!take_weights(n, tw_onnx_constant(n, 1), false, &p) || !check_rows(n, &p)) return;
    const tw_onnx_value *bias = n->proto->n_output ? following_bias(n, &p, &addition) : NULL;
    if (bias && !take_bias(n, bias, &p)) return;
    const char *name = tw_onnx_name(bias ? &addition : n);
    tw_shape shape = result_shape(&p);
    tw_onnx_set_activation(n, add_linear(n, &p, name), &shape);
    if (bias && n->status == TW_OK)
        n->import->values[tw_names_find(&n->import->values_by_name, n->proto->output[0])].has_bias = true;
}

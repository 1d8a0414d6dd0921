/* Matrix products with constant weights: Gemm and MatMul become linear nodes, whose weights are [out][in]. Where the
 * file has them so (Gemm with transB, as PyTorch exports), they stay views of it; otherwise a copy is transposed. */
#include "onnx/import_nodes.h"

#include <string.h>

typedef struct product {
    tw_onnx_value *x;
    int64_t in, out;
    tw_tensor weight; /* [out][in] */
    const char *weight_name;
    tw_tensor bias; /* [out]; data null: none */
    const char *bias_name;
} product;

/* ---- weights ---- */

/* Takes a constant [in][out], or [out][in] where `transposed`, as weights. */
static bool take_weights(tw_onnx_node *n, tw_onnx_value *b, bool transposed, product *p)
{
    if (!b || b->shape.rank != 2) {
        if (b) tw_onnx_refuse(n, "by a constant of %d dimensions", b->shape.rank);
        return false;
    }
    p->out = b->shape.dims[transposed ? 0 : 1];
    p->in = b->shape.dims[transposed ? 1 : 0];
    if (transposed) {
        p->weight_name = b->initializer;
        return tw_onnx_as_weight(n, b, &p->weight);
    }
    static const int swap[] = {1, 0};
    tw_onnx_value turned = {0};
    if (!tw_onnx_transpose_copy(n, b, swap, &turned.constant)) return false;
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

static tw_shape result_shape(const product *p)
{
    tw_shape shape = p->x->shape;
    if (shape.rank) shape.dims[shape.rank - 1] = p->out;
    return shape;
}

/* ---- Gemm ---- */

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

/* A row may be seen as a column: transA of one image alone. */
static tw_onnx_value turn_rows(tw_onnx_node *n, const tw_onnx_value *x)
{
    tw_onnx_value turned = *x;
    if (n->import->batched || x->shape.rank != 2 || x->shape.dims[1] != 1) tw_onnx_refuse(n, "with transA");
    turned.shape = (tw_shape){2, {1, x->shape.dims[0]}};
    return turned;
}

/* The product, then C, an activation, added. */
static void add_activation(tw_onnx_node *n, product *p, tw_onnx_value *c, float beta)
{
    tw_shape shape = result_shape(p), graph_shape = {2, {1, p->out}};
    if (beta != 1) tw_onnx_refuse(n, "with beta and an activation as input C");
    if (tw_onnx_elements(&c->shape) != p->out) tw_onnx_refuse(n, "with an input C of another shape");
    if (n->status != TW_OK) return;
    tw_value y = add_linear(n, p, tw_onnx_helper_name(n, "product"));
    tw_value other = tw_onnx_view(n, c, &graph_shape);
    tw_onnx_set_activation(n, tw_graph_add(n->import->graph, y, other, tw_onnx_name(n)), &shape);
}

void tw_onnx_gemm(tw_onnx_node *n)
{
    tw_onnx_value *x = tw_onnx_need(n, 0), *c = tw_onnx_input(n, 2), turned;
    float alpha = tw_onnx_float(n, "alpha", 1), beta = tw_onnx_float(n, "beta", 1);
    bool trans_a = tw_onnx_int(n, "transA", 0) != 0, trans_b = tw_onnx_int(n, "transB", 0) != 0;
    if (x && !(x->kind == TW_ONNX_ACTIVATION && x->order.rank)) x = tw_onnx_activation(n, 0);
    if (!x) return;
    product p = {.x = x};
    if (trans_a) {
        turned = turn_rows(n, x);
        p.x = &turned;
    }
    if (!take_weights(n, tw_onnx_constant(n, 1), trans_b, &p) || !scale(n, &p.weight, alpha, &p.weight_name)) return;
    if (c && c->kind == TW_ONNX_ACTIVATION) {
        c = tw_onnx_activation(n, 2);
        if (c) add_activation(n, &p, c, beta);
        return;
    }
    if (c && beta != 0 && (!take_bias(n, c, &p) || !scale(n, &p.bias, beta, &p.bias_name))) return;
    tw_shape shape = result_shape(&p);
    const char *name = tw_onnx_name(n);
    tw_onnx_set_activation(n, add_linear(n, &p, name), &shape);
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
    tw_onnx_value *x = tw_onnx_need(n, 0);
    tw_onnx_node addition;
    if (x && !(x->kind == TW_ONNX_ACTIVATION && x->order.rank)) x = tw_onnx_activation(n, 0);
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

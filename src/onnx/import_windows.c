/* Operators with windows: convolution, pooling, and the padding that goes before them. One spatial dimension is read as
 * an image of height 1. */
#include "onnx/import_nodes.h"

#include <stdio.h>
#include <string.h>

typedef struct window {
    int kernel[2], stride[2], dilation[2];
    int pad[4]; /* top, left, bottom, right */
} window;

/* ---- attributes ---- */

/* The input as [1][channels][height][width]. */
static bool image_shape(tw_onnx_node *n, const tw_onnx_value *x, tw_shape *image)
{
    const tw_shape *s = &x->shape;
    if (n->status != TW_OK) return false;
    if (s->rank != 3 && s->rank != 4)
        tw_onnx_refuse(n, s->rank > 4 ? "over %d dimensions" : "of %d dimensions", s->rank > 4 ? s->rank - 2 : s->rank);
    else if (s->dims[0] != 1)
        tw_onnx_refuse(n, "of %lld images in a model that mixes them", (long long)s->dims[0]);
    if (n->status != TW_OK) return false;
    *image = s->rank == 4 ? *s : (tw_shape){4, {1, s->dims[1], 1, s->dims[2]}};
    return true;
}

/* One attribute with a number a spatial dimension. */
static bool read_pair(tw_onnx_node *n, const char *name, int spatial, int least, int pair[2])
{
    int64_t values[4];
    int count = tw_onnx_ints(n, name, values, 4);
    if (n->status != TW_OK) return false;
    if (count < 0) return true;
    if (count != spatial) {
        tw_onnx_invalid(n, "%s has %d numbers, expected %d", name, count, spatial);
        return false;
    }
    if (spatial == 2 && !tw_onnx_size(n, name, values[0], least, &pair[0])) return false;
    return tw_onnx_size(n, name, values[spatial - 1], least, &pair[1]);
}

static bool read_pads(tw_onnx_node *n, int spatial, window *w)
{
    int64_t values[4];
    int count = tw_onnx_ints(n, "pads", values, 4);
    if (n->status != TW_OK) return false;
    if (count < 0) return true;
    if (count != 2 * spatial) {
        tw_onnx_invalid(n, "pads has %d numbers, expected %d", count, 2 * spatial);
        return false;
    }
    for (int i = 0; i < count; i++)
        if (!tw_onnx_size(n, "pads", values[i], 0, &w->pad[spatial == 2 ? i : 2 * i + 1])) return false;
    return true;
}

/* SAME: ceil(size / stride) outputs, the odd zero at the end (SAME_UPPER) or the beginning. */
static void pad_same(const tw_shape *image, bool upper, window *w)
{
    for (int i = 0; i < 2; i++) {
        int64_t in = image->dims[2 + i], out = (in + w->stride[i] - 1) / w->stride[i];
        int64_t total = (out - 1) * w->stride[i] + (int64_t)(w->kernel[i] - 1) * w->dilation[i] + 1 - in;
        if (total < 0) total = 0;
        w->pad[i] = (int)(upper ? total / 2 : total - total / 2);
        w->pad[2 + i] = (int)(total - w->pad[i]);
    }
}

/* All of them; the kernel's default is there already. */
static bool read_window(tw_onnx_node *n, int spatial, const tw_shape *image, window *w)
{
    char padding[32];
    for (int i = 0; i < 2; i++) w->stride[i] = w->dilation[i] = 1;
    if (!read_pair(n, "kernel_shape", spatial, 1, w->kernel) || !read_pair(n, "strides", spatial, 1, w->stride) ||
        !read_pair(n, "dilations", spatial, 1, w->dilation) || !tw_onnx_string(n, "auto_pad", "NOTSET", padding))
        return false;
    if (strcmp(padding, "NOTSET") == 0) return read_pads(n, spatial, w);
    if (strcmp(padding, "SAME_UPPER") == 0 || strcmp(padding, "SAME_LOWER") == 0)
        pad_same(image, padding[5] == 'U', w);
    else if (strcmp(padding, "VALID") != 0)
        tw_onnx_invalid(n, "auto_pad is %s, expected NOTSET, SAME_UPPER, SAME_LOWER or VALID", padding);
    return n->status == TW_OK;
}

/* The ONNX shape of an operator's result: the graph's, less the height that stands for none. */
static void set_image(tw_onnx_node *n, tw_value y, int rank)
{
    tw_shape shape;
    if (n->status != TW_OK) return;
    if (tw_graph_shape(n->import->graph, y, &shape, &n->import->error) != TW_OK) {
        tw_graph_check(n->import->graph, &n->import->error);
        tw_onnx_fatal(n);
        return;
    }
    if (rank == 3) shape = (tw_shape){3, {1, shape.dims[1], shape.dims[3]}};
    tw_onnx_set_activation(n, y, &shape);
}

/* ---- Conv ---- */

static bool has_padding(const tw_onnx_value *value)
{
    return value->pad[0] || value->pad[1] || value->pad[2] || value->pad[3];
}

/* Zeros that a Pad left undone are taken into the window's; `image` becomes the shape before them. */
static void take_padding(const tw_onnx_value *value, window *w, tw_shape *image)
{
    for (int i = 0; i < 4; i++) {
        w->pad[i] += value->pad[i];
        image->dims[2 + i % 2] -= value->pad[i];
    }
}

static bool conv_weights(tw_onnx_node *n, const tw_shape *image, int64_t groups, tw_tensor *weight, const char **name)
{
    tw_onnx_value *value = tw_onnx_constant(n, 1);
    if (!value || !tw_onnx_as_weight(n, value, weight)) return false;
    *name = value->initializer;
    tw_shape *s = &weight->shape;
    if (s->rank == 3 && tw_onnx_input(n, 0)->shape.rank == 3) {
        *s = (tw_shape){4, {s->dims[0], s->dims[1], 1, s->dims[2]}};
        *name = NULL;
    }
    if (s->rank != 4 || s->dims[0] < 1 || s->dims[0] > INT32_MAX / 4 || s->dims[1] != image->dims[1] / groups ||
        image->dims[1] % groups) {
        char text[96];
        size_t at = 0;
        for (int i = 0; i < s->rank && at < sizeof text; i++)
            at += (size_t)snprintf(text + at, sizeof text - at, i ? "x%lld" : "%lld", (long long)s->dims[i]);
        tw_onnx_invalid(n, "weights of shape %s for %lld channels in %lld groups", text, (long long)image->dims[1],
                        (long long)groups);
        return false;
    }
    return true;
}

static bool conv_bias(tw_onnx_node *n, int64_t channels, tw_tensor *bias, const char **name)
{
    tw_onnx_value *value = tw_onnx_constant(n, 2);
    if (!value || !tw_onnx_as_weight(n, value, bias)) return false;
    *name = value->initializer;
    if (bias->shape.rank != 1 || bias->shape.dims[0] != channels)
        tw_onnx_invalid(n, "a bias that is no vector of %lld numbers", (long long)channels);
    return n->status == TW_OK;
}

void tw_onnx_conv(tw_onnx_node *n)
{
    tw_onnx_value *x = tw_onnx_need(n, 0);
    tw_tensor weight, bias;
    const char *weight_name = NULL, *bias_name = NULL;
    tw_shape image;
    window w = {0};
    int groups;
    if (!x || (!(x->kind == TW_ONNX_ACTIVATION && !x->order.rank) && !tw_onnx_activation(n, 0))) return;
    bool has_bias = tw_onnx_input(n, 2) != NULL;
    if (!image_shape(n, x, &image) || !tw_onnx_size(n, "group", tw_onnx_int(n, "group", 1), 1, &groups)) return;
    if (!conv_weights(n, &image, groups, &weight, &weight_name)) return;
    if (has_bias && !conv_bias(n, weight.shape.dims[0], &bias, &bias_name)) return;
    for (int i = 0; i < 2; i++)
        if (!tw_onnx_size(n, "the kernel", weight.shape.dims[2 + i], 1, &w.kernel[i])) return;
    window given = w;
    if (!read_window(n, x->shape.rank - 2, &image, &given)) return;
    if (memcmp(given.kernel, w.kernel, sizeof w.kernel) != 0) {
        tw_onnx_invalid(n, "kernel_shape %dx%d, and weights of %dx%d", given.kernel[0], given.kernel[1], w.kernel[0],
                        w.kernel[1]);
        return;
    }
    w = given;
    take_padding(x, &w, &image);
    const char *name = tw_onnx_name(n);
    tw_conv2d_desc desc = {.name = name,
                           .out_channels = (int)weight.shape.dims[0],
                           .kernel = {w.kernel[0], w.kernel[1]},
                           .stride = {w.stride[0], w.stride[1]},
                           .dilation = {w.dilation[0], w.dilation[1]},
                           .padding = {w.pad[0], w.pad[1], w.pad[2], w.pad[3]},
                           .groups = groups,
                           .bias = has_bias};
    tw_value y = tw_graph_conv2d(n->import->graph, tw_onnx_view(n, x, &image), &desc);
    set_image(n, y, x->shape.rank);
    tw_onnx_parameter(n, name, "weight", &weight, weight_name);
    if (has_bias) tw_onnx_parameter(n, name, "bias", &bias, bias_name);
}

/* ---- pools ---- */

static void pool(tw_onnx_node *n, tw_pool_kind kind)
{
    tw_onnx_value *x = tw_onnx_need(n, 0);
    tw_shape image;
    window w = {0};
    if (!x) return;
    bool ceil_mode = tw_onnx_int(n, "ceil_mode", 0) != 0;
    bool include = kind == TW_POOL_AVERAGE && tw_onnx_int(n, "count_include_pad", 0) != 0;
    bool padded = x->kind == TW_ONNX_ACTIVATION && !x->order.rank && has_padding(x);
    if (!(padded && kind == TW_POOL_AVERAGE && !ceil_mode)) x = tw_onnx_activation(n, 0);
    if (!x || !image_shape(n, x, &image)) return;
    w.kernel[0] = 1;
    if (!tw_onnx_attribute(n, "kernel_shape")) tw_onnx_invalid(n, "kernel_shape is missing");
    if (!read_window(n, x->shape.rank - 2, &image, &w)) return;
    if (has_padding(x)) {
        /* An average counts the zeros of a Pad always, its own only with count_include_pad. */
        bool own = w.pad[0] || w.pad[1] || w.pad[2] || w.pad[3];
        bool fits = !own || include;
        for (int i = 0; i < 4; i++) fits = fits && w.pad[i] + x->pad[i] < w.kernel[i % 2];
        if (!fits) x = tw_onnx_activation(n, 0);
        if (!x) return;
        include = include || fits;
        take_padding(x, &w, &image);
    }
    if (kind == TW_POOL_AVERAGE && (w.dilation[0] != 1 || w.dilation[1] != 1)) {
        tw_onnx_refuse(n, "with dilation");
        return;
    }
    tw_pool_desc desc = {.name = tw_onnx_name(n),
                         .kind = kind,
                         .kernel = {w.kernel[0], w.kernel[1]},
                         .stride = {w.stride[0], w.stride[1]},
                         .padding = {w.pad[0], w.pad[1], w.pad[2], w.pad[3]},
                         .dilation = {w.dilation[0], w.dilation[1]},
                         .ceil_mode = ceil_mode,
                         .count_include_pad = include};
    set_image(n, tw_graph_pool(n->import->graph, tw_onnx_view(n, x, &image), &desc), x->shape.rank);
}

void tw_onnx_max_pool(tw_onnx_node *n)
{
    if (tw_onnx_output_used(n, 1))
        tw_onnx_refuse(n, "with indices");
    else
        pool(n, TW_POOL_MAX);
}

void tw_onnx_average_pool(tw_onnx_node *n)
{
    pool(n, TW_POOL_AVERAGE);
}

/* One number for `middle` elements, as a window of their height over [1][outer][middle][after]. */
static void reduce(tw_onnx_node *n, const tw_onnx_value *x, tw_pool_kind kind, int first, int last, const tw_shape *out)
{
    int middle;
    int64_t outer = tw_onnx_product(&x->shape, 0, first), after = tw_onnx_product(&x->shape, last, x->shape.rank);
    if (!tw_onnx_size(n, "the number of elements", tw_onnx_product(&x->shape, first, last), 1, &middle)) return;
    tw_pool_desc desc = {.name = tw_onnx_name(n), .kind = kind, .kernel = {middle, 1}, .stride = {middle, 1}};
    tw_shape image = {4, {1, outer, middle, after}};
    bool plane = after == 1 && x->shape.rank == 4 && first == 2 && last == 4;
    if (plane) {
        image = x->shape; /* as it lies: no other view of it is needed */
        for (int i = 0; i < 2; i++)
            if (!tw_onnx_size(n, "the image", image.dims[2 + i], 1, &desc.kernel[i])) return;
        desc.stride[0] = desc.kernel[0];
        desc.stride[1] = desc.kernel[1];
    }
    if (kind == TW_POOL_AVERAGE && after == 1) {
        desc.kind = TW_POOL_ADAPTIVE_AVERAGE;
        desc.output[0] = desc.output[1] = 1;
    }
    tw_onnx_set_activation(n, tw_graph_pool(n->import->graph, tw_onnx_view(n, x, &image), &desc), out);
}

static void global_pool(tw_onnx_node *n, tw_pool_kind kind)
{
    tw_onnx_value *x = tw_onnx_activation(n, 0);
    if (!x) return;
    if (x->shape.rank < 3) {
        tw_onnx_invalid(n, "an input of %d dimensions, expected at least 3", x->shape.rank);
        return;
    }
    tw_shape out = x->shape;
    for (int i = 2; i < out.rank; i++) out.dims[i] = 1;
    reduce(n, x, kind, 2, out.rank, &out);
}

void tw_onnx_global_average_pool(tw_onnx_node *n)
{
    global_pool(n, TW_POOL_AVERAGE);
}

void tw_onnx_global_max_pool(tw_onnx_node *n)
{
    global_pool(n, TW_POOL_MAX);
}

/* Axes of any order become a mask; none given, in the attribute or the input, means all or, where the node says so,
 * none. */
static bool reduced_axes(tw_onnx_node *n, const tw_onnx_value *x, int last_opset, bool mask[TW_MAX_RANK])
{
    int64_t axes[TW_MAX_RANK];
    int count = tw_onnx_axes(n, last_opset, 1, axes);
    if (n->status != TW_OK) return false;
    bool all = count <= 0 && (n->import->opset <= last_opset || !tw_onnx_int(n, "noop_with_empty_axes", 0));
    for (int i = 0; i < TW_MAX_RANK; i++) mask[i] = all && i < x->shape.rank;
    for (int i = 0; i < count; i++) {
        int axis;
        if (!tw_onnx_axis(n, axes[i], x->shape.rank, &axis)) return false;
        mask[axis] = true;
    }
    if (n->import->batched && mask[0]) tw_onnx_refuse(n, "over the batch");
    return n->status == TW_OK;
}

static void reduce_axes(tw_onnx_node *n, tw_pool_kind kind, int last_opset)
{
    tw_onnx_value *x = tw_onnx_activation(n, 0);
    bool mask[TW_MAX_RANK], keep = tw_onnx_int(n, "keepdims", 1) != 0;
    if (!x || !reduced_axes(n, x, last_opset, mask)) return;
    int first = x->shape.rank, last = 0;
    tw_shape out = {0};
    for (int i = 0; i < x->shape.rank; i++) {
        if (mask[i] && i < first) first = i;
        if (mask[i]) last = i + 1;
        if (!mask[i] || keep) out.dims[out.rank++] = mask[i] ? 1 : x->shape.dims[i];
    }
    for (int i = first; i < last; i++)
        if (!mask[i] && x->shape.dims[i] != 1) tw_onnx_refuse(n, "over axes that are not neighbours");
    if (n->status != TW_OK) return;
    if (first > last)
        tw_onnx_set_same(n, x, NULL); /* no axes, and noop_with_empty_axes */
    else
        reduce(n, x, kind, first, last, &out);
}

void tw_onnx_reduce_mean(tw_onnx_node *n)
{
    reduce_axes(n, TW_POOL_AVERAGE, 17);
}

void tw_onnx_reduce_max(tw_onnx_node *n)
{
    reduce_axes(n, TW_POOL_MAX, 17);
}

/* ---- Pad ---- */

/* Zeros before and after each dimension, by attribute (opset 10 and before), input, or input with axes. */
static bool read_padding(tw_onnx_node *n, int rank, int64_t pads[2 * TW_MAX_RANK])
{
    int64_t given[2 * TW_MAX_RANK], axes[TW_MAX_RANK];
    int count = n->import->opset < 11 ? tw_onnx_ints(n, "pads", given, 2 * TW_MAX_RANK)
                                      : tw_onnx_integers(n, 1, given, 2 * TW_MAX_RANK);
    int n_axes = n->import->opset >= 18 && tw_onnx_input(n, 3) ? tw_onnx_integers(n, 3, axes, TW_MAX_RANK) : -1;
    if (n->status != TW_OK) return false;
    for (int i = 0; n_axes < 0 && i < rank; i++) axes[i] = i;
    if (n_axes < 0) n_axes = rank;
    if (count != 2 * n_axes) {
        tw_onnx_invalid(n, "%d pads for %d axes", count, n_axes);
        return false;
    }
    memset(pads, 0, 2 * TW_MAX_RANK * sizeof *pads);
    for (int i = 0; i < n_axes; i++) {
        int axis, size;
        if (!tw_onnx_axis(n, axes[i], rank, &axis)) return false;
        for (int end = 0; end < 2; end++) {
            int64_t pad = given[i + end * n_axes];
            if (pad < 0) tw_onnx_refuse(n, "that crops");
            if (!tw_onnx_size(n, "pads", pad, 0, &size)) return false;
            pads[axis + end * rank] = size;
        }
    }
    return true;
}

static bool pads_with_zero(tw_onnx_node *n)
{
    char mode[32];
    if (!tw_onnx_string(n, "mode", "constant", mode)) return false;
    if (strcmp(mode, "constant") != 0) tw_onnx_refuse(n, "with mode %s", mode);
    float number = tw_onnx_float(n, "value", 0);
    if (n->import->opset >= 11 && tw_onnx_input(n, 2)) {
        tw_onnx_value *value = tw_onnx_constant(n, 2);
        const float *numbers = value ? tw_onnx_floats(n, &value->constant) : NULL;
        if (numbers && tw_onnx_elements(&value->shape) != 1)
            tw_onnx_invalid(n, "its value is no single number");
        else if (numbers)
            number = *numbers;
    }
    if (!(number == 0)) tw_onnx_refuse(n, "with other than zeros");
    return n->status == TW_OK;
}

void tw_onnx_pad(tw_onnx_node *n)
{
    tw_onnx_value *x = tw_onnx_activation(n, 0);
    int64_t pads[2 * TW_MAX_RANK];
    if (!x || !pads_with_zero(n) || !read_padding(n, x->shape.rank, pads)) return;
    tw_onnx_value padded = *x;
    int rank = x->shape.rank;
    size_t count;
    for (int i = 0; i < rank; i++) {
        if (!pads[i] && !pads[i + rank]) continue;
        if (rank != 4 || i < 2 || x->shape.dims[0] != 1) {
            tw_onnx_refuse(n, "of other than height and width");
            return;
        }
        padded.pad[i - 2] = (int)pads[i];
        padded.pad[i] = (int)pads[i + rank];
        padded.shape.dims[i] += pads[i] + pads[i + rank];
    }
    if (tw_shape_count(&padded.shape, TW_F32, &count, &n->import->error) != TW_OK)
        tw_onnx_fatal(n);
    else
        tw_onnx_set_same(n, &padded, NULL);
}

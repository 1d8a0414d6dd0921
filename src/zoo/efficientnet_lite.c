/* EfficientNet-Lite (Google 2020, after Tan and Le 2019): EfficientNet without squeeze-and-excite and with relu6 for
 * swish, so that it quantises well. Lite1 to 4 are Lite0 with more channels and more blocks; the stem, the head and the
 * depth of the first and last stage stay.
 *
 * Trained in TensorFlow: batch normalisation has epsilon 1e-3, and "same" padding follows from the size of each
 * layer's input, the odd zero below and to the right. Names are timm's; the files of the EfficientNet-PyTorch
 * implementations, which number the blocks through, bind by alias. */
#include "net.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define EPSILON 1e-3f

typedef struct stage {
    int expand, channels, blocks, kernel, stride;
} stage;

enum { STAGES = 7 };
static const stage stages[STAGES] = {
    {1, 16, 1, 3, 1},  {6, 24, 2, 3, 2},  {6, 40, 2, 5, 2},  {6, 80, 3, 3, 2},
    {6, 112, 3, 5, 1}, {6, 192, 4, 5, 2}, {6, 320, 1, 3, 1},
};

typedef struct scale {
    int width, depth; /* in tenths */
    float dropout;
} scale;
static const scale scales[] = {{10, 10, 0.2f}, {10, 11, 0.2f}, {11, 12, 0.3f}, {12, 14, 0.3f}, {14, 18, 0.3f}};

/* To the nearest multiple of 8, but never below nine tenths. */
static int scale_channels(int channels, const scale *s)
{
    int tenths = channels * s->width, rounded = (tenths + 40) / 80 * 8;
    return rounded * 100 < tenths * 9 ? rounded + 8 : rounded;
}

static int scale_blocks(int index, const scale *s)
{
    int blocks = stages[index].blocks;
    return index == 0 || index == STAGES - 1 ? blocks : (blocks * s->depth + 9) / 10;
}

/* Zeros on both sides together, so that ceil(in / stride) windows fit. */
static int same_padding(int64_t in, int kernel, int stride)
{
    int64_t last = (in - 1) / stride * stride, total = last + kernel - in;
    return total > 0 ? (int)total : 0;
}

static void alias(tw_net *net, const char *name, const char *other, const char *tensor)
{
    char parameter[160], second[160];
    snprintf(parameter, sizeof parameter, "%s.%s", name, tensor);
    snprintf(second, sizeof second, "%s.%s", other, tensor);
    tw_graph_alias(net->graph, parameter, second);
}

/* A layer's name here and in files of the EfficientNet-PyTorch implementations. */
typedef struct names {
    const char *conv, *bn, *other_conv, *other_bn;
} names;

static tw_value conv_bn(tw_net *net, tw_value x, const names *n, tw_conv2d_desc desc)
{
    static const char *const tensors[] = {"weight", "bias", "running_mean", "running_var"};
    int kernel = desc.kernel[0], stride = desc.stride[0] ? desc.stride[0] : 1;
    tw_shape shape;
    if (tw_graph_shape(net->graph, x, &shape, NULL) != TW_OK) return -1; /* the graph knows why */
    int vertical = same_padding(shape.dims[2], kernel, stride),
        horizontal = same_padding(shape.dims[3], kernel, stride);
    int padding[4] = {vertical / 2, horizontal / 2, vertical - vertical / 2, horizontal - horizontal / 2};
    memcpy(desc.padding, padding, sizeof padding);

    desc.name = tw_net_name(net, "%s", n->conv);
    x = tw_graph_conv2d(net->graph, x, &desc);
    alias(net, desc.name, n->other_conv, "weight");
    const char *bn = tw_net_name(net, "%s", n->bn);
    x = tw_graph_batchnorm(net->graph, x, EPSILON, bn);
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) alias(net, bn, n->other_bn, tensors[i]);
    return x;
}

static tw_value relu6(tw_net *net, tw_value x, const char *bn)
{
    return tw_graph_clip(net->graph, x, 0, 6, tw_net_name(net, "%s.act", bn));
}

typedef struct block {
    int number; /* counted through all stages */
    int in, hidden, out, kernel, stride;
} block;

/* conv_pw expands (not in the first block), conv_dw filters each channel, conv_pwl projects. timm numbers the batch
 * normalisations from 1 in either case, the other implementation keeps 0 for the expansion's. */
static tw_value inverted_residual(tw_net *net, tw_value x, const block *b)
{
    char other[6][64];
    static const char *const layers[6] = {"_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"};
    for (int i = 0; i < 6; i++) snprintf(other[i], sizeof other[i], "_blocks.%d.%s", b->number, layers[i]);
    bool expands = b->hidden != b->in;
    const char *bn_dw = expands ? "bn2" : "bn1";
    names expand = {"conv_pw", "bn1", other[0], other[1]}, filter = {"conv_dw", bn_dw, other[2], other[3]};
    names project = {expands ? "conv_pwl" : "conv_pw", expands ? "bn3" : "bn2", other[4], other[5]};

    tw_value y = x;
    if (expands) {
        y = conv_bn(net, y, &expand, (tw_conv2d_desc){.out_channels = b->hidden, .kernel = {1}});
        y = relu6(net, y, "bn1");
    }
    y = conv_bn(
        net, y, &filter,
        (tw_conv2d_desc){.out_channels = b->hidden, .kernel = {b->kernel}, .stride = {b->stride}, .groups = b->hidden});
    y = relu6(net, y, bn_dw);
    y = conv_bn(net, y, &project, (tw_conv2d_desc){.out_channels = b->out, .kernel = {1}});
    return b->stride == 1 && b->in == b->out ? tw_graph_add(net->graph, y, x, tw_net_name(net, "add")) : y;
}

tw_value tw_zoo_efficientnet_lite(tw_net *net, tw_value x)
{
    const scale *s = &scales[net->variant];
    const names stem = {"conv_stem", "bn1", "_conv_stem", "_bn0"}, head = {"conv_head", "bn2", "_conv_head", "_bn1"};
    block b = {.in = 32};
    tw_graph *g = net->graph;
    x = conv_bn(net, x, &stem, (tw_conv2d_desc){.out_channels = b.in, .kernel = {3}, .stride = {2}});
    x = relu6(net, x, "bn1");
    for (int i = 0; i < STAGES; i++)
        for (int j = 0; j < scale_blocks(i, s); j++, b.number++) {
            b.hidden = b.in * stages[i].expand;
            b.out = scale_channels(stages[i].channels, s);
            b.kernel = stages[i].kernel;
            b.stride = j == 0 ? stages[i].stride : 1;
            tw_net_enter(net, "blocks.%d.%d.", i, j);
            x = inverted_residual(net, x, &b);
            b.in = b.out;
        }
    tw_net_enter(net, "%s", "");
    x = conv_bn(net, x, &head, (tw_conv2d_desc){.out_channels = 1280, .kernel = {1}});
    x = relu6(net, x, "bn2");
    x = tw_graph_pool(g, x, &(tw_pool_desc){.name = "global_pool", .kind = TW_POOL_ADAPTIVE_AVERAGE, .output = {1, 1}});
    x = tw_graph_flatten(g, x, "flatten");
    x = tw_graph_dropout(g, x, s->dropout, "dropout");
    x = tw_graph_linear(g, x, &(tw_linear_desc){"classifier", net->classes, true});
    tw_graph_alias(g, "classifier.weight", "_fc.weight");
    tw_graph_alias(g, "classifier.bias", "_fc.bias");
    return x;
}

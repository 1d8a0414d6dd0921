/* ResNet (He et al. 2015), as torchvision has it: post-activation, and in a bottleneck the stride on the 3x3
 * ("ResNet 1.5"). Two kinds of block: basic (18 and 34 layers) and bottleneck (50, 101 and 152). */
#include "net.h"

enum { STAGES = 4 };

typedef struct block {
    int width; /* channels inside */
    int out;   /* channels behind it: width, or 4 * width for a bottleneck */
    int stride;
    bool project; /* the shortcut changes shape and needs a convolution */
} block;

static const int *stage_blocks(int layers)
{
    static const int n18[STAGES] = {2, 2, 2, 2}, n34[STAGES] = {3, 4, 6, 3}, n101[STAGES] = {3, 4, 23, 3},
                     n152[STAGES] = {3, 8, 36, 3};
    switch (layers) {
    case 18: return n18;
    case 34:
    case 50: return n34;
    case 101: return n101;
    default: return n152;
    }
}

/* convN (padding keeps the size at stride 1) and bnN. */
static tw_value conv_bn(tw_net *net, tw_value x, int number, tw_conv2d_desc desc)
{
    int p = desc.kernel[0] / 2;
    for (int i = 0; i < 4; i++) desc.padding[i] = p;
    desc.name = tw_net_name(net, "conv%d", number);
    x = tw_graph_conv2d(net->graph, x, &desc);
    return tw_graph_batchnorm(net->graph, x, 1e-5f, tw_net_name(net, "bn%d", number));
}

static tw_value shortcut(tw_net *net, tw_value x, const block *b)
{
    if (!b->project) return x;
    x = tw_graph_conv2d(
        net->graph, x,
        &(tw_conv2d_desc){
            .name = tw_net_name(net, "downsample.0"), .out_channels = b->out, .kernel = {1}, .stride = {b->stride}});
    return tw_graph_batchnorm(net->graph, x, 1e-5f, tw_net_name(net, "downsample.1"));
}

static tw_value basic(tw_net *net, tw_value x, const block *b)
{
    tw_graph *g = net->graph;
    tw_value y = conv_bn(net, x, 1, (tw_conv2d_desc){.out_channels = b->width, .kernel = {3}, .stride = {b->stride}});
    y = tw_graph_relu(g, y, tw_net_name(net, "relu"));
    y = conv_bn(net, y, 2, (tw_conv2d_desc){.out_channels = b->out, .kernel = {3}});
    tw_value around = shortcut(net, x, b);
    y = tw_graph_add(g, y, around, tw_net_name(net, "add"));
    return tw_graph_relu(g, y, tw_net_name(net, "relu_2"));
}

static tw_value bottleneck(tw_net *net, tw_value x, const block *b)
{
    tw_graph *g = net->graph;
    tw_value y = conv_bn(net, x, 1, (tw_conv2d_desc){.out_channels = b->width, .kernel = {1}});
    y = tw_graph_relu(g, y, tw_net_name(net, "relu"));
    y = conv_bn(net, y, 2, (tw_conv2d_desc){.out_channels = b->width, .kernel = {3}, .stride = {b->stride}});
    y = tw_graph_relu(g, y, tw_net_name(net, "relu_2"));
    y = conv_bn(net, y, 3, (tw_conv2d_desc){.out_channels = b->out, .kernel = {1}});
    tw_value around = shortcut(net, x, b);
    y = tw_graph_add(g, y, around, tw_net_name(net, "add"));
    return tw_graph_relu(g, y, tw_net_name(net, "relu_3"));
}

tw_value tw_zoo_resnet(tw_net *net, tw_value x)
{
    const int *blocks = stage_blocks(net->variant);
    bool deep = net->variant >= 50;
    tw_graph *g = net->graph;
    x = conv_bn(net, x, 1, (tw_conv2d_desc){.out_channels = 64, .kernel = {7}, .stride = {2}});
    x = tw_graph_relu(g, x, "relu");
    x = tw_graph_pool(g, x, &(tw_pool_desc){.name = "maxpool", .kernel = {3}, .stride = {2}, .padding = {1, 1, 1, 1}});

    int channels = 64;
    for (int stage = 0; stage < STAGES; stage++)
        for (int i = 0; i < blocks[stage]; i++) {
            int width = 64 << stage, stride = stage > 0 && i == 0 ? 2 : 1;
            block b = {.width = width, .out = deep ? 4 * width : width, .stride = stride};
            b.project = stride != 1 || b.out != channels;
            tw_net_enter(net, "layer%d.%d.", stage + 1, i);
            x = deep ? bottleneck(net, x, &b) : basic(net, x, &b);
            channels = b.out;
        }

    x = tw_graph_pool(g, x, &(tw_pool_desc){.name = "avgpool", .kind = TW_POOL_ADAPTIVE_AVERAGE, .output = {1, 1}});
    x = tw_graph_flatten(g, x, "flatten");
    return tw_graph_linear(g, x, &(tw_linear_desc){"fc", net->classes, true});
}

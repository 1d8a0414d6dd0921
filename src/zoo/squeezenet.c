/* SqueezeNet 1.0 and 1.1 (Iandola et al. 2016), as torchvision has them: fire modules, that is a 1x1 squeeze and two
 * expansions (1x1 and 3x3) joined along channels. 1.1 starts with a smaller kernel and pools earlier. */
#include "net.h"

enum { FIRES = 8 };

/* The `squeeze` channels of each fire; its output has 8 times as many, half from each expansion. */
static const int squeeze[FIRES] = {16, 16, 32, 32, 48, 48, 64, 64};

static tw_value conv_relu(tw_net *net, tw_value x, const char *name, tw_conv2d_desc desc)
{
    desc.name = tw_net_name(net, "%s", name);
    desc.bias = true;
    x = tw_graph_conv2d(net->graph, x, &desc);
    return tw_graph_relu(net->graph, x, tw_net_name(net, "%s_activation", name));
}

static tw_value fire(tw_net *net, tw_value x, int width)
{
    x = conv_relu(net, x, "squeeze", (tw_conv2d_desc){.out_channels = width, .kernel = {1}});
    tw_value both[2] = {
        conv_relu(net, x, "expand1x1", (tw_conv2d_desc){.out_channels = 4 * width, .kernel = {1}}),
        conv_relu(net, x, "expand3x3",
                  (tw_conv2d_desc){.out_channels = 4 * width, .kernel = {3}, .padding = {1, 1, 1, 1}}),
    };
    return tw_graph_concat(net->graph, both, 2, tw_net_name(net, "concat"));
}

static tw_value pool(tw_net *net, tw_value x, int index)
{
    tw_net_enter(net, "features.");
    return tw_graph_pool(
        net->graph, x,
        &(tw_pool_desc){.name = tw_net_name(net, "%d", index), .kernel = {3}, .stride = {2}, .ceil_mode = true});
}

tw_value tw_zoo_squeezenet(tw_net *net, tw_value x)
{
    bool old = net->variant == 10;
    /* Bit i: a pool stands before fire i. */
    unsigned pools = old ? 1u << 0 | 1u << 3 | 1u << 7 : 1u << 0 | 1u << 2 | 1u << 4;
    tw_graph *g = net->graph;
    int index = 2;
    x = tw_graph_conv2d(
        g, x,
        &(tw_conv2d_desc){
            .name = "features.0", .out_channels = old ? 96 : 64, .kernel = {old ? 7 : 3}, .stride = {2}, .bias = true});
    x = tw_graph_relu(g, x, "features.1");
    for (int i = 0; i < FIRES; i++) {
        if (pools >> i & 1) x = pool(net, x, index++);
        tw_net_enter(net, "features.%d.", index++);
        x = fire(net, x, squeeze[i]);
    }
    x = tw_graph_dropout(g, x, 0.5f, "classifier.0");
    x = tw_graph_conv2d(
        g, x, &(tw_conv2d_desc){.name = "classifier.1", .out_channels = net->classes, .kernel = {1}, .bias = true});
    x = tw_graph_relu(g, x, "classifier.2");
    x = tw_graph_pool(g, x,
                      &(tw_pool_desc){.name = "classifier.3", .kind = TW_POOL_ADAPTIVE_AVERAGE, .output = {1, 1}});
    return tw_graph_flatten(g, x, "flatten");
}

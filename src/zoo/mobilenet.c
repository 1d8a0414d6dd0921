/* MobileNetV2 (Sandler et al. 2018), width 1, as torchvision has it: inverted residuals, that is a 1x1 expansion, a
 * 3x3 depthwise convolution, and a 1x1 projection without activation. */
#include "net.h"

#include <stddef.h>

typedef struct stage {
    int expand, channels, blocks, stride;
} stage;

/* NAME.0 convolution, NAME.1 batch normalisation, NAME.2 relu6 */
static tw_value conv_bn_relu6(tw_net *net, tw_value x, const char *name, tw_conv2d_desc desc)
{
    tw_graph *g = net->graph;
    int p = desc.kernel[0] / 2;
    for (int i = 0; i < 4; i++) desc.padding[i] = p;
    desc.name = tw_net_name(net, "%s.0", name);
    x = tw_graph_conv2d(g, x, &desc);
    x = tw_graph_batchnorm(g, x, 1e-5f, tw_net_name(net, "%s.1", name));
    return tw_graph_clip(g, x, 0, 6, tw_net_name(net, "%s.2", name));
}

/* `in` channels to s->channels; the residual goes around where the shape stays. */
static tw_value inverted_residual(tw_net *net, tw_value x, const stage *s, int in, int stride)
{
    tw_graph *g = net->graph;
    int hidden = in * s->expand, part = 0;
    tw_value y = x;
    if (s->expand != 1) {
        y = conv_bn_relu6(net, y, "conv.0", (tw_conv2d_desc){.out_channels = hidden, .kernel = {1}});
        part = 1;
    }
    y = conv_bn_relu6(net, y, part ? "conv.1" : "conv.0",
                      (tw_conv2d_desc){.out_channels = hidden, .kernel = {3}, .stride = {stride}, .groups = hidden});
    y = tw_graph_conv2d(
        g, y,
        &(tw_conv2d_desc){.name = tw_net_name(net, "conv.%d", part + 1), .out_channels = s->channels, .kernel = {1}});
    y = tw_graph_batchnorm(g, y, 1e-5f, tw_net_name(net, "conv.%d", part + 2));
    return stride == 1 && in == s->channels ? tw_graph_add(g, x, y, tw_net_name(net, "add")) : y;
}

tw_value tw_zoo_mobilenet_v2(tw_net *net, tw_value x)
{
    static const stage stages[] = {
        {1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1},
    };
    tw_graph *g = net->graph;
    int index = 0, channels = 32;
    tw_net_enter(net, "features.");
    x = conv_bn_relu6(net, x, "0", (tw_conv2d_desc){.out_channels = channels, .kernel = {3}, .stride = {2}});
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        for (int j = 0; j < stages[i].blocks; j++) {
            tw_net_enter(net, "features.%d.", ++index);
            x = inverted_residual(net, x, &stages[i], channels, j == 0 ? stages[i].stride : 1);
            channels = stages[i].channels;
        }
    tw_net_enter(net, "features.");
    x = conv_bn_relu6(net, x, "18", (tw_conv2d_desc){.out_channels = 1280, .kernel = {1}});
    x = tw_graph_pool(g, x, &(tw_pool_desc){.name = "avgpool", .kind = TW_POOL_ADAPTIVE_AVERAGE, .output = {1, 1}});
    x = tw_graph_flatten(g, x, "flatten");
    x = tw_graph_dropout(g, x, 0.2f, "classifier.0");
    return tw_graph_linear(g, x, &(tw_linear_desc){"classifier.1", net->classes, true});
}

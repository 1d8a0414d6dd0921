/* AlexNet as torchvision has it: the single-tower form of Krizhevsky 2014, "One weird trick for parallelizing
 * convolutional neural networks", without local response normalisation. */
#include "net.h"

#include <stddef.h>

typedef struct layer {
    int channels, kernel, stride, padding;
    bool pool; /* 3x3, stride 2, behind it */
} layer;

tw_value tw_zoo_alexnet(tw_net *net, tw_value x)
{
    static const layer layers[] = {
        {64, 11, 4, 2, true}, {192, 5, 1, 2, true}, {384, 3, 1, 1, false}, {256, 3, 1, 1, false}, {256, 3, 1, 1, true},
    };
    tw_graph *g = net->graph;
    int index = 0;
    tw_net_enter(net, "features.");
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        const layer *l = &layers[i];
        int p = l->padding;
        x = tw_graph_conv2d(g, x,
                            &(tw_conv2d_desc){.name = tw_net_name(net, "%d", index++),
                                              .out_channels = l->channels,
                                              .kernel = {l->kernel},
                                              .stride = {l->stride},
                                              .padding = {p, p, p, p},
                                              .bias = true});
        x = tw_graph_relu(g, x, tw_net_name(net, "%d", index++));
        if (l->pool)
            x = tw_graph_pool(g, x,
                              &(tw_pool_desc){.name = tw_net_name(net, "%d", index++), .kernel = {3}, .stride = {2}});
    }
    x = tw_graph_pool(g, x, &(tw_pool_desc){.name = "avgpool", .kind = TW_POOL_ADAPTIVE_AVERAGE, .output = {6, 6}});
    x = tw_graph_flatten(g, x, "flatten");
    x = tw_graph_dropout(g, x, 0.5f, "classifier.0");
    x = tw_graph_linear(g, x, &(tw_linear_desc){"classifier.1", 4096, true});
    x = tw_graph_relu(g, x, "classifier.2");
    x = tw_graph_dropout(g, x, 0.5f, "classifier.3");
    x = tw_graph_linear(g, x, &(tw_linear_desc){"classifier.4", 4096, true});
    x = tw_graph_relu(g, x, "classifier.5");
    return tw_graph_linear(g, x, &(tw_linear_desc){"classifier.6", net->classes, true});
}

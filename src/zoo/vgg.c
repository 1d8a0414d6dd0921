/* VGG (Simonyan and Zisserman 2014, configurations A, B, D and E), with batch normalisation on request, as in
 * torchvision. Groups of 3x3 convolutions, each closed by a 2x2 maximum; the groups differ in depth alone.
 * vgg_cifar is the same idea for images of 32x32: three groups of two, and no pool before the classifier. */
#include "net.h"

enum { GROUPS = 5, CIFAR_GROUPS = 3 };

typedef struct group {
    int depth, channels;
} group;

static const int *group_depths(int layers)
{
    static const int a[GROUPS] = {1, 1, 2, 2, 2}, b[GROUPS] = {2, 2, 2, 2, 2}, d[GROUPS] = {2, 2, 3, 3, 3},
                     e[GROUPS] = {2, 2, 4, 4, 4};
    switch (layers) {
    case 11: return a;
    case 13: return b;
    case 16: return d;
    default: return e;
    }
}

/* Adds one group; `index` counts the layers of features. */
static tw_value add_group(tw_net *net, tw_value x, group this, bool batchnorm, int *index)
{
    tw_graph *g = net->graph;
    for (int i = 0; i < this.depth; i++) {
        x = tw_graph_conv2d(g, x,
                            &(tw_conv2d_desc){.name = tw_net_name(net, "%d", (*index)++),
                                              .out_channels = this.channels,
                                              .kernel = {3},
                                              .padding = {1, 1, 1, 1},
                                              .bias = true});
        if (batchnorm) x = tw_graph_batchnorm(g, x, 1e-5f, tw_net_name(net, "%d", (*index)++));
        x = tw_graph_relu(g, x, tw_net_name(net, "%d", (*index)++));
    }
    return tw_graph_pool(g, x, &(tw_pool_desc){.name = tw_net_name(net, "%d", (*index)++), .kernel = {2}});
}

static tw_value classifier(tw_net *net, tw_value x)
{
    tw_graph *g = net->graph;
    x = tw_graph_flatten(g, x, "flatten");
    x = tw_graph_linear(g, x, &(tw_linear_desc){"classifier.0", 4096, true});
    x = tw_graph_relu(g, x, "classifier.1");
    x = tw_graph_dropout(g, x, 0.5f, "classifier.2");
    x = tw_graph_linear(g, x, &(tw_linear_desc){"classifier.3", 4096, true});
    x = tw_graph_relu(g, x, "classifier.4");
    x = tw_graph_dropout(g, x, 0.5f, "classifier.5");
    return tw_graph_linear(g, x, &(tw_linear_desc){"classifier.6", net->classes, true});
}

static tw_value build(tw_net *net, tw_value x, bool batchnorm)
{
    static const int channels[GROUPS] = {64, 128, 256, 512, 512};
    const int *depths = group_depths(net->variant);
    int index = 0;
    tw_net_enter(net, "features.");
    for (int i = 0; i < GROUPS; i++) x = add_group(net, x, (group){depths[i], channels[i]}, batchnorm, &index);
    x = tw_graph_pool(net->graph, x,
                      &(tw_pool_desc){.name = "avgpool", .kind = TW_POOL_ADAPTIVE_AVERAGE, .output = {7, 7}});
    return classifier(net, x);
}

tw_value tw_zoo_vgg(tw_net *net, tw_value x)
{
    return build(net, x, false);
}

tw_value tw_zoo_vgg_bn(tw_net *net, tw_value x)
{
    return build(net, x, true);
}

tw_value tw_zoo_vgg_cifar(tw_net *net, tw_value x)
{
    static const group groups[CIFAR_GROUPS] = {{2, 128}, {2, 256}, {2, 512}};
    int index = 0;
    tw_net_enter(net, "features.");
    for (int i = 0; i < CIFAR_GROUPS; i++) x = add_group(net, x, groups[i], false, &index);
    return classifier(net, x);
}

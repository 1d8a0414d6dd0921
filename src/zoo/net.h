/* What the zoo's families share: a graph under construction and the names of its layers.
 *
 * A family is one file with one build function over the public graph API. Layers are called as the modules of the
 * original are, so that a table of layers reads like the model and published weights bind without a map. A value that
 * comes from a module called twice (ResNet's relu) takes _2 and _3 at the second and third call. */
#ifndef TW_ZOO_NET_H
#define TW_ZOO_NET_H

#include "tilewise.h"

typedef struct tw_net {
    tw_graph *graph;
    int classes;
    int variant;     /* which member of the family; its meaning is the family's own */
    char module[64]; /* the path of the module being built, with its dot: "layer1.0." */
    char name[128];
} tw_net;

/* Sets the module whose layers follow; "" is the top. */
__attribute__((format(printf, 2, 3))) void tw_net_enter(tw_net *net, const char *module, ...);
/* The module's path and the layer's name behind it. Valid until the next call: the graph copies names. */
__attribute__((format(printf, 2, 3))) const char *tw_net_name(tw_net *net, const char *layer, ...);

/* Each adds its layers behind x and gives the logits. The graph remembers the first failure. */
tw_value tw_zoo_lenet5(tw_net *net, tw_value x);
tw_value tw_zoo_alexnet(tw_net *net, tw_value x);
tw_value tw_zoo_vgg(tw_net *net, tw_value x);    /* variant: layers with weights */
tw_value tw_zoo_vgg_bn(tw_net *net, tw_value x); /* likewise */
tw_value tw_zoo_vgg_cifar(tw_net *net, tw_value x);
tw_value tw_zoo_resnet(tw_net *net, tw_value x); /* variant: layers with weights */
tw_value tw_zoo_mobilenet_v2(tw_net *net, tw_value x);
tw_value tw_zoo_squeezenet(tw_net *net, tw_value x);        /* variant: 10 or 11, the version */
tw_value tw_zoo_efficientnet_lite(tw_net *net, tw_value x); /* variant: 0 to 4 */

#endif

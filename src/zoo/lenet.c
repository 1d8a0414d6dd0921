/* LeNet-5 in the form that most frameworks teach (after LeCun et al. 1998, "Gradient-based learning applied to
 * document recognition"): ReLU for tanh, maximum for trained subsampling, every map of conv2 sees all of pool1. */
#include "net.h"

static tw_value conv_block(tw_net *net, tw_value x, int number, int channels)
{
    tw_graph *g = net->graph;
    x = tw_graph_conv2d(
        g, x,
        &(tw_conv2d_desc){
            .name = tw_net_name(net, "conv%d", number), .out_channels = channels, .kernel = {5}, .bias = true});
    x = tw_graph_relu(g, x, tw_net_name(net, "relu%d", number));
    return tw_graph_pool(g, x, &(tw_pool_desc){.name = tw_net_name(net, "pool%d", number), .kernel = {2}});
}

tw_value tw_zoo_lenet5(tw_net *net, tw_value x)
{
    tw_graph *g = net->graph;
    x = conv_block(net, x, 1, 6);
    x = conv_block(net, x, 2, 16);
    x = tw_graph_flatten(g, x, "flatten");
    x = tw_graph_linear(g, x, &(tw_linear_desc){"fc1", 120, true});
    x = tw_graph_relu(g, x, "relu3");
    x = tw_graph_linear(g, x, &(tw_linear_desc){"fc2", 84, true});
    x = tw_graph_relu(g, x, "relu4");
    return tw_graph_linear(g, x, &(tw_linear_desc){"fc3", net->classes, true});
}

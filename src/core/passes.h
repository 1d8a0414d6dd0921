/* Rewrites of a plan's private copy of a graph. Each leaves a graph that computes the same outputs. */
#ifndef TW_CORE_PASSES_H
#define TW_CORE_PASSES_H

#include "core/graph.h"

/* Dropout is the identity in inference. */
tw_status tw_pass_drop_dropout(tw_graph *graph, tw_error *error);
/* conv2d or linear, then batchnorm: the scale goes into the weights when they are packed (tw_node.folded). */
tw_status tw_pass_fold_batchnorm(tw_graph *graph, tw_error *error);
/* relu and clip(0, 6) into the conv2d, linear or add before them; add into the later of the convolutions before it. */
tw_status tw_pass_fuse_epilogues(tw_graph *graph, tw_error *error);
/* Drops nodes that no output needs. */
void tw_pass_drop_dead(tw_graph *graph);

#endif

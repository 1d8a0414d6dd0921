/* The graph behind tilewise.h's handles. */
#ifndef TW_CORE_GRAPH_H
#define TW_CORE_GRAPH_H

#include "core/names.h"
#include "core/op.h"
#include "core/weights.h"

typedef enum tw_value_kind { TW_VALUE_INPUT, TW_VALUE_PARAMETER, TW_VALUE_RESULT } tw_value_kind;

typedef struct tw_graph_value {
    char *name;
    char *alias; /* parameters: another name in files, or null */
    tw_value_kind kind;
    tw_shape shape;
    int producer;      /* results: the node */
    const float *data; /* parameters: once bound or initialised; 4-byte aligned */
    float *owned;      /* the same, where the graph allocated it */
    bool statistic;    /* a running mean or variance: not trained */
} tw_graph_value;

typedef struct tw_node {
    const tw_op *op;
    char *name;
    void *params;
    int in[TW_MAX_OPERANDS]; /* values; -1 where absent */
    int n_in;
    int out;
    float dropout; /* of a reshape that stands for dropout: the probability, for a training pass */

    /* Set by the pass that folds batch normalisation: the values of weight, bias, mean and variance, to be applied to
     * this node's weights when they are packed. */
    bool folded;
    int fold[4];
    float fold_epsilon;
} tw_node;

struct tw_graph {
    char *name;
    tw_graph_value *values;
    int n_values, values_capacity;
    tw_names names; /* of the values */
    tw_node *nodes; /* in topological order */
    int n_nodes, nodes_capacity;
    int *inputs, *outputs, *parameters;
    int n_inputs, n_outputs, n_parameters;
    tw_weights **weights; /* kept alive */
    int n_weights;
    tw_graph *origin; /* of a copy: keeps the parameters' data alive */
    int copies;       /* atomic: living ones, which read the parameters' data */
    tw_error first_error;
    int references; /* atomic */
};

void tw_graph_retain(tw_graph *graph);
/* A private copy for a plan's passes, its shapes inferred again for a batch. */
tw_status tw_graph_copy(tw_graph *graph, int batch, tw_graph **copy, tw_error *error);
/* Allocates the data of the index-th parameter, to be filled by the caller. */
tw_status tw_graph_own_parameter(tw_graph *graph, size_t index, float **data, tw_error *error);
/* "64x3x7x7" */
void tw_shape_print(const tw_shape *shape, char *text, size_t size);

#endif

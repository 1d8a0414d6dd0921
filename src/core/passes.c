#include "core/passes.h"
#include "core/status.h"
#include "ops/activation/activation.h"
#include "ops/add/add.h"
#include "ops/batchnorm/batchnorm.h"
#include "ops/conv2d/conv2d.h"
#include "ops/linear/linear.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_op(const tw_node *node, const char *name)
{
    return strcmp(node->op->name, name) == 0;
}

/* How often each value is read, outputs included. */
static int *count_readers(const tw_graph *graph)
{
    int *readers = calloc((size_t)graph->n_values + 1, sizeof *readers);
    if (!readers) return NULL;
    for (int i = 0; i < graph->n_nodes; i++)
        for (int j = 0; j < graph->nodes[i].n_in; j++)
            if (graph->nodes[i].in[j] >= 0) readers[graph->nodes[i].in[j]]++;
    for (int i = 0; i < graph->n_outputs; i++) readers[graph->outputs[i]]++;
    return readers;
}

static void free_node(tw_node *node)
{
    free(node->name);
    free(node->params);
    node->op = NULL;
}

/* Closes the gaps that free_node() left and points producers at the new places. */
static void compact(tw_graph *graph)
{
    int count = 0;
    for (int i = 0; i < graph->n_nodes; i++) {
        if (!graph->nodes[i].op) continue;
        graph->nodes[count] = graph->nodes[i];
        graph->values[graph->nodes[count].out].producer = count;
        count++;
    }
    graph->n_nodes = count;
}

static void replace_value(tw_graph *graph, int from, int to)
{
    for (int i = 0; i < graph->n_nodes; i++)
        for (int j = 0; graph->nodes[i].op && j < graph->nodes[i].n_in; j++)
            if (graph->nodes[i].in[j] == from) graph->nodes[i].in[j] = to;
    for (int i = 0; i < graph->n_outputs; i++)
        if (graph->outputs[i] == from) graph->outputs[i] = to;
}

tw_status tw_pass_drop_dropout(tw_graph *graph, tw_error *error)
{
    (void)error;
    for (int i = 0; i < graph->n_nodes; i++) {
        tw_node *node = &graph->nodes[i];
        if (node->dropout <= 0) continue;
        int in = node->in[0], out = node->out;
        free_node(node);
        replace_value(graph, out, in);
    }
    compact(graph);
    return TW_OK;
}

/* The node that computes `value` and may take what follows into itself: the only reader is the next one. */
static tw_node *sole_producer(tw_graph *graph, int value, const int *readers)
{
    int producer = graph->values[value].producer;
    if (graph->values[value].kind != TW_VALUE_RESULT || readers[value] != 1) return NULL;
    return graph->nodes[producer].op ? &graph->nodes[producer] : NULL;
}

/* `into` computes what `node` did, and `node` is gone. */
static void absorb(tw_graph *graph, tw_node *into, tw_node *node)
{
    into->out = node->out;
    graph->values[into->out].producer = (int)(into - graph->nodes);
    free_node(node);
}

static int *activation_of(tw_node *node)
{
    if (is_op(node, "conv2d")) return &((tw_conv2d *)node->params)->activation;
    if (is_op(node, "linear")) return &((tw_linear *)node->params)->activation;
    if (is_op(node, "add")) return &((tw_add *)node->params)->activation;
    return NULL;
}

tw_status tw_pass_fold_batchnorm(tw_graph *graph, tw_error *error)
{
    int *readers = count_readers(graph);
    if (!readers) return tw_no_memory(error, (size_t)graph->n_values, "folding batch normalisation");
    for (int i = 0; i < graph->n_nodes; i++) {
        tw_node *norm = &graph->nodes[i];
        if (!is_op(norm, "batchnorm")) continue;
        tw_node *into = sole_producer(graph, norm->in[0], readers);
        if (!into || into->folded || (!is_op(into, "conv2d") && !is_op(into, "linear"))) continue;
        if (*activation_of(into) != TW_ACT_NONE) continue;
        into->folded = true;
        memcpy(into->fold, norm->in + 1, sizeof into->fold);
        into->fold_epsilon = ((tw_batchnorm *)norm->params)->epsilon;
        if (is_op(into, "conv2d"))
            ((tw_conv2d *)into->params)->has_bias = 1;
        else
            ((tw_linear *)into->params)->has_bias = 1;
        absorb(graph, into, norm);
    }
    compact(graph);
    free(readers);
    return TW_OK;
}

/* The activation that a relu or clip node stands for, or TW_ACT_NONE where an epilogue cannot do it. */
static int epilogue_activation(const tw_node *node)
{
    if (!is_op(node, "relu") && !is_op(node, "clip")) return TW_ACT_NONE;
    const tw_clip *p = node->params;
    if (p->low != 0) return TW_ACT_NONE;
    return p->high == 6 ? TW_ACT_RELU6 : isinf(p->high) ? TW_ACT_RELU : TW_ACT_NONE;
}

static void fuse_activation(tw_graph *graph, tw_node *node, const int *readers)
{
    int activation = epilogue_activation(node);
    if (activation == TW_ACT_NONE) return;
    tw_node *into = sole_producer(graph, node->in[0], readers);
    int *slot = into ? activation_of(into) : NULL;
    if (!slot || *slot != TW_ACT_NONE) return;
    *slot = activation;
    absorb(graph, into, node);
}

/* y = add(conv(x), other): the convolution must come after what computes `other`. */
static void fuse_add(tw_graph *graph, tw_node *node, const int *readers)
{
    if (!is_op(node, "add") || node->in[0] == node->in[1]) return;
    int a = graph->values[node->in[0]].producer, b = graph->values[node->in[1]].producer;
    int main_operand = a > b ? 0 : 1;
    int other = node->in[1 - main_operand];
    tw_node *into = sole_producer(graph, node->in[main_operand], readers);
    if (!into || !is_op(into, "conv2d")) return;
    tw_conv2d *p = into->params;
    if (p->activation != TW_ACT_NONE || p->has_residual) return;
    p->has_residual = 1;
    p->activation = ((tw_add *)node->params)->activation;
    into->in[3] = other;
    absorb(graph, into, node);
}

tw_status tw_pass_fuse_epilogues(tw_graph *graph, tw_error *error)
{
    int *readers = count_readers(graph);
    if (!readers) return tw_no_memory(error, (size_t)graph->n_values, "fusing epilogues");
    for (int i = 0; i < graph->n_nodes; i++) {
        if (!graph->nodes[i].op) continue;
        if (is_op(&graph->nodes[i], "add"))
            fuse_add(graph, &graph->nodes[i], readers);
        else
            fuse_activation(graph, &graph->nodes[i], readers);
    }
    compact(graph);
    free(readers);
    return TW_OK;
}

void tw_pass_drop_dead(tw_graph *graph)
{
    int *readers = count_readers(graph);
    if (!readers) return; /* dead nodes cost time, not correctness */
    for (int i = graph->n_nodes - 1; i >= 0; i--) {
        tw_node *node = &graph->nodes[i];
        if (readers[node->out]) continue;
        for (int j = 0; j < node->n_in; j++)
            if (node->in[j] >= 0) readers[node->in[j]]--;
        free_node(node);
    }
    compact(graph);
    free(readers);
}

/* Reading an ONNX graph, node by node, into a Tilewise graph: what the importer's files share.
 *
 * Every ONNX value becomes one of three things. A constant is a tensor of numbers that the file holds or that follows
 * from such. Numbers are integers that shape arithmetic computes; each is constant + batches * N, N being the batch. An
 * activation is a value of the graph: it has the ONNX shape here, and in the graph a shape of rank 2 or 4 with the same
 * elements in the same order, so that reshaping costs nothing and an operator asks for the view it needs.
 *
 * The first reading takes dimension 0 of every activation as the batch; its size stands as 1 in `shape`. Where that
 * fails and the file fixes all sizes, a second reading treats dimension 0 as any other and all of the model is one
 * image. In both, the product of an activation's `shape` is its elements in one image. */
#ifndef TW_ONNX_IMPORT_H
#define TW_ONNX_IMPORT_H

#include "core/names.h"
#include "core/weights.h"
#include "onnx/model.h"

typedef enum tw_onnx_kind {
    TW_ONNX_UNSET,   /* not computed yet */
    TW_ONNX_UNKNOWN, /* the result of a node that was refused, or of one that reads such */
    TW_ONNX_CONSTANT,
    TW_ONNX_NUMBERS,
    TW_ONNX_ACTIVATION
} tw_onnx_kind;

typedef struct tw_onnx_number {
    int64_t constant, batches;
} tw_onnx_number;

/* A transposition not yet done: the elements are those of a tensor of `dims`, transposed by `perm`, whatever shape
 * they were given afterwards. */
typedef struct tw_onnx_order {
    int rank; /* 0: none */
    int64_t dims[TW_MAX_RANK];
    int perm[TW_MAX_RANK];
} tw_onnx_order;

typedef struct tw_onnx_value {
    const char *name;
    int producer;        /* the node; -1: an input or an initialiser; -2: nothing */
    int readers, reader; /* live nodes and outputs that read it, and the last such node, or -1 */
    bool live;
    tw_onnx_kind kind;
    tw_shape shape;
    tw_tensor constant;
    const char *initializer; /* the tensor's name in the file, while it is as the file has it */
    const tw_onnx_number *numbers;
    tw_value value;
    bool has_bias; /* a product whose linear node has taken in the addition that follows */
    tw_onnx_order order;
    int pad[4]; /* zeros not yet added, included in `shape`: top, left, bottom, right */
} tw_onnx_value;

typedef struct tw_onnx_refusal {
    const char *what; /* "Resize", "Pad with mode reflect" */
    const char *node;
} tw_onnx_refusal;

typedef struct tw_onnx_block tw_onnx_block;

/* What the weights keep alive: the mapped model and the importer's own memory. */
typedef struct tw_onnx_owner {
    tw_onnx_model *model;
    tw_onnx_block *blocks;
} tw_onnx_owner;

typedef struct tw_onnx_import {
    tw_onnx_owner *owner;
    const Onnx__GraphProto *proto;
    tw_graph *graph;
    int opset;
    bool batched;        /* dimension 0 is the batch */
    bool fixed;          /* the file gives every size of every input */
    int64_t fixed_batch; /* what the file says of dimension 0; 0: nothing */
    tw_names values_by_name, used_names;
    tw_onnx_value *values;
    int n_values;
    bool *live; /* [nodes] */
    tw_named_tensor *tensors;
    size_t n_tensors, tensors_capacity;
    tw_onnx_refusal *refusals;
    size_t n_refusals, refusals_capacity;
    tw_error error;
} tw_onnx_import;

/* A node at work. The first failure sets `status`: TW_UNAVAILABLE where the node is refused and listed with the others,
 * anything else ends the import. Functions that fail return null, false or a negative value. */
typedef struct tw_onnx_node {
    tw_onnx_import *import;
    const Onnx__NodeProto *proto;
    int index;
    tw_status status;
    const char *name; /* in the graph, once given */
    int helpers;      /* names given besides */
} tw_onnx_node;

typedef void (*tw_onnx_handler)(tw_onnx_node *n);
/* Null where the operator has none. */
tw_onnx_handler tw_onnx_find_handler(const char *op_type);

/* ---- import_walk.c ---- */

/* All nodes that the outputs need, in the file's order. */
tw_status tw_onnx_walk(tw_onnx_import *import);

/* ---- import_values.c ---- */

tw_status tw_onnx_owner_create(const char *path, size_t limit, tw_onnx_owner **owner, tw_error *error);
void tw_onnx_owner_release(void *owner);
/* Memory that lives as long as the owner, zeroed; null: the import's error says so. */
void *tw_onnx_alloc(tw_onnx_import *import, size_t count, size_t size);

/* "MaxPool with ceil_mode": the format gives what follows the operator's name; null: the operator itself. */
__attribute__((format(printf, 2, 3))) void tw_onnx_refuse(tw_onnx_node *n, const char *format, ...);
__attribute__((format(printf, 2, 3))) void tw_onnx_invalid(tw_onnx_node *n, const char *format, ...);
/* Takes over the import's error. */
void tw_onnx_fatal(tw_onnx_node *n);

/* The node's own name, or its first output's; made unique. */
const char *tw_onnx_name(tw_onnx_node *n);
/* For what a node needs besides its own: "NAME/reshape". */
const char *tw_onnx_helper_name(tw_onnx_node *n, const char *what);

int tw_onnx_inputs(const tw_onnx_node *n);
/* Null where the input is absent. */
tw_onnx_value *tw_onnx_input(tw_onnx_node *n, int index);
/* The same, and invalid where it is absent. */
tw_onnx_value *tw_onnx_need(tw_onnx_node *n, int index);
/* An activation with nothing left undone. */
tw_onnx_value *tw_onnx_activation(tw_onnx_node *n, int index);
tw_onnx_value *tw_onnx_constant(tw_onnx_node *n, int index);
bool tw_onnx_output_used(const tw_onnx_node *n, int index);
bool tw_onnx_is_activation(tw_onnx_node *n, int index);

void tw_onnx_set_activation(tw_onnx_node *n, tw_value value, const tw_shape *shape);
void tw_onnx_set_constant(tw_onnx_node *n, const tw_tensor *tensor, const char *initializer);
void tw_onnx_set_numbers(tw_onnx_node *n, const tw_onnx_number *numbers, const tw_shape *shape);
/* Output 0 is what `value` is, under another ONNX shape (null: its own). */
void tw_onnx_set_same(tw_onnx_node *n, const tw_onnx_value *value, const tw_shape *shape);

/* Adds the zeros that a Pad left undone, if any. */
void tw_onnx_add_padding(tw_onnx_node *n, tw_onnx_value *value);
/* The value under a graph shape of as many elements. */
tw_value tw_onnx_view(tw_onnx_node *n, const tw_onnx_value *value, const tw_shape *shape);
/* The graph's shape for an ONNX shape: [1][features] or [1][channels][height][width]. */
tw_shape tw_onnx_graph_shape(const tw_shape *shape);

/* Gives a parameter of the graph node `name` its data; `initializer` (may be null) becomes its alias. */
void tw_onnx_parameter(tw_onnx_node *n, const char *name, const char *part, const tw_tensor *view,
                       const char *initializer);

/* Elements of an image; shapes have been checked when they were made. */
int64_t tw_onnx_elements(const tw_shape *shape);
int64_t tw_onnx_product(const tw_shape *shape, int from, int to);
/* An axis of a tensor, negative from the end: false and invalid where it is out of range. */
bool tw_onnx_axis(tw_onnx_node *n, int64_t axis, int rank, int *out);
/* A checked size: at least `least`, at most what an int holds with room to add. */
bool tw_onnx_size(tw_onnx_node *n, const char *what, int64_t value, int least, int *out);

/* ---- import_attributes.c: null or the default where the node lacks the attribute; wrong types are invalid ---- */

int64_t tw_onnx_int(tw_onnx_node *n, const char *name, int64_t otherwise);
float tw_onnx_float(tw_onnx_node *n, const char *name, float otherwise);
bool tw_onnx_string(tw_onnx_node *n, const char *name, const char *otherwise, char text[32]);
/* The count, or -1 where absent. */
int tw_onnx_ints(tw_onnx_node *n, const char *name, int64_t *values, int capacity);
const Onnx__AttributeProto *tw_onnx_attribute(const tw_onnx_node *n, const char *name);
/* An attribute up to opset `last`, later the input at `index`. */
int tw_onnx_axes(tw_onnx_node *n, int last, int index, int64_t axes[TW_MAX_RANK]);

/* ---- import_constants.c ---- */

/* The numbers as float32, in the importer's memory; null where they are none or memory ends. */
float *tw_onnx_floats(tw_onnx_node *n, const tw_tensor *tensor);
/* Are they float32, float16, bfloat16 or float64? */
bool tw_onnx_is_real(tw_dtype dtype);
/* A float32 tensor of new memory. */
bool tw_onnx_new_floats(tw_onnx_node *n, const tw_shape *shape, tw_tensor *tensor);
/* A tensor that a parameter can be: float64 becomes float32. */
bool tw_onnx_as_weight(tw_onnx_node *n, const tw_onnx_value *value, tw_tensor *view);
/* A transposed copy of a constant. */
bool tw_onnx_transpose_copy(tw_onnx_node *n, const tw_onnx_value *value, const int *perm, tw_tensor *to);
/* The offset of every element of a transposed tensor in the untransposed one. */
int64_t *tw_onnx_transposed_offsets(tw_onnx_node *n, const int64_t *dims, const int *perm, int rank);
/* Broadcasts a constant to `shape`, whose elements it writes to new memory. */
float *tw_onnx_broadcast(tw_onnx_node *n, const tw_tensor *tensor, const tw_shape *shape);

/* ---- import_numbers.c ---- */

/* The integers of a constant or of shape arithmetic; null and refused or invalid otherwise. */
const tw_onnx_number *tw_onnx_numbers(tw_onnx_node *n, const tw_onnx_value *value, int *count);
/* Integers that do not depend on the batch. The count, or -1. */
int tw_onnx_integers(tw_onnx_node *n, int input, int64_t *values, int capacity);
/* Output 0 has the elements of a constant or of numbers at these offsets (null: nothing is done). */
void tw_onnx_select(tw_onnx_node *n, const tw_onnx_value *x, const int64_t *offsets, const tw_shape *shape);
/* Element-wise arithmetic of two constants; op is '+', '-', '*' or '/'. */
void tw_onnx_fold_binary(tw_onnx_node *n, char op);
void tw_onnx_fold_concat(tw_onnx_node *n);

#endif

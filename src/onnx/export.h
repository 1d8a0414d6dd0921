/* What the parts of the ONNX writer share: names, and the GraphProto in the making.
 *
 * The fields of a protobuf message may come in any order and be put one behind the other. So nodes, inputs, outputs and
 * small constants are packed one by one into one block of bytes; parameters, which are nearly all of a file, never
 * enter it and go from where they lie to the disk. */
#ifndef TW_ONNX_EXPORT_H
#define TW_ONNX_EXPORT_H

#include "onnx.pb-c.h"
#include "onnx/export_names.h"

typedef struct tw_export {
    const tw_graph *graph;
    tw_export_names names;
    uint8_t *data; /* fields of the GraphProto, but for parameters */
    size_t bytes, capacity;
} tw_export;

/* Numbers of the fields in onnx.proto. */
enum {
    TW_MODEL_GRAPH = 7,
    TW_GRAPH_NODE = 1,
    TW_GRAPH_NAME = 2,
    TW_GRAPH_INITIALIZER = 5,
    TW_GRAPH_INPUT = 11,
    TW_GRAPH_OUTPUT = 12,
    TW_TENSOR_RAW_DATA = 9
};

/* Appends a message as a field of the GraphProto. */
tw_status tw_export_append(tw_export *to, int field, const ProtobufCMessage *message, tw_error *error);

/* Appends the node, what stands for it in ONNX, and the constants that this needs. TW_UNAVAILABLE where ONNX cannot say
 * what the node means. */
tw_status tw_export_node(tw_export *to, const tw_node *node, tw_error *error);

#endif

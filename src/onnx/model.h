/* An ONNX model as read from its file: small parts unpacked by protobuf-c, tensor data left where it lies.
 *
 * protobuf-c alone is not safe on files from outside: a few thousand nested messages overflow its stack, and it copies
 * every byte of every tensor. So wire.c first walks the wire format (protobuf.dev/programming-guides/encoding) without
 * recursion deeper than 64, checks lengths and counts, and writes a slim copy of the message in which the data of each
 * large tensor is replaced by its place in the file; protobuf-c unpacks the slim copy. */
#ifndef TW_ONNX_MODEL_H
#define TW_ONNX_MODEL_H

#include "core/status.h"
#include "onnx.pb-c.h"
#include "tilewise.h"

typedef struct tw_onnx_model tw_onnx_model;

/* Maps the file, and opens the external data files it names as they are asked for. `limit`: bytes that may be allocated
 * in all. */
tw_status tw_onnx_model_open(const char *path, size_t limit, tw_onnx_model **model, tw_error *error);
void tw_onnx_model_retain(tw_onnx_model *model);
void tw_onnx_model_release(tw_onnx_model *model);
/* The message, whose tensors' data is reached through tw_onnx_model_tensor() only; lives as long as the model. The
 * graph, its nodes and their names are never null (missing strings are ""). */
const Onnx__ModelProto *tw_onnx_model_proto(const tw_onnx_model *model);
/* Counts bytes that somebody else allocates for numbers computed from the model's, before they are: they must stay
 * within the limit and in proportion to the files, so that a short file cannot ask for much time either. */
tw_status tw_onnx_model_charge(tw_onnx_model *model, size_t bytes, tw_error *error);

/* The numbers of a tensor of the message: raw, typed or external, whichever it has. Checked: the element type is known,
 * dimensions are not negative, and the data has just the bytes that they ask for. The view's data is in the mapped file
 * or in memory of the model, float on 4 bytes (others maybe unaligned: copy numbers out with memcpy); it lives as long
 * as the model. Rank 0 is a scalar. Types: float, float16, bfloat16, double, int8/16/32/64, uint8, bool. */
tw_status tw_onnx_model_tensor(tw_onnx_model *model, const Onnx__TensorProto *proto, tw_tensor *view, tw_error *error);

#endif

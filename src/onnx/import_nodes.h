/* The functions of all ONNX operators, by family. The table is in import_nodes.c. */
#ifndef TW_ONNX_IMPORT_NODES_H
#define TW_ONNX_IMPORT_NODES_H

#include "onnx/import.h"

/* import_windows.c */
void tw_onnx_conv(tw_onnx_node *n);
void tw_onnx_max_pool(tw_onnx_node *n);
void tw_onnx_average_pool(tw_onnx_node *n);
void tw_onnx_global_average_pool(tw_onnx_node *n);
void tw_onnx_global_max_pool(tw_onnx_node *n);
void tw_onnx_reduce_mean(tw_onnx_node *n);
void tw_onnx_reduce_max(tw_onnx_node *n);
void tw_onnx_pad(tw_onnx_node *n);

/* import_linear.c */
void tw_onnx_gemm(tw_onnx_node *n);
void tw_onnx_matmul(tw_onnx_node *n);

/* import_elements.c */
void tw_onnx_relu(tw_onnx_node *n);
void tw_onnx_clip(tw_onnx_node *n);
void tw_onnx_add(tw_onnx_node *n);
/* Output 0 is x plus a constant that broadcasts to x's shape. */
void tw_onnx_add_constant(tw_onnx_node *n, tw_onnx_value *x, const tw_onnx_value *constant);
void tw_onnx_sub(tw_onnx_node *n);
void tw_onnx_mul(tw_onnx_node *n);
void tw_onnx_div(tw_onnx_node *n);
void tw_onnx_sum(tw_onnx_node *n);
void tw_onnx_batch_normalization(tw_onnx_node *n);
void tw_onnx_lrn(tw_onnx_node *n);
void tw_onnx_softmax(tw_onnx_node *n);
void tw_onnx_concat(tw_onnx_node *n);
void tw_onnx_dropout(tw_onnx_node *n);
void tw_onnx_identity(tw_onnx_node *n);
void tw_onnx_cast(tw_onnx_node *n);

/* import_shapes.c */
void tw_onnx_reshape(tw_onnx_node *n);
void tw_onnx_flatten(tw_onnx_node *n);
void tw_onnx_squeeze(tw_onnx_node *n);
void tw_onnx_unsqueeze(tw_onnx_node *n);
void tw_onnx_transpose(tw_onnx_node *n);
void tw_onnx_shape(tw_onnx_node *n);
void tw_onnx_gather(tw_onnx_node *n);
void tw_onnx_slice(tw_onnx_node *n);
void tw_onnx_constant_node(tw_onnx_node *n);
void tw_onnx_constant_of_shape(tw_onnx_node *n);

#endif

/* Which function reads which ONNX operator. */
#include "onnx/import_nodes.h"

#include <string.h>

static const struct {
    const char *op_type;
    tw_onnx_handler handler;
} operators[] = {
    {"Add", tw_onnx_add},
    {"AveragePool", tw_onnx_average_pool},
    {"BatchNormalization", tw_onnx_batch_normalization},
    {"Cast", tw_onnx_cast},
    {"Clip", tw_onnx_clip},
    {"Concat", tw_onnx_concat},
    {"Constant", tw_onnx_constant_node},
    {"ConstantOfShape", tw_onnx_constant_of_shape},
    {"Conv", tw_onnx_conv},
    {"Div", tw_onnx_div},
    {"Dropout", tw_onnx_dropout},
    {"Flatten", tw_onnx_flatten},
    {"Gather", tw_onnx_gather},
    {"Gemm", tw_onnx_gemm},
    {"GlobalAveragePool", tw_onnx_global_average_pool},
    {"GlobalMaxPool", tw_onnx_global_max_pool},
    {"Identity", tw_onnx_identity},
    {"LRN", tw_onnx_lrn},
    {"MatMul", tw_onnx_matmul},
    {"MaxPool", tw_onnx_max_pool},
    {"Mul", tw_onnx_mul},
    {"Pad", tw_onnx_pad},
    {"ReduceMax", tw_onnx_reduce_max},
    {"ReduceMean", tw_onnx_reduce_mean},
    {"Relu", tw_onnx_relu},
    {"Reshape", tw_onnx_reshape},
    {"Shape", tw_onnx_shape},
    {"Slice", tw_onnx_slice},
    {"Softmax", tw_onnx_softmax},
    {"Squeeze", tw_onnx_squeeze},
    {"Sub", tw_onnx_sub},
    {"Sum", tw_onnx_sum},
    {"Transpose", tw_onnx_transpose},
    {"Unsqueeze", tw_onnx_unsqueeze},
};

tw_onnx_handler tw_onnx_find_handler(const char *op_type)
{
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++)
        if (strcmp(operators[i].op_type, op_type) == 0) return operators[i].handler;
    return NULL;
}

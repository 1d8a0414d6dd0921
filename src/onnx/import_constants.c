/* Constants that are real numbers: widened, transposed and broadcast. Weights that an operator can use as the file has
 * them stay views of it. */
#include "core/half.h"
#include "onnx/import.h"

#include <string.h>

bool tw_onnx_is_real(tw_dtype dtype)
{
    return dtype == TW_F32 || dtype == TW_F16 || dtype == TW_BF16 || dtype == TW_F64;
}

bool tw_onnx_new_floats(tw_onnx_node *n, const tw_shape *shape, tw_tensor *tensor)
{
    size_t count;
    if (n->status != TW_OK) return false;
    *tensor = (tw_tensor){TW_F32, *shape, NULL};
    if (tw_shape_count(shape, TW_F32, &count, &n->import->error) == TW_OK)
        tensor->data = tw_onnx_alloc(n->import, count, sizeof(float));
    if (!tensor->data) tw_onnx_fatal(n);
    return tensor->data != NULL;
}

static float element(const tw_tensor *tensor, size_t i)
{
    const char *at = (const char *)tensor->data + i * tw_dtype_bytes(tensor->dtype);
    uint16_t half;
    float single;
    double wide;
    switch (tensor->dtype) {
    case TW_F64: memcpy(&wide, at, sizeof wide); return (float)wide;
    case TW_F16: memcpy(&half, at, sizeof half); return tw_widen_half(half);
    case TW_BF16: {
        uint32_t bits;
        memcpy(&half, at, sizeof half);
        bits = (uint32_t)half << 16;
        memcpy(&single, &bits, sizeof single);
        return single;
    }
    default: memcpy(&single, at, sizeof single); return single;
    }
}

float *tw_onnx_floats(tw_onnx_node *n, const tw_tensor *tensor)
{
    size_t count;
    if (n->status != TW_OK) return NULL;
    if (!tw_onnx_is_real(tensor->dtype)) {
        tw_onnx_refuse(n, "of %s", tw_dtype_name(tensor->dtype));
        return NULL;
    }
    float *values = NULL;
    if (tw_shape_count(&tensor->shape, TW_F32, &count, &n->import->error) == TW_OK)
        values = tw_onnx_alloc(n->import, count, sizeof *values);
    if (!values) {
        tw_onnx_fatal(n);
        return NULL;
    }
    if (tensor->dtype == TW_F32)
        memcpy(values, tensor->data, count * sizeof *values);
    else
        for (size_t i = 0; i < count; i++) values[i] = element(tensor, i);
    return values;
}

bool tw_onnx_as_weight(tw_onnx_node *n, const tw_onnx_value *value, tw_tensor *view)
{
    if (n->status != TW_OK) return false;
    *view = value->constant;
    if (view->dtype == TW_F32 || view->dtype == TW_F16 || view->dtype == TW_BF16) return true;
    view->data = tw_onnx_floats(n, &value->constant);
    view->dtype = TW_F32;
    return view->data != NULL;
}

int64_t *tw_onnx_transposed_offsets(tw_onnx_node *n, const int64_t *dims, const int *perm, int rank)
{
    int64_t strides[TW_MAX_RANK], index[TW_MAX_RANK] = {0}, count = 1;
    for (int i = rank - 1; i >= 0; i--) {
        strides[i] = count;
        count *= dims[i];
    }
    int64_t *offsets = tw_onnx_alloc(n->import, (size_t)count, sizeof *offsets);
    if (!offsets) {
        tw_onnx_fatal(n);
        return NULL;
    }
    int64_t offset = 0;
    for (int64_t i = 0; i < count; i++) {
        offsets[i] = offset;
        for (int axis = rank - 1; axis >= 0; axis--) {
            offset += strides[perm[axis]];
            if (++index[axis] < dims[perm[axis]]) break;
            offset -= strides[perm[axis]] * dims[perm[axis]];
            index[axis] = 0;
        }
    }
    return offsets;
}

/* Matrices by tiles, so that neither side misses the cache at every element. */
static void transpose_matrix(const char *from, char *to, const int64_t dims[2], size_t size)
{
    enum { TILE = 32 };
    for (int64_t i0 = 0; i0 < dims[0]; i0 += TILE)
        for (int64_t j0 = 0; j0 < dims[1]; j0 += TILE)
            for (int64_t i = i0; i < i0 + TILE && i < dims[0]; i++)
                for (int64_t j = j0; j < j0 + TILE && j < dims[1]; j++)
                    if (size == sizeof(float))
                        memcpy(to + (size_t)(j * dims[0] + i) * 4, from + (size_t)(i * dims[1] + j) * 4, 4);
                    else
                        memcpy(to + (size_t)(j * dims[0] + i) * size, from + (size_t)(i * dims[1] + j) * size, size);
}

bool tw_onnx_transpose_copy(tw_onnx_node *n, const tw_onnx_value *value, const int *perm, tw_tensor *to)
{
    if (n->status != TW_OK) return false;
    const tw_tensor *from = &value->constant;
    *to = (tw_tensor){from->dtype, {.rank = from->shape.rank}, NULL};
    for (int i = 0; i < from->shape.rank; i++) to->shape.dims[i] = from->shape.dims[perm[i]];
    size_t count = (size_t)tw_onnx_elements(&from->shape), size = tw_dtype_bytes(from->dtype);
    to->data = tw_onnx_alloc(n->import, count, size);
    if (!to->data) {
        tw_onnx_fatal(n);
        return false;
    }
    if (count == 0) return true; /* however large the other dimension is */
    if (to->shape.rank == 2 && perm[0] == 1) {
        transpose_matrix(from->data, to->data, from->shape.dims, size);
        return true;
    }
    const int64_t *offsets = tw_onnx_transposed_offsets(n, from->shape.dims, perm, to->shape.rank);
    for (size_t i = 0; offsets && i < count; i++)
        memcpy((char *)to->data + i * size, (const char *)from->data + (size_t)offsets[i] * size, size);
    return offsets != NULL;
}

float *tw_onnx_broadcast(tw_onnx_node *n, const tw_tensor *tensor, const tw_shape *shape)
{
    const float *from = tw_onnx_floats(n, tensor);
    tw_tensor to;
    if (!from || !tw_onnx_new_floats(n, shape, &to)) return NULL;
    int64_t strides[TW_MAX_RANK] = {0}, index[TW_MAX_RANK] = {0}, count = 1, at = 0;
    int shift = shape->rank - tensor->shape.rank;
    for (int i = tensor->shape.rank - 1; i >= 0; i--) {
        int64_t size = tensor->shape.dims[i], wanted = i + shift >= 0 ? shape->dims[i + shift] : 1;
        if (size != 1 && size != wanted) {
            tw_onnx_invalid(n, "a constant of %lld elements in dimension %d does not broadcast to %lld",
                            (long long)size, i, (long long)wanted);
            return NULL;
        }
        if (size != 1) strides[i + shift] = count;
        count *= size;
    }
    int64_t all = tw_onnx_elements(shape);
    for (int64_t i = 0; i < all; i++) {
        ((float *)to.data)[i] = from[at];
        for (int axis = shape->rank - 1; axis >= 0; axis--) {
            at += strides[axis];
            if (++index[axis] < shape->dims[axis]) break;
            at -= strides[axis] * shape->dims[axis];
            index[axis] = 0;
        }
    }
    return to.data;
}

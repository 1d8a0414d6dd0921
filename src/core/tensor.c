#include "core/status.h"

#include <stdlib.h>

size_t tw_dtype_bytes(tw_dtype dtype)
{
    switch (dtype) {
    case TW_F64:
    case TW_I64: return 8;
    case TW_F32:
    case TW_TF32:
    case TW_I32: return 4;
    case TW_F16:
    case TW_BF16:
    case TW_I16: return 2;
    case TW_I8:
    case TW_U8:
    case TW_BOOL: return 1;
    case TW_ABSENT: break;
    }
    return 0;
}

const char *tw_dtype_name(tw_dtype dtype)
{
    static const char *const names[] = {
        [TW_ABSENT] = "absent", [TW_F32] = "float32", [TW_TF32] = "tf32", [TW_F16] = "float16",
        [TW_BF16] = "bfloat16", [TW_F64] = "float64", [TW_I8] = "int8",   [TW_U8] = "uint8",
        [TW_I16] = "int16",     [TW_I32] = "int32",   [TW_I64] = "int64", [TW_BOOL] = "bool",
    };
    return (size_t)dtype < sizeof names / sizeof *names ? names[dtype] : "unknown";
}

tw_status tw_shape_count(const tw_shape *shape, tw_dtype dtype, size_t *count, tw_error *error)
{
    if (shape->rank < 0 || shape->rank > TW_MAX_RANK)
        return tw_fail(error, TW_INVALID, "a tensor has 0 to %d dimensions, not %d", TW_MAX_RANK, shape->rank);
    size_t product = 1, bytes;
    bool empty = false;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dims[i] < 0)
            return tw_fail(error, TW_INVALID, "dimension %d is negative: %lld", i, (long long)shape->dims[i]);
        if (shape->dims[i] == 0) {
            empty = true;
            continue; /* the others are checked all the same */
        }
        if (!tw_checked_mul(product, (size_t)shape->dims[i], &product))
            return tw_fail(error, TW_INVALID, "the product of %d dimensions overflows", shape->rank);
    }
    if (!tw_checked_mul(product, tw_dtype_bytes(dtype), &bytes) || bytes > SIZE_MAX / 2)
        return tw_fail(error, TW_INVALID, "a tensor of %zu elements is too large", product);
    *count = empty ? 0 : product;
    return TW_OK;
}

tw_status tw_tensor_create(tw_dtype dtype, const tw_shape *shape, tw_tensor *tensor, tw_error *error)
{
    size_t count;
    tw_shape wanted = *shape; /* which may be the tensor's own */
    *tensor = (tw_tensor){0};
    tw_status status = tw_shape_count(&wanted, dtype, &count, error);
    if (status != TW_OK) return status;
    size_t bytes = count * tw_dtype_bytes(dtype);
    void *data = tw_alloc_zero(bytes);
    if (!data) return tw_no_memory(error, bytes, "a tensor");
    *tensor = (tw_tensor){dtype, wanted, data};
    return TW_OK;
}

void tw_tensor_free(tw_tensor *tensor)
{
    if (!tensor) return;
    free(tensor->data);
    *tensor = (tw_tensor){0};
}

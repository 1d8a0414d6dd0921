/* The protobuf wire format, walked before protobuf-c may see it (protobuf.dev/programming-guides/encoding). */
#ifndef TW_ONNX_WIRE_H
#define TW_ONNX_WIRE_H

#include "core/status.h"
#include "onnx.pb-c.h"

/* Where the numbers of a tensor lie in the file. In the slim copy this stands in TensorProto.raw_data, whatever field
 * the numbers were in; since every raw_data is rewritten, a file cannot bring one of its own. */
typedef struct tw_onnx_place {
    uint64_t offset, bytes;
    uint32_t field; /* 9: raw_data; 4, 5, 7, 10, 11: float, int32, int64, double, uint64_data, packed */
    uint32_t zero;
} tw_onnx_place;

enum { TW_ONNX_MAX_DEPTH = 64, TW_ONNX_MAX_MESSAGES = 1 << 20 };

/* Checks a serialised message from end to end and writes its slim copy, to be freed: fields that the descriptor does not
 * know are left out, tensors' numbers replaced by their places. `limit`: bytes of the copy. */
tw_status tw_onnx_slim(const uint8_t *data, size_t bytes, size_t limit, uint8_t **slim, size_t *slim_bytes,
                       tw_error *error);

/* A base-128 varint at *at, below `end`; false where it is cut off or longer than 64 bits. */
bool tw_onnx_varint(const uint8_t **at, const uint8_t *end, uint64_t *value);

#endif

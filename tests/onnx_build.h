/* Small ONNX models made in memory, for the tests that damage them. */
#ifndef TESTS_ONNX_BUILD_H
#define TESTS_ONNX_BUILD_H

#include "onnx.pb-c.h"

#include <stdint.h>

/* Serialised models, each of another kind: a convolutional network with shape arithmetic, a residual one with concat
 * and constant arithmetic, a small one with every way of storing tensors, and one whose tensors lie in ONNX_OUTSIDE,
 * a file of ONNX_OUTSIDE_BYTES beside it. */
enum { ONNX_MODELS = 4 };
#define ONNX_OUTSIDE "weights.bin"
enum { ONNX_OUTSIDE_BYTES = (108 + 640) * 4 };
extern const char *const onnx_model_names[ONNX_MODELS];
/* To be freed. */
uint8_t *onnx_build(int which, size_t *bytes);

/* Models that ask for much in few bytes. */
typedef enum onnx_greed {
    ONNX_FOLDING,
    ONNX_LONG_SUM,
    ONNX_NOTHING_MANY_TIMES,
    ONNX_SUM_OF_20,
    ONNX_GREEDS
} onnx_greed;
Onnx__ModelProto *onnx_build_greedy(onnx_greed which);

/* Unpacked into memory that onnx_reset() takes back at once, so that a message may be changed freely. */
Onnx__ModelProto *onnx_unpack(const uint8_t *data, size_t bytes);
void *onnx_alloc(size_t bytes);
char *onnx_text(const char *text);
void onnx_reset(void);

void onnx_write(const char *path, const void *data, size_t bytes);
void onnx_write_message(const char *path, const Onnx__ModelProto *model);

#endif

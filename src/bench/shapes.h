/* Problems as text: "conv2d:mb1ic64ih56oc64oh56kh3ph1n\"name\"", and benchdnn's shape files, which hold many. */
#ifndef TW_BENCH_SHAPES_H
#define TW_BENCH_SHAPES_H

#include "core/op.h"

typedef struct tw_shape_line {
    char *text; /* the descriptor, without the operator */
    char *name; /* what stood in n"..."; null where there is none */
    int line;
} tw_shape_line;
typedef struct tw_shape_file {
    tw_shape_line *items;
    size_t count, capacity;
} tw_shape_file;

/* Blank lines and # comments are skipped; a line may hold several descriptors. Option lines of benchdnn's batch files
 * are refused: a file of shapes has none. */
tw_status tw_shape_file_read(const char *path, tw_shape_file *file, tw_error *error);
void tw_shape_file_free(tw_shape_file *file);

/* A copy of the name in a descriptor; *name is null where there is none. */
tw_status tw_descriptor_name(const char *text, char **name, tw_error *error);
/* A copy of the descriptor with another batch: "mb1ic3..." or "1x64x56x56". */
tw_status tw_descriptor_with_batch(const char *text, int batch, char **changed, tw_error *error);

#endif

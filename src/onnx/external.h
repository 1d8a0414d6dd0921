/* Files beside a model that hold its tensors' data. */
#ifndef TW_ONNX_EXTERNAL_H
#define TW_ONNX_EXTERNAL_H

#include "formats/file.h"

typedef struct tw_onnx_external tw_onnx_external; /* an opened file; they form a list */
struct tw_onnx_external {
    char *path;
    tw_mapping file;
    tw_onnx_external *next;
};

/* Maps `location`, a path relative to the folder of `model`, unless the list has it. It must stay inside that folder,
 * symbolic links resolved. */
tw_status tw_onnx_external_open(tw_onnx_external **list, const char *model, const char *location, tw_mapping *file,
                                tw_error *error);
void tw_onnx_external_close(tw_onnx_external *list);

#endif

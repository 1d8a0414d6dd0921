/* Files beside a model that hold its tensors' data. */
#ifndef TW_ONNX_EXTERNAL_H
#define TW_ONNX_EXTERNAL_H

#include "core/names.h"
#include "formats/file.h"

typedef struct tw_onnx_external_file {
    char *path; /* real: symbolic links resolved */
    tw_mapping mapping;
} tw_onnx_external_file;

/* Zeroed: none. */
typedef struct tw_onnx_external {
    char *folder; /* the model's, real; null: not asked for yet */
    tw_onnx_external_file *files;
    size_t count, capacity, bytes; /* bytes: of all files */
    tw_names by_location, by_path; /* indices into files */
} tw_onnx_external;

/* Maps `location`, a path relative to the folder of `model`, once. It must stay inside that folder, symbolic links
 * resolved. The location's text must live until the files are closed. */
tw_status tw_onnx_external_open(tw_onnx_external *external, const char *model, const char *location, tw_mapping *file,
                                tw_error *error);
void tw_onnx_external_close(tw_onnx_external *external);

#endif

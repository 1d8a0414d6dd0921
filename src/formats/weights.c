/* Which format a file of weights has, by its content. */
#include "formats/weights_formats.h"

#include <string.h>

/* A zip archive, or a pickle of protocol 2 or later. */
static bool is_pytorch(const tw_mapping *file)
{
    return file->bytes >= 4 && (memcmp(file->data, "PK\3\4", 4) == 0 || (file->data[0] == 0x80 && file->data[1] <= 5));
}

/* The length of a JSON header, then the header. */
static bool is_safetensors(const tw_mapping *file)
{
    return file->bytes >= 9 && file->data[8] == '{';
}

tw_status tw_weights_open(const char *path, tw_weights **weights, tw_error *error)
{
    tw_mapping file;
    *weights = NULL;
    tw_status status = tw_file_map(path, &file, error);
    if (status != TW_OK) return status;
    /* Safetensors first: the length of its header may begin with a pickle's bytes, which never go on like a header. */
    if (is_safetensors(&file))
        status = tw_safetensors_open(path, &file, weights, error);
    else if (is_pytorch(&file))
        status = tw_pytorch_open(path, &file, weights, error);
    else
        status = tw_fail(error, TW_INVALID, "%s: %s, expected safetensors or a PyTorch state_dict", path,
                         file.bytes ? "not a file of weights" : "empty");
    if (status != TW_OK) tw_file_unmap(&file);
    return status;
}

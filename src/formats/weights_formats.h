/* The weight formats behind tw_weights_open(). Each takes the mapped file over on success only. */
#ifndef TW_FORMATS_WEIGHTS_FORMATS_H
#define TW_FORMATS_WEIGHTS_FORMATS_H

#include "core/weights.h"
#include "formats/file.h"

tw_status tw_safetensors_open(const char *path, const tw_mapping *file, tw_weights **weights, tw_error *error);
tw_status tw_pytorch_open(const char *path, const tw_mapping *file, tw_weights **weights, tw_error *error);

#endif

/* A tuning's file: see tuning.c. */
#ifndef TW_FORMATS_TUNING_H
#define TW_FORMATS_TUNING_H

#include "core/tuning.h"

/* The file's name for a device and a precision in a folder (null: the default one), which need not exist. The caller
 * frees it. */
tw_status tw_tuning_path(const char *folder, const tw_device *device, tw_precision precision, char **path,
                         tw_error *error);
/* Replaces the file, through a temporary name; its folders are made where they are missing. */
tw_status tw_tuning_write(const char *path, const tw_tuning *tuning, const tw_device *device, tw_precision precision,
                          tw_error *error);
/* Can it be written? Known before anything is measured. */
tw_status tw_tuning_check(const char *path, tw_error *error);

#endif

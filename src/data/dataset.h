/* What all data sets are inside: labels, names, and either pixels in memory or paths of image files. Never changes
 * once open, so any number of threads may read it. */
#ifndef TW_DATA_DATASET_H
#define TW_DATA_DATASET_H

#include "data/gunzip.h"

#define TW_DATASET_MAX_FILES 5 /* CIFAR-10's five of training images */

/* A run of images in one file: image i of it begins at pixels + i * stride. */
typedef struct tw_dataset_file {
    char *path;
    tw_mapping mapping;
    const uint8_t *pixels;
    size_t images;
} tw_dataset_file;

struct tw_dataset {
    atomic_int owners; /* the caller and the loaders */
    tw_dataset_info info;
    char **class_names; /* [classes]; null: the format knows none */
    int *labels;        /* [images]; null: none */
    char **paths;       /* [images]; null: pixels are in memory */

    /* uint8 [channels][height][width] each */
    tw_dataset_file files[TW_DATASET_MAX_FILES];
    int n_files;
    size_t stride;
    tw_gunzip *gunzip; /* inflates the only file's pixels to `inflated`; null: they are in the mapped file */
    uint8_t *inflated;
};

/* Each fills an empty data set from the folder, or for IDX from an images file; what an error leaves is released by the
 * caller. `found` tells whether the folder holds that format at all. */
bool tw_idx_found(const char *path);
tw_status tw_idx_open(const char *path, const tw_dataset_desc *desc, tw_dataset *dataset, tw_error *error);
bool tw_cifar_found(const char *path);
tw_status tw_cifar_open(const char *path, const tw_dataset_desc *desc, tw_dataset *dataset, tw_error *error);
tw_status tw_folder_open(const char *path, const tw_dataset_desc *desc, tw_dataset *dataset, tw_error *error);

/* A data set of image files without labels, for one loader. */
tw_status tw_dataset_of_files(const char *const *paths, size_t count, tw_dataset **dataset, tw_error *error);

tw_dataset *tw_dataset_share(tw_dataset *dataset);

/* The stored pixels of an image, once they are there: see tw_gunzip_wait(). */
tw_status tw_dataset_pixels(tw_dataset *dataset, size_t index, const atomic_bool *stop, const uint8_t **pixels,
                            tw_error *error);

#endif

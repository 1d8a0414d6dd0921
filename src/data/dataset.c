/* Opening a data set by what is there, and what is the same for all of them. */
#include "data/dataset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static tw_status open_any(const char *path, const tw_dataset_desc *desc, tw_dataset *dataset, tw_error *error)
{
    struct stat info;
    if (stat(path, &info) != 0) return tw_fail(error, TW_INVALID, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode) || tw_idx_found(path)) return tw_idx_open(path, desc, dataset, error);
    if (tw_cifar_found(path)) return tw_cifar_open(path, desc, dataset, error);
    return tw_folder_open(path, desc, dataset, error);
}

static tw_dataset *create_empty(void)
{
    tw_dataset *dataset = calloc(1, sizeof *dataset);
    if (dataset) atomic_init(&dataset->owners, 1);
    return dataset;
}

tw_status tw_dataset_open(const char *path, const tw_dataset_desc *desc, tw_dataset **dataset, tw_error *error)
{
    *dataset = NULL;
    tw_dataset *made = create_empty();
    if (!made) return tw_no_memory(error, sizeof *made, path);
    tw_status status = open_any(path, desc ? desc : &(tw_dataset_desc){0}, made, error);
    if (status == TW_OK)
        *dataset = made;
    else
        tw_dataset_release(made);
    return status;
}

tw_status tw_dataset_of_files(const char *const *paths, size_t count, tw_dataset **dataset, tw_error *error)
{
    *dataset = NULL;
    tw_dataset *made = create_empty();
    if (!made || !(made->paths = calloc(count ? count : 1, sizeof *made->paths))) {
        free(made);
        return tw_no_memory(error, count * sizeof *made->paths, "file names");
    }
    made->info = (tw_dataset_info){.format = "files", .images = count, .whole = true};
    for (size_t i = 0; i < count; i++)
        if (!(made->paths[i] = tw_strdup(paths[i]))) {
            tw_dataset_release(made);
            return tw_no_memory(error, strlen(paths[i]), "file names");
        }
    *dataset = made;
    return TW_OK;
}

tw_dataset *tw_dataset_share(tw_dataset *dataset)
{
    atomic_fetch_add(&dataset->owners, 1);
    return dataset;
}

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; texts && i < count; i++) free(texts[i]);
    free(texts);
}

void tw_dataset_release(tw_dataset *dataset)
{
    if (!dataset || atomic_fetch_sub(&dataset->owners, 1) != 1) return;
    tw_gunzip_destroy(dataset->gunzip); /* first: it uses the mapping */
    free(dataset->inflated);
    for (int i = 0; i < dataset->n_files; i++) {
        tw_file_unmap(&dataset->files[i].mapping);
        free(dataset->files[i].path);
    }
    free_texts(dataset->class_names, dataset->info.classes);
    free_texts(dataset->paths, dataset->info.images);
    free(dataset->labels);
    free(dataset);
}

void tw_dataset_describe(const tw_dataset *dataset, tw_dataset_info *info)
{
    *info = dataset->info;
}

const char *tw_dataset_class_name(const tw_dataset *dataset, size_t index)
{
    return dataset->class_names && index < dataset->info.classes ? dataset->class_names[index] : NULL;
}

int tw_dataset_label(const tw_dataset *dataset, size_t index)
{
    return dataset->labels && index < dataset->info.images ? dataset->labels[index] : -1;
}

/* The file that image *index is in; makes it the index in that file. */
static const tw_dataset_file *file_of(const tw_dataset *dataset, size_t *index)
{
    const tw_dataset_file *file = dataset->files;
    for (; *index >= file->images; file++) *index -= file->images;
    return file;
}

void tw_dataset_image_name(const tw_dataset *dataset, size_t index, char *name, size_t size)
{
    if (size == 0) return;
    *name = 0;
    if (index >= dataset->info.images) return;
    if (dataset->paths) {
        snprintf(name, size, "%s", dataset->paths[index]);
    } else {
        const tw_dataset_file *file = file_of(dataset, &index);
        snprintf(name, size, "%s#%zu", file->path, index);
    }
}

tw_status tw_dataset_pixels(tw_dataset *dataset, size_t index, const atomic_bool *stop, const uint8_t **pixels,
                            tw_error *error)
{
    const tw_dataset_file *file = file_of(dataset, &index);
    *pixels = file->pixels + index * dataset->stride;
    return dataset->gunzip ? tw_gunzip_wait(dataset->gunzip, (index + 1) * dataset->stride, stop, error) : TW_OK;
}

/* CIFAR-10 and CIFAR-100, binary version (Krizhevsky 2009): records of one label byte (two in CIFAR-100: coarse, fine)
 * and 3072 pixel bytes, uint8 [3][32][32], used where the files are mapped. Class names are lines of a text file, which
 * may be missing. */
#include "data/dataset.h"

#include <stdlib.h>
#include <string.h>

enum { SIDE = 32, PIXELS = 3 * SIDE * SIDE };

typedef struct layout {
    const char *format;
    const char *files[2][TW_DATASET_MAX_FILES]; /* by tw_split */
    const char *names;
    size_t label_bytes, classes;
} layout;

static const layout layouts[] = {
    {.format = "cifar10",
     .files = {[TW_SPLIT_TEST] = {"test_batch.bin"},
               [TW_SPLIT_TRAIN] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                                   "data_batch_5.bin"}},
     .names = "batches.meta.txt",
     .label_bytes = 1,
     .classes = 10},
    {.format = "cifar100",
     .files = {[TW_SPLIT_TEST] = {"test.bin"}, [TW_SPLIT_TRAIN] = {"train.bin"}},
     .names = "fine_label_names.txt",
     .label_bytes = 2,
     .classes = 100},
};

static const layout *find_layout(const char *path)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++)
        if (tw_file_exists(path, layouts[i].files[TW_SPLIT_TEST][0]) ||
            tw_file_exists(path, layouts[i].files[TW_SPLIT_TRAIN][0]))
            return &layouts[i];
    return NULL;
}

bool tw_cifar_found(const char *path)
{
    return find_layout(path);
}

static tw_status map_file(const char *folder, const char *name, const layout *l, tw_dataset *dataset, tw_error *error)
{
    tw_dataset_file *file = &dataset->files[dataset->n_files++];
    file->path = tw_path_join(folder, name);
    if (!file->path) return tw_no_memory(error, strlen(folder), "a file name");
    tw_status status = tw_file_map(file->path, &file->mapping, error);
    if (status != TW_OK) return status;
    size_t record = l->label_bytes + PIXELS;
    if (file->mapping.bytes == 0 || file->mapping.bytes % record != 0)
        return tw_fail(error, TW_INVALID, "%s: %zu bytes are not whole records of %zu", file->path, file->mapping.bytes,
                       record);
    file->images = file->mapping.bytes / record;
    file->pixels = file->mapping.data + l->label_bytes;
    dataset->info.images += file->images;
    return TW_OK;
}

/* The class is the last label byte. */
static tw_status read_labels(const layout *l, tw_dataset *dataset, tw_error *error)
{
    size_t bytes = dataset->info.images * sizeof *dataset->labels, at = 0;
    dataset->labels = tw_alloc(bytes);
    if (!dataset->labels) return tw_no_memory(error, bytes, "labels");
    for (int f = 0; f < dataset->n_files; f++) {
        const tw_dataset_file *file = &dataset->files[f];
        for (size_t i = 0; i < file->images; i++) {
            int label = file->pixels[i * dataset->stride - 1];
            if ((size_t)label >= l->classes)
                return tw_fail(error, TW_INVALID, "%s: image %zu has label %d; %s has %zu classes", file->path, i,
                               label, l->format, l->classes);
            dataset->labels[at++] = label;
        }
    }
    return TW_OK;
}

/* One name a line; empty lines are passed over. */
static tw_status parse_names(const tw_mapping *text, const char *path, tw_dataset *dataset, tw_error *error)
{
    size_t classes = dataset->info.classes, count = 0;
    const char *at = (const char *)text->data, *end = at + text->bytes;
    dataset->class_names = calloc(classes, sizeof *dataset->class_names);
    if (!dataset->class_names) return tw_no_memory(error, classes * sizeof *dataset->class_names, path);
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline ? newline : end;
        size_t length = (size_t)(stop - at);
        if (length > 0 && at[length - 1] == '\r') length--;
        if (length > 0 && count < classes && !(dataset->class_names[count] = strndup(at, length)))
            return tw_no_memory(error, length, path);
        count += length > 0;
        at = stop + 1;
    }
    if (count == classes) return TW_OK;
    return tw_fail(error, TW_INVALID, "%s: %zu class names, expected %zu", path, count, classes);
}

static tw_status read_names(const char *folder, const layout *l, tw_dataset *dataset, tw_error *error)
{
    if (!tw_file_exists(folder, l->names)) return TW_OK;
    char *path = tw_path_join(folder, l->names);
    if (!path) return tw_no_memory(error, strlen(folder), "a file name");
    tw_mapping text;
    tw_status status = tw_file_map(path, &text, error);
    if (status == TW_OK) status = parse_names(&text, path, dataset, error);
    tw_file_unmap(&text);
    free(path);
    return status;
}

tw_status tw_cifar_open(const char *path, const tw_dataset_desc *desc, tw_dataset *dataset, tw_error *error)
{
    const layout *l = find_layout(path);
    dataset->info =
        (tw_dataset_info){.format = l->format, .classes = l->classes, .channels = 3, .height = SIDE, .width = SIDE};
    dataset->stride = l->label_bytes + PIXELS;
    tw_status status = TW_OK;
    for (int i = 0; i < TW_DATASET_MAX_FILES && l->files[desc->split][i] && status == TW_OK; i++)
        status = map_file(path, l->files[desc->split][i], l, dataset, error);
    if (status == TW_OK) status = read_labels(l, dataset, error);
    if (status == TW_OK) status = read_names(path, l, dataset, error);
    return status;
}

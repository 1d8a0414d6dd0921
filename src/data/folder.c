/* A folder of images, one subfolder a class, in the order of torchvision's ImageFolder: classes by name, compared byte
 * by byte; within one, all files below it, by their folder's path, then by their own name. JPEG and PNG files count,
 * by their ending; other pictures are counted as left out. A class may be empty, so that a part of a data set keeps the
 * numbers of its classes. */
#include "data/dataset.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define MAX_DEPTH 64

/* Paths, which grow. */
typedef struct list {
    char **items;
    size_t count, capacity;
} list;

static void free_list(list *l)
{
    for (size_t i = 0; i < l->count; i++) free(l->items[i]);
    free(l->items);
    *l = (list){0};
}

/* Takes the text, which may be null for want of memory. */
static tw_status push(list *l, char *text, tw_error *error)
{
    if (text && l->count == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 64;
        char **grown = realloc(l->items, capacity * sizeof *grown);
        if (!grown) {
            free(text);
            text = NULL;
        } else {
            l->items = grown;
            l->capacity = capacity;
        }
    }
    if (!text) return tw_no_memory(error, l->capacity * sizeof *l->items, "file names");
    l->items[l->count++] = text;
    return TW_OK;
}

static const char *const jpeg_and_png[] = {".jpg", ".jpeg", ".png", NULL};
static const char *const other_pictures[] = {".gif",  ".bmp",  ".webp", ".tif", ".tiff", ".heic",
                                             ".heif", ".avif", ".jxl",  ".ppm", ".pgm",  NULL};

static bool ends_in(const char *name, const char *const *endings)
{
    size_t length = strlen(name);
    for (; *endings; endings++) {
        size_t ending = strlen(*endings);
        if (length >= ending && strcasecmp(name + length - ending, *endings) == 0) return true;
    }
    return false;
}

/* Most file systems tell what an entry is; a link, or one of which they don't, costs a look. */
static bool is_folder(const char *path, const struct dirent *entry)
{
    struct stat info;
    if (entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN) return entry->d_type == DT_DIR;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

typedef struct contents {
    list folders, images; /* paths */
    size_t pictures;      /* that are no images to us */
    size_t others;
} contents;

static void free_contents(contents *c)
{
    free_list(&c->folders);
    free_list(&c->images);
}

static tw_status read_folder(const char *path, contents *found, tw_error *error)
{
    DIR *folder = opendir(path);
    if (!folder) return tw_fail(error, TW_INVALID, "%s: %s", path, strerror(errno));
    tw_status status = TW_OK;
    for (struct dirent *entry; status == TW_OK && (entry = readdir(folder));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        char *child = tw_path_join(path, entry->d_name);
        if (child && is_folder(child, entry)) {
            status = push(&found->folders, child, error);
        } else if (!child || ends_in(entry->d_name, jpeg_and_png)) {
            status = push(&found->images, child, error);
        } else {
            if (ends_in(entry->d_name, other_pictures))
                found->pictures++;
            else
                found->others++;
            free(child);
        }
    }
    closedir(folder);
    return status;
}

/* A folder and those it lies in: a link back to one of them is not followed. */
typedef struct level {
    const struct level *above;
    dev_t device;
    ino_t inode;
    int depth;
} level;

static bool is_loop(const level *l)
{
    for (const level *a = l->above; a; a = a->above)
        if (a->device == l->device && a->inode == l->inode) return true;
    return false;
}

/* All images below a folder, in no order, and the number of other pictures. */
static tw_status collect(const char *path, const level *above, contents *all, tw_error *error)
{
    struct stat info;
    if (stat(path, &info) != 0) return tw_fail(error, TW_INVALID, "%s: %s", path, strerror(errno));
    level here = {.above = above, .device = info.st_dev, .inode = info.st_ino, .depth = above ? above->depth + 1 : 1};
    if (is_loop(&here)) return TW_OK;
    if (here.depth > MAX_DEPTH) return tw_fail(error, TW_INVALID, "%s: folders lie more than %d deep", path, MAX_DEPTH);
    contents found = {.images = all->images, .pictures = all->pictures};
    tw_status status = read_folder(path, &found, error);
    all->images = found.images;
    all->pictures = found.pictures;
    for (size_t i = 0; i < found.folders.count && status == TW_OK; i++)
        status = collect(found.folders.items[i], &here, all, error);
    free_list(&found.folders);
    return status;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int by_folder_then_name(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    size_t x_folder = (size_t)(strrchr(x, '/') - x), y_folder = (size_t)(strrchr(y, '/') - y);
    int order = memcmp(x, y, x_folder < y_folder ? x_folder : y_folder);
    if (order != 0) return order;
    if (x_folder != y_folder) return x_folder < y_folder ? -1 : 1;
    return strcmp(x + x_folder, y + y_folder);
}

/* The folder of the split among `root`'s; null where they are classes. Folders are splits where all have a split's
 * name, or where train lies beside val or test: what else lies there then, hidden folders apart, has no meaning. */
static tw_status choose_split(const char *path, const contents *root, tw_split split, const char **chosen,
                              tw_error *error)
{
    const char *train = NULL, *val = NULL, *test = NULL, *other = NULL;
    for (size_t i = 0; i < root->folders.count; i++) {
        const char *folder = root->folders.items[i], *name = strrchr(folder, '/') + 1;
        if (strcmp(name, "train") == 0)
            train = folder;
        else if (strcmp(name, "val") == 0)
            val = folder;
        else if (strcmp(name, "test") == 0)
            test = folder;
        else if (*name != '.')
            other = name;
    }
    const char *held_out = val ? val : test;
    *chosen = NULL;
    if ((!train && !held_out) || (other && (!train || !held_out))) return TW_OK;
    if (other)
        return tw_fail(error, TW_INVALID, "%s: is \"%s\" a class? It lies beside train and %s; give one split's folder",
                       path, other, val ? "val" : "test");
    *chosen = split == TW_SPLIT_TRAIN ? train : held_out;
    return *chosen ? TW_OK
                   : tw_fail(error, TW_INVALID, "%s: there is no folder %s", path,
                             split == TW_SPLIT_TRAIN ? "train" : "val or test");
}

/* `folder` holds the classes: a link back to it is not followed either. */
static tw_status read_classes(const char *folder, const contents *root, tw_dataset *dataset, contents *all,
                              tw_error *error)
{
    size_t classes = root->folders.count;
    dataset->class_names = calloc(classes, sizeof *dataset->class_names);
    if (!dataset->class_names) return tw_no_memory(error, classes * sizeof *dataset->class_names, "class names");
    dataset->info.classes = classes;
    struct stat info;
    if (stat(folder, &info) != 0) return tw_fail(error, TW_INVALID, "%s: %s", folder, strerror(errno));
    const level top = {.device = info.st_dev, .inode = info.st_ino};
    tw_status status = TW_OK;
    for (size_t c = 0; c < classes && status == TW_OK; c++) {
        const char *path = root->folders.items[c];
        size_t first = all->images.count;
        dataset->class_names[c] = tw_strdup(strrchr(path, '/') + 1);
        if (!dataset->class_names[c]) return tw_no_memory(error, strlen(path), "class names");
        status = collect(path, &top, all, error);
        size_t count = all->images.count - first;
        if (status != TW_OK || count == 0) continue;
        qsort(all->images.items + first, count, sizeof *all->images.items, by_folder_then_name);
        int *labels = realloc(dataset->labels, all->images.count * sizeof *labels);
        if (!labels) return tw_no_memory(error, all->images.count * sizeof *labels, "labels");
        dataset->labels = labels;
        for (size_t i = first; i < all->images.count; i++) labels[i] = (int)c;
    }
    return status;
}

static tw_status fill(const char *path, contents *root, tw_dataset *dataset, tw_error *error)
{
    if (root->folders.count == 0)
        return tw_fail(
            error, TW_INVALID,
            "%s: holds %zu images and %zu other files; expected IDX or CIFAR files, or a folder of images for "
            "each class",
            path, root->images.count, root->pictures + root->others);
    qsort(root->folders.items, root->folders.count, sizeof *root->folders.items, by_path);
    contents all = {0};
    tw_status status = read_classes(path, root, dataset, &all, error);
    dataset->paths = all.images.items;
    dataset->info.images = all.images.count;
    dataset->info.left_out = all.pictures;
    if (status == TW_OK && all.images.count == 0)
        status = tw_fail(error, TW_INVALID, "%s: %zu folders, but no .jpg, .jpeg or .png file in them", path,
                         root->folders.count);
    return status;
}

tw_status tw_folder_open(const char *path, const tw_dataset_desc *desc, tw_dataset *dataset, tw_error *error)
{
    const char *chosen = NULL;
    contents root = {0}, part = {0};
    dataset->info.format = "folder";
    tw_status status = read_folder(path, &root, error);
    if (status == TW_OK) status = choose_split(path, &root, desc->split, &chosen, error);
    dataset->info.whole = !chosen;
    if (status == TW_OK && chosen) status = read_folder(chosen, &part, error);
    if (status == TW_OK) status = fill(chosen ? chosen : path, chosen ? &part : &root, dataset, error);
    free_contents(&part);
    free_contents(&root);
    return status;
}

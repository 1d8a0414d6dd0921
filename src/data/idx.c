/* IDX, the format of MNIST and its kin: a big-endian header (0, 0, element type, rank, then one uint32 a dimension) and
 * raw bytes. Images are uint8 [n][rows][columns], labels uint8 [n]. A plain file of images is used where it is mapped;
 * a compressed one is inflated in the background, so that the first images are there at once. */
#include "data/dataset.h"

#include "formats/image.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define IMAGES_SUFFIX "-images-idx3-ubyte"
#define DEFAULT_MAX_BYTES ((size_t)4 << 30)

/* Deflate can't do better than 1032 bytes from one (zlib's technical notes): a header that promises more lies. */
#define MAX_INFLATION 1032

static const char *const prefixes[] = {[TW_SPLIT_TEST] = "t10k", [TW_SPLIT_TRAIN] = "train"};

/* The first of NAME and NAME.gz that is in the folder; null for none. */
static char *find_file(const char *folder, const char *prefix, const char *suffix)
{
    static const char *const endings[] = {"", ".gz"};
    char name[64];
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(name, sizeof name, "%s%s%s", prefix, suffix, endings[i]);
        if (tw_file_exists(folder, name)) return tw_path_join(folder, name);
    }
    return NULL;
}

bool tw_idx_found(const char *path)
{
    char *test = find_file(path, prefixes[TW_SPLIT_TEST], IMAGES_SUFFIX);
    char *train = find_file(path, prefixes[TW_SPLIT_TRAIN], IMAGES_SUFFIX);
    bool found = test || train;
    free(test);
    free(train);
    return found;
}

/* A file that is open up to its data. */
typedef struct source {
    const char *path;
    const tw_mapping *mapping;
    tw_gunzip *gunzip; /* null: not compressed */
    uint32_t dims[3];
    size_t header, bytes; /* of the header, of the data */
} source;

static tw_status read_header_bytes(source *s, size_t at, uint8_t *to, size_t bytes, tw_error *error)
{
    if (s->gunzip) return tw_gunzip_read(s->gunzip, to, bytes, error);
    if (s->mapping->bytes < at + bytes)
        return tw_fail(error, TW_INVALID, "%s: %zu bytes are too few for an IDX header", s->path, s->mapping->bytes);
    memcpy(to, s->mapping->data + at, bytes);
    return TW_OK;
}

/* Checks the header, and that the file can hold what it promises. */
static tw_status read_header(source *s, unsigned rank, tw_error *error)
{
    uint8_t magic[4], dims[12];
    s->header = 4 + 4 * (size_t)rank;
    tw_status status = read_header_bytes(s, 0, magic, 4, error);
    if (status == TW_OK) status = read_header_bytes(s, 4, dims, 4 * (size_t)rank, error);
    if (status != TW_OK) return status;
    if (magic[0] != 0 || magic[1] != 0 || magic[2] != 8 || magic[3] != rank)
        return tw_fail(error, TW_INVALID, "%s: begins with %02x%02x%02x%02x; IDX %s begin with 0000080%u", s->path,
                       magic[0], magic[1], magic[2], magic[3], rank == 3 ? "images" : "labels", rank);
    s->bytes = 1;
    for (unsigned i = 0; i < rank; i++) {
        const uint8_t *d = dims + 4 * i;
        s->dims[i] = (uint32_t)d[0] << 24 | (uint32_t)d[1] << 16 | (uint32_t)d[2] << 8 | d[3];
        if (s->dims[i] == 0 || (i > 0 && s->dims[i] > TW_IMAGE_MAX_SIDE))
            return tw_fail(error, TW_INVALID, "%s: dimension %u is %u; expected 1 to %u", s->path, i, s->dims[i],
                           i > 0 ? TW_IMAGE_MAX_SIDE : UINT32_MAX);
        if (!tw_checked_mul(s->bytes, s->dims[i], &s->bytes) || s->bytes > SIZE_MAX / 2)
            return tw_fail(error, TW_INVALID, "%s: the dimensions are too large", s->path);
    }
    if (!s->gunzip && s->mapping->bytes - s->header != s->bytes)
        return tw_fail(error, TW_INVALID, "%s: %zu bytes; the header asks for %zu", s->path, s->mapping->bytes,
                       s->header + s->bytes);
    if (s->gunzip && s->bytes / MAX_INFLATION > s->mapping->bytes)
        return tw_fail(error, TW_INVALID, "%s: the header asks for %zu bytes, which %zu compressed ones can't hold",
                       s->path, s->bytes, s->mapping->bytes);
    return TW_OK;
}

static tw_status open_source(source *s, unsigned rank, tw_error *error)
{
    tw_status status = TW_OK;
    if (tw_is_gzip(s->mapping)) status = tw_gunzip_create(s->mapping, s->path, &s->gunzip, error);
    return status == TW_OK ? read_header(s, rank, error) : status;
}

static tw_status use_labels(const source *s, tw_dataset *dataset, tw_error *error)
{
    size_t count = dataset->info.images;
    if (s->dims[0] != count)
        return tw_fail(error, TW_INVALID, "%s: %u labels for %zu images", s->path, s->dims[0], count);
    uint8_t *inflated = NULL;
    const uint8_t *bytes = s->mapping->data + s->header;
    dataset->labels = tw_alloc(count * sizeof *dataset->labels);
    if (s->gunzip) bytes = inflated = tw_alloc(count);
    if (!dataset->labels || !bytes) return tw_no_memory(error, count * sizeof *dataset->labels, s->path);
    tw_status status = TW_OK;
    if (s->gunzip) status = tw_gunzip_read(s->gunzip, inflated, count, error);
    if (s->gunzip && status == TW_OK) status = tw_gunzip_finish(s->gunzip, error);
    for (size_t i = 0; i < count && status == TW_OK; i++) {
        dataset->labels[i] = bytes[i];
        if (bytes[i] >= dataset->info.classes) dataset->info.classes = (size_t)bytes[i] + 1;
    }
    free(inflated);
    return status;
}

static tw_status read_labels(const char *path, tw_dataset *dataset, tw_error *error)
{
    tw_mapping mapping;
    source s = {.path = path, .mapping = &mapping};
    tw_status status = tw_file_map(path, &mapping, error);
    if (status != TW_OK) return status;
    status = open_source(&s, 1, error);
    if (status == TW_OK) status = use_labels(&s, dataset, error);
    tw_gunzip_destroy(s.gunzip);
    tw_file_unmap(&mapping);
    return status;
}

static tw_status inflate_images(const source *s, size_t max_bytes, tw_dataset *dataset, tw_error *error)
{
    if (s->bytes > (max_bytes ? max_bytes : DEFAULT_MAX_BYTES))
        return tw_fail(error, TW_INVALID, "%s: %zu bytes of images; at most %zu are accepted", s->path, s->bytes,
                       max_bytes ? max_bytes : DEFAULT_MAX_BYTES);
    dataset->inflated = tw_alloc(s->bytes);
    if (!dataset->inflated) return tw_no_memory(error, s->bytes, s->path);
    return tw_gunzip_start(s->gunzip, dataset->inflated, s->bytes, error);
}

/* The file's path is the data set's from here on. */
static tw_status read_images(char *path, size_t max_bytes, tw_dataset *dataset, tw_error *error)
{
    tw_dataset_file *file = &dataset->files[0];
    file->path = path;
    dataset->n_files = 1;
    tw_status status = tw_file_map(path, &file->mapping, error);
    if (status != TW_OK) return status;
    source s = {.path = path, .mapping = &file->mapping};
    status = open_source(&s, 3, error);
    dataset->gunzip = s.gunzip;
    if (status == TW_OK && s.gunzip) status = inflate_images(&s, max_bytes, dataset, error);
    if (status != TW_OK) return status;
    file->pixels = s.gunzip ? dataset->inflated : file->mapping.data + s.header;
    file->images = s.dims[0];
    dataset->stride = (size_t)s.dims[1] * s.dims[2];
    dataset->info = (tw_dataset_info){
        .format = "idx", .images = s.dims[0], .channels = 1, .height = (int)s.dims[1], .width = (int)s.dims[2]};
    return TW_OK;
}

/* Where the labels of FOLDER/PREFIX-images-idx3-ubyte[.gz] are. */
static tw_status find_labels(const char *images, char **labels, tw_error *error)
{
    const char *slash = strrchr(images, '/'), *name = slash ? slash + 1 : images, *suffix = strstr(name, IMAGES_SUFFIX);
    size_t folder = (size_t)(name - images);
    if (!suffix)
        return tw_fail(error, TW_INVALID, "%s: neither a folder nor a file called PREFIX" IMAGES_SUFFIX, images);
    char *where = folder ? strndup(images, folder) : tw_strdup(".");
    char *prefix = strndup(name, (size_t)(suffix - name));
    *labels = where && prefix ? find_file(where, prefix, "-labels-idx1-ubyte") : NULL;
    free(where);
    free(prefix);
    if (*labels) return TW_OK;
    return tw_fail(error, TW_INVALID, "%s: beside it there is no %.*s-labels-idx1-ubyte or .gz of it", images,
                   (int)(suffix - name), name);
}

tw_status tw_idx_open(const char *path, const tw_dataset_desc *desc, tw_dataset *dataset, tw_error *error)
{
    struct stat info;
    bool folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
    char *images = folder ? find_file(path, prefixes[desc->split], IMAGES_SUFFIX) : tw_strdup(path), *labels = NULL;
    if (!images)
        return tw_fail(error, TW_INVALID, "%s: there is no %s" IMAGES_SUFFIX " or .gz of it", path,
                       prefixes[desc->split]);
    tw_status status = find_labels(images, &labels, error);
    if (status != TW_OK) {
        free(images);
        return status;
    }
    status = read_images(images, desc->max_bytes, dataset, error);
    dataset->info.whole = !folder;
    if (status == TW_OK) status = read_labels(labels, dataset, error);
    free(labels);
    return status;
}

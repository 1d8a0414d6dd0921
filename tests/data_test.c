/* Data sets made by hand, good and damaged, and the loader over them. What needs torchvision to be judged is in
 * oracle_data.py. */
#include "test.h"

#include "core/status.h"

#include <png.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "bytes.h" /* after those that use the word */

/* ---- folders and files ---- */

/* A folder of its own for each case. */
static const char *new_folder(void)
{
    static char path[128];
    static int made;
    snprintf(path, sizeof path, "%s/set%d", test_folder(), made++);
    if (mkdir(path, 0777) != 0) abort();
    return path;
}

static void make_folder(const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (mkdir(path, 0777) != 0) abort();
}

static void write_bytes(const char *folder, const char *name, const bytes *data)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || (data->count && fwrite(data->data, data->count, 1, file) != 1) || fclose(file) != 0) abort();
}

static void write_text(const char *folder, const char *name, const char *text)
{
    bytes data = {0};
    append(&data, text, strlen(text));
    write_bytes(folder, name, &data);
    free(data.data);
}

static bytes gzip(const bytes *plain)
{
    z_stream z = {0};
    bytes out = {0};
    uint8_t buffer[4096];
    if (deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY) != Z_OK) abort();
    z.next_in = plain->data;
    z.avail_in = (uInt)plain->count;
    do {
        z.next_out = buffer;
        z.avail_out = sizeof buffer;
        deflate(&z, Z_FINISH);
        append(&out, buffer, sizeof buffer - z.avail_out);
    } while (z.avail_out == 0);
    deflateEnd(&z);
    return out;
}

/* ---- IDX ---- */

enum { ROWS = 5, COLUMNS = 7 };

static void append_u32(bytes *to, uint32_t value)
{
    uint8_t b[] = {(uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8), (uint8_t)value};
    append(to, b, 4);
}

static uint8_t idx_pixel(size_t image, size_t at)
{
    return (uint8_t)(image * 31 + at * at + at);
}

static bytes idx_images(uint32_t count, uint32_t rows, uint32_t columns)
{
    bytes file = {0};
    append_u32(&file, 0x803);
    append_u32(&file, count);
    append_u32(&file, rows);
    append_u32(&file, columns);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < (size_t)rows * columns; j++) append(&file, &(uint8_t){idx_pixel(i, j)}, 1);
    return file;
}

static bytes idx_labels(uint32_t count)
{
    bytes file = {0};
    append_u32(&file, 0x801);
    append_u32(&file, count);
    for (uint32_t i = 0; i < count; i++) append(&file, &(uint8_t){(uint8_t)(i % 6)}, 1);
    return file;
}

/* Writes PREFIX's two files, compressed or not, and frees them. */
static void write_idx(const char *folder, const char *prefix, bytes images, bytes labels, bool compressed)
{
    char name[64];
    bytes packed[2] = {images, labels};
    const char *suffixes[] = {"images-idx3-ubyte", "labels-idx1-ubyte"};
    for (int i = 0; i < 2; i++) {
        if (compressed) {
            bytes plain = packed[i];
            packed[i] = gzip(&plain);
            free(plain.data);
        }
        snprintf(name, sizeof name, "%s-%s%s", prefix, suffixes[i], compressed ? ".gz" : "");
        write_bytes(folder, name, &packed[i]);
        free(packed[i].data);
    }
}

static const char *idx_folder(uint32_t count, bool compressed)
{
    const char *folder = new_folder();
    write_idx(folder, "t10k", idx_images(count, ROWS, COLUMNS), idx_labels(count), compressed);
    return folder;
}

/* ---- what is expected ---- */

static tw_dataset *open_set(const char *path, tw_split split)
{
    tw_error error = {0};
    tw_dataset *dataset;
    if (tw_dataset_open(path, &(tw_dataset_desc){.split = split}, &dataset, &error) != TW_OK)
        test_fail(__FILE__, __LINE__, "%s", error.message);
    return dataset;
}

static tw_loader *open_loader(tw_dataset *dataset, const tw_loader_desc *desc)
{
    tw_error error = {0};
    tw_loader *loader;
    if (tw_loader_create(dataset, desc, &loader, &error) != TW_OK) test_fail(__FILE__, __LINE__, "%s", error.message);
    return loader;
}

static void refuses(const char *path, const char *part)
{
    tw_error error = {0};
    tw_dataset *dataset;
    tw_status status = tw_dataset_open(path, NULL, &dataset, &error);
    tw_dataset_release(dataset);
    CHECK(status == TW_INVALID && !dataset && error.status == TW_INVALID);
    CHECK_CONTAINS(error.message, part);
}

static tw_preprocess plain_input(int channels, int crop, int pad)
{
    return (tw_preprocess){.channels = channels, .crop = crop, .pad = pad, .std = {1, 1, 1}};
}

/* ---- IDX cases ---- */

static void check_idx(const char *path, tw_split split, size_t count)
{
    tw_dataset *dataset = open_set(path, split);
    CHECK(dataset);
    tw_dataset_info info;
    tw_dataset_describe(dataset, &info);
    CHECK_STR(info.format, "idx");
    CHECK(info.images == count && info.classes == 6 && info.channels == 1);
    CHECK(info.height == ROWS && info.width == COLUMNS);
    CHECK(!tw_dataset_class_name(dataset, 0) && !tw_dataset_class_name(dataset, 99));
    for (size_t i = 0; i < count; i++) CHECK(tw_dataset_label(dataset, i) == (int)(i % 6));
    CHECK(tw_dataset_label(dataset, count) == -1);
    char name[256], cut[8];
    tw_dataset_image_name(dataset, 3, name, sizeof name);
    CHECK_CONTAINS(name, split == TW_SPLIT_TEST ? "/t10k-images-idx3-ubyte" : "/train-images-idx3-ubyte");
    CHECK_CONTAINS(name, "#3");
    tw_dataset_image_name(dataset, 3, cut, sizeof cut);
    CHECK(strlen(cut) == sizeof cut - 1 && strncmp(cut, name, sizeof cut - 1) == 0);
    tw_dataset_release(dataset);
}

static void idx_is_read(void)
{
    for (int compressed = 0; compressed < 2; compressed++) {
        const char *folder = idx_folder(17, compressed);
        write_idx(folder, "train", idx_images(29, ROWS, COLUMNS), idx_labels(29), compressed);
        check_idx(folder, TW_SPLIT_TEST, 17);
        check_idx(folder, TW_SPLIT_TRAIN, 29);
        char path[256];
        snprintf(path, sizeof path, "%s/t10k-images-idx3-ubyte%s", folder, compressed ? ".gz" : "");
        check_idx(path, TW_SPLIT_TEST, 17);
    }
}

/* One byte of a good file of images or labels changed, or its length. */
typedef struct damage {
    const char *message;
    bool labels;
    int at; /* byte to change; -1: none */
    uint8_t to;
    int longer; /* bytes added, or taken away */
} damage;

static void idx_damage_is_refused(void)
{
    static const damage damages[] = {
        {"begins with 01000803; IDX images begin with 00000803", false, 0, 1, 0},
        {"begins with 00000903; IDX images begin with 00000803", false, 2, 9, 0},
        {"begins with 00000801; IDX images begin with 00000803", false, 3, 1, 0},
        {"begins with 00000803; IDX labels begin with 00000801", true, 3, 3, 0},
        {"dimension 2 is 0", false, 15, 0, 0},
        {"dimension 1 is 4278190085; expected 1 to 1000000", false, 8, 255, 0},
        {"611 bytes; the header asks for 576", false, 7, 16, 0},
        {"610 bytes; the header asks for 611", false, -1, 0, -1},
        {"612 bytes; the header asks for 611", false, -1, 0, 1},
        {"15 bytes are too few for an IDX header", false, -1, 0, -596},
        {"0 bytes are too few for an IDX header", false, -1, 0, -611},
        {"24 bytes; the header asks for 25", true, -1, 0, -1},
        {"25 bytes; the header asks for 24", true, 7, 16, 0},
    };
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        const damage *d = &damages[i];
        bytes images = idx_images(17, ROWS, COLUMNS), labels = idx_labels(17), *file = d->labels ? &labels : &images;
        if (d->at >= 0) file->data[d->at] = d->to;
        if (d->longer > 0) append(file, "x", 1);
        if (d->longer < 0) file->count -= (size_t)-d->longer;
        const char *folder = new_folder();
        write_idx(folder, "t10k", images, labels, false);
        refuses(folder, d->message);
    }
    const char *folder = new_folder();
    write_idx(folder, "t10k", idx_images(17, ROWS, COLUMNS), idx_labels(18), false);
    refuses(folder, "18 labels for 17 images");
}

static void idx_files_that_lack(void)
{
    char path[256];
    const char *folder = new_folder();
    write_idx(folder, "train", idx_images(2, 2, 2), idx_labels(2), false);
    refuses(folder, "there is no t10k-images-idx3-ubyte");
    folder = idx_folder(3, false);
    snprintf(path, sizeof path, "%s/t10k-labels-idx1-ubyte", folder);
    refuses(path, "neither a folder nor a file called PREFIX-images-idx3-ubyte");
    remove(path);
    refuses(folder, "there is no t10k-labels-idx1-ubyte");
    snprintf(path, sizeof path, "%s/nothing", folder);
    refuses(path, "No such file");
}

/* ---- compressed IDX ---- */

enum { MANY = 20000 }; /* 700,000 bytes of pixels: several pieces of what is inflated ahead */

static bytes many_images(void)
{
    return idx_images(MANY, ROWS, COLUMNS);
}

/* The compressed images, written beside good labels. */
static const char *folder_of(const bytes *images, uint32_t count)
{
    const char *folder = new_folder();
    bytes labels = idx_labels(count), packed = gzip(&labels);
    write_bytes(folder, "t10k-images-idx3-ubyte.gz", images);
    write_bytes(folder, "t10k-labels-idx1-ubyte.gz", &packed);
    free(labels.data);
    free(packed.data);
    return folder;
}

/* Reads to the end, or to an error. Returns the images seen. */
static size_t drain(tw_dataset *dataset, int threads, tw_status *status, tw_error *error)
{
    tw_loader *loader =
        open_loader(dataset, &(tw_loader_desc){.preprocess = plain_input(1, 8, 0), .batch = 100, .threads = threads});
    tw_batch batch;
    size_t seen = 0;
    while ((*status = tw_loader_next(loader, &batch, error)) == TW_OK && batch.count > 0) seen += (size_t)batch.count;
    if (*status != TW_OK && tw_loader_next(loader, &batch, NULL) != *status) seen = SIZE_MAX; /* it stays so */
    tw_loader_destroy(loader);
    return seen;
}

static void damaged_stream(const bytes *images, const char *message)
{
    for (int threads = 1; threads <= 2; threads++) {
        tw_dataset *dataset = open_set(folder_of(images, MANY), TW_SPLIT_TEST);
        CHECK(dataset);
        tw_error error = {0};
        tw_status status;
        size_t seen = drain(dataset, threads, &status, &error);
        tw_dataset_release(dataset);
        CHECK_MSG(status == TW_INVALID && seen < MANY, "status %d after %zu images", (int)status, seen);
        CHECK_CONTAINS(error.message, message);
        CHECK_CONTAINS(error.message, "t10k-images-idx3-ubyte.gz");
    }
}

static void damaged_gzip_fails_the_loader(void)
{
    bytes plain = many_images(), packed = gzip(&plain), half = packed, damaged = {0}, longer = {0}, more = {0};
    half.count /= 2;
    damaged_stream(&half, "truncated gzip data");
    half.count = packed.count - 1; /* in the checksums behind the data */
    damaged_stream(&half, "truncated gzip data");

    append(&damaged, packed.data, packed.count);
    damaged.data[damaged.count - 6] ^= 1;
    damaged_stream(&damaged, "damaged gzip data (incorrect data check)");

    append(&longer, packed.data, packed.count);
    append(&longer, "tail", 4);
    damaged_stream(&longer, "4 bytes after the end of the gzip data");

    append(&plain, "x", 1);
    more = gzip(&plain);
    damaged_stream(&more, "holds more than its header says");
    free(more.data);
    plain.count -= 2;
    more = gzip(&plain);
    damaged_stream(&more, "ends 1 bytes early");
    free(plain.data);
    free(packed.data);
    free(damaged.data);
    free(longer.data);
    free(more.data);
}

static void gzip_of_two_members_is_one(void)
{
    bytes plain = many_images(), first = plain, second = {plain.data + 1000, plain.count - 1000, 0};
    first.count = 1000;
    bytes packed = gzip(&first), rest = gzip(&second);
    append(&packed, rest.data, rest.count);
    tw_dataset *dataset = open_set(folder_of(&packed, MANY), TW_SPLIT_TEST);
    tw_status status = TW_FAILED;
    tw_error error = {0};
    CHECK(dataset);
    size_t seen = drain(dataset, 2, &status, &error);
    CHECK_MSG(status == TW_OK && seen == MANY, "%s", error.message);
    tw_dataset_release(dataset);
    free(plain.data);
    free(packed.data);
    free(rest.data);
}

static void gzip_is_bounded(void)
{
    bytes lying = idx_images(1, ROWS, COLUMNS);
    lying.data[4] = 0x7f; /* two billion images */
    bytes packed = gzip(&lying);
    refuses(folder_of(&packed, 1), "compressed ones can't hold");
    free(lying.data);
    free(packed.data);

    tw_error error = {0};
    tw_dataset *dataset;
    tw_dataset_desc desc = {.max_bytes = 10 * ROWS * COLUMNS - 1};
    CHECK(tw_dataset_open(idx_folder(10, true), &desc, &dataset, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "350 bytes of images; at most 349 are accepted");
    desc.max_bytes++;
    CHECK(tw_dataset_open(idx_folder(10, true), &desc, &dataset, &error) == TW_OK);
    tw_dataset_release(dataset); /* perhaps before it is inflated */
}

/* ---- CIFAR ---- */

static bytes cifar_file(int label_bytes, int images, int classes)
{
    bytes file = {0};
    for (int i = 0; i < images; i++) {
        if (label_bytes == 2) append(&file, &(uint8_t){(uint8_t)(i % 20)}, 1);
        append(&file, &(uint8_t){(uint8_t)(i * 7 % classes)}, 1);
        for (int j = 0; j < 3072; j++) append(&file, &(uint8_t){(uint8_t)(i * 13 + j + j / 1024 * 40)}, 1);
    }
    return file;
}

static void write_cifar(const char *folder, const char *name, int label_bytes, int images)
{
    bytes file = cifar_file(label_bytes, images, label_bytes == 1 ? 10 : 100);
    write_bytes(folder, name, &file);
    free(file.data);
}

static void cifar10_is_read(void)
{
    const char *folder = new_folder();
    char name[256];
    for (int i = 1; i <= 5; i++) {
        snprintf(name, sizeof name, "data_batch_%d.bin", i);
        write_cifar(folder, name, 1, i);
    }
    write_cifar(folder, "test_batch.bin", 1, 4);
    write_text(folder, "batches.meta.txt", "plane\ncar\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\r\ntruck\n\n");
    tw_dataset *dataset = open_set(folder, TW_SPLIT_TRAIN);
    CHECK(dataset);
    tw_dataset_info info;
    tw_dataset_describe(dataset, &info);
    CHECK_STR(info.format, "cifar10");
    CHECK(info.images == 15 && info.classes == 10 && info.channels == 3 && info.height == 32 && info.width == 32);
    CHECK_STR(tw_dataset_class_name(dataset, 0), "plane");
    CHECK_STR(tw_dataset_class_name(dataset, 8), "ship");
    CHECK(!tw_dataset_class_name(dataset, 10));
    CHECK(tw_dataset_label(dataset, 5) == 14 % 10); /* the third of the third file */
    tw_dataset_image_name(dataset, 5, name, sizeof name);
    CHECK_CONTAINS(name, "data_batch_3.bin#2");
    tw_loader *loader = open_loader(dataset, &(tw_loader_desc){.preprocess = plain_input(3, 32, 0), .batch = 15});
    tw_batch batch;
    CHECK(loader && tw_loader_next(loader, &batch, NULL) == TW_OK && batch.count == 15);
    for (int j = 0; j < 3072; j++)
        CHECK(batch.pixels[5 * 3072 + j] == (float)(uint8_t)(2 * 13 + j + j / 1024 * 40) / 255);
    tw_loader_destroy(loader);
    tw_dataset_release(dataset);
}

static void cifar100_is_read(void)
{
    const char *folder = new_folder();
    write_cifar(folder, "test.bin", 2, 30);
    tw_dataset *dataset = open_set(folder, TW_SPLIT_TEST);
    CHECK(dataset);
    tw_dataset_info info;
    tw_dataset_describe(dataset, &info);
    CHECK_STR(info.format, "cifar100");
    CHECK(info.images == 30 && info.classes == 100);
    CHECK(tw_dataset_label(dataset, 20) == 140 % 100); /* the fine label */
    CHECK(!tw_dataset_class_name(dataset, 0));
    tw_dataset_release(dataset);
}

static void cifar_damage_is_refused(void)
{
    const char *folder = new_folder();
    bytes file = cifar_file(1, 3, 10);
    file.data[3073] = 10;
    write_bytes(folder, "test_batch.bin", &file);
    refuses(folder, "test_batch.bin: image 1 has label 10; cifar10 has 10 classes");
    file.count--;
    write_bytes(folder, "test_batch.bin", &file);
    refuses(folder, "9218 bytes are not whole records of 3073");
    file.count = 0;
    write_bytes(folder, "test_batch.bin", &file);
    refuses(folder, "0 bytes are not whole records of 3073");
    free(file.data);
    write_cifar(folder, "test_batch.bin", 1, 3);
    write_text(folder, "batches.meta.txt", "one\ntwo\n");
    refuses(folder, "batches.meta.txt: 2 class names, expected 10");
    folder = new_folder();
    write_cifar(folder, "train.bin", 2, 1);
    refuses(folder, "test.bin: cannot be opened");
}

/* ---- folders of images ---- */

static void write_png(const char *folder, const char *name, int seed)
{
    enum { WIDTH = 20, HEIGHT = 13 };
    uint8_t pixels[HEIGHT][WIDTH][3];
    char path[512];
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
            for (int c = 0; c < 3; c++) pixels[y][x][c] = (uint8_t)(seed * 50 + x * 9 + y * 5 + c * 70);
    png_image image = {.version = PNG_IMAGE_VERSION, .width = WIDTH, .height = HEIGHT, .format = PNG_FORMAT_RGB};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!png_image_write_to_file(&image, path, 0, pixels, 0, NULL)) abort();
}

/* Images in the order of ImageFolder: by folder, then by name. */
static const char *const image_order[] = {"B/x.png",    "a/u.png",   "a b/1.png",   "a b/10.PnG",
                                          "a b/2.jpeg", "a b/z.JPG", "a b/s/1.png", "a b/s-s/1.png"};
static const int image_labels[] = {0, 1, 2, 2, 2, 2, 2, 2};
enum { IMAGES = sizeof image_labels / sizeof *image_labels };

static const char *image_folder(void)
{
    const char *folder = new_folder();
    static const char *const folders[] = {"a", "a b", "B", "c", "a b/s", "a b/s-s"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) make_folder(folder, folders[i]);
    for (int i = IMAGES - 1; i >= 0; i--) write_png(folder, image_order[i], i);
    write_text(folder, "a/notes.txt", "no image");
    write_text(folder, "a/png", "no image");
    write_text(folder, "a/1.gif", "not ours");
    write_text(folder, "a b/s/2.WebP", "not ours");
    write_text(folder, "readme.png", "of no class");
    return folder;
}

static void folder_is_read_in_order(void)
{
    const char *folder = image_folder(), *names[] = {"B", "a", "a b", "c"};
    char path[256], name[256];
    snprintf(path, sizeof path, "%s/a/loop", folder);
    CHECK(symlink(".", path) == 0);
    tw_dataset *dataset = open_set(folder, TW_SPLIT_TEST);
    CHECK(dataset);
    tw_dataset_info info;
    tw_dataset_describe(dataset, &info);
    CHECK_STR(info.format, "folder");
    CHECK(info.images == IMAGES && info.classes == 4 && info.channels == 0 && info.height == 0 && info.width == 0);
    CHECK(info.whole && info.left_out == 2);
    for (size_t i = 0; i < 4; i++) CHECK_STR(tw_dataset_class_name(dataset, i), names[i]);
    for (size_t i = 0; i < IMAGES; i++) {
        CHECK(tw_dataset_label(dataset, i) == image_labels[i]);
        snprintf(path, sizeof path, "%s/%s", folder, image_order[i]);
        tw_dataset_image_name(dataset, i, name, sizeof name);
        CHECK_STR(name, path);
    }
    tw_dataset_release(dataset);
}

static void folder_has_splits(void)
{
    static const char *const splits[] = {"test", "val", "train"};
    const char *folder = new_folder();
    char name[256];
    for (int i = 0; i < 3; i++) {
        make_folder(folder, splits[i]);
        snprintf(name, sizeof name, "%s/cat", splits[i]);
        make_folder(folder, name);
        snprintf(name, sizeof name, "%s/cat/1.png", splits[i]);
        write_png(folder, name, i);
        tw_dataset *dataset = open_set(folder, i == 2 ? TW_SPLIT_TRAIN : TW_SPLIT_TEST);
        CHECK(dataset);
        tw_dataset_info info;
        tw_dataset_describe(dataset, &info);
        tw_dataset_image_name(dataset, 0, name, sizeof name);
        tw_dataset_release(dataset);
        CHECK(info.classes == 1 && info.images == 1 && !info.whole && info.left_out == 0);
        CHECK_CONTAINS(name, i == 0 ? "/test/cat/1.png" : i == 1 ? "/val/cat/1.png" : "/train/cat/1.png");
    }
    tw_dataset *dataset = open_set(folder, TW_SPLIT_TEST);
    CHECK(dataset);
    tw_dataset_image_name(dataset, 0, name, sizeof name);
    tw_dataset_release(dataset);
    CHECK_CONTAINS(name, "/val/cat/1.png");
    make_folder(folder, "extra");
    refuses(folder, "is \"extra\" a class? It lies beside train and val");
}

static void a_split_that_is_not_there(void)
{
    const char *folder = new_folder();
    make_folder(folder, "train");
    make_folder(folder, "train/cat");
    write_png(folder, "train/cat/1.png", 1);
    refuses(folder, "there is no folder val or test");
    make_folder(folder, "bus"); /* trains and buses */
    tw_dataset *dataset = open_set(folder, TW_SPLIT_TEST);
    CHECK(dataset);
    tw_dataset_info info;
    tw_dataset_describe(dataset, &info);
    tw_dataset_release(dataset);
    CHECK(info.classes == 2 && info.images == 1);
}

static void a_link_to_the_whole_mixes_no_classes(void)
{
    const char *folder = new_folder();
    char name[256], target[4096];
    for (int i = 0; i < 2; i++) {
        make_folder(folder, i ? "dog" : "cat");
        write_png(folder, i ? "dog/1.png" : "cat/1.png", i);
    }
    snprintf(name, sizeof name, "%s/cat/all", folder);
    CHECK(realpath(folder, target) && symlink(target, name) == 0);
    tw_dataset *dataset = open_set(folder, TW_SPLIT_TEST);
    CHECK(dataset);
    tw_dataset_info info;
    tw_dataset_describe(dataset, &info);
    bool right = info.images == 2 && tw_dataset_label(dataset, 0) == 0 && tw_dataset_label(dataset, 1) == 1;
    tw_dataset_release(dataset);
    CHECK(right);
}

static void folders_without_images_are_refused(void)
{
    const char *folder = new_folder();
    refuses(folder, "holds 0 images and 0 other files; expected IDX or CIFAR files, or a folder of images");
    write_png(folder, "1.png", 1);
    write_text(folder, "2.txt", "");
    refuses(folder, "holds 1 images and 1 other files");
    make_folder(folder, "cat");
    write_text(folder, "cat/1.gif", "");
    refuses(folder, "1 folders, but no .jpg, .jpeg or .png file in them");
    char name[200] = "cat";
    for (int depth = 0; depth < 65; depth++) {
        make_folder(folder, strcat(name, "/d"));
    }
    refuses(folder, "folders lie more than 64 deep");
}

/* ---- the loader ---- */

/* All pixels in order, the last batch's too, checked for their place; `errors` counts bad images. */
static bytes load_all(tw_dataset *dataset, const tw_loader_desc *desc, size_t expected, size_t *errors)
{
    tw_loader *loader = open_loader(dataset, desc);
    size_t side = (size_t)desc->preprocess.crop + 2 * (size_t)desc->preprocess.pad, seen = 0;
    size_t image_bytes = (size_t)desc->preprocess.channels * side * side * sizeof(float);
    bytes all = {0};
    tw_batch batch;
    tw_error error = {0};
    *errors = 0;
    while (loader && tw_loader_next(loader, &batch, &error) == TW_OK && batch.count > 0) {
        size_t left = expected - seen, whole = desc->batch ? (size_t)desc->batch : 1;
        if ((size_t)batch.count != (left < whole ? left : whole)) break;
        for (size_t i = 0; i < (size_t)batch.count; i++, seen++) {
            size_t index = desc->order ? desc->order[seen] : seen;
            if (batch.indices[i] != index || batch.labels[i] != tw_dataset_label(dataset, index))
                test_fail(__FILE__, __LINE__, "image %zu has index %zu, label %d", seen, batch.indices[i],
                          batch.labels[i]);
            *errors += batch.errors[i] != NULL;
        }
        append(&all, batch.pixels, (size_t)batch.count * image_bytes);
    }
    bool ended = loader && tw_loader_next(loader, &batch, &error) == TW_OK && batch.count == 0;
    if (!ended || seen != expected)
        test_fail(__FILE__, __LINE__, "%zu of %zu images: %s", seen, expected, error.message);
    tw_loader_destroy(loader);
    return all;
}

static void idx_pixels_are_exact(void)
{
    tw_dataset *dataset = open_set(idx_folder(11, true), TW_SPLIT_TEST);
    CHECK(dataset);
    tw_dataset_release(dataset);
    const char *folder = new_folder();
    write_idx(folder, "t10k", idx_images(11, 6, 6), idx_labels(11), true);
    dataset = open_set(folder, TW_SPLIT_TEST);
    tw_loader_desc desc = {.preprocess = plain_input(3, 6, 2), .batch = 4};
    for (int c = 0; c < 3; c++) desc.preprocess.mean[c] = (float)c / 4, desc.preprocess.std[c] = 0.3f;
    size_t errors;
    bytes all = load_all(dataset, &desc, 11, &errors);
    tw_dataset_release(dataset);
    CHECK(errors == 0 && all.count == 11 * 3 * 100 * sizeof(float));
    const float *at = (const float *)(const void *)all.data;
    for (size_t i = 0; i < 11; i++)
        for (int c = 0; c < 3; c++)
            for (int y = -2; y < 8; y++)
                for (int x = -2; x < 8; x++, at++) {
                    bool inside = x >= 0 && x < 6 && y >= 0 && y < 6;
                    float value =
                        inside ? ((float)idx_pixel(i, (size_t)(y * 6 + x)) / 255.0f - (float)c / 4) / 0.3f : 0;
                    CHECK_MSG(*at == value, "image %zu (%d, %d, %d): %g, expected %g", i, c, y, x, (double)*at,
                              (double)value);
                }
    free(all.data);
}

/* CIFAR's colours as a network of another size, or of one channel, sees them: as it would see a photograph. */
static void stored_pixels_are_resized(void)
{
    const char *folder = new_folder();
    write_cifar(folder, "test_batch.bin", 1, 2);
    tw_dataset *dataset = open_set(folder, TW_SPLIT_TEST);
    CHECK(dataset);
    uint8_t rgb[32 * 32 * 3];
    for (int i = 0; i < 1024; i++)
        for (int c = 0; c < 3; c++) rgb[3 * i + c] = (uint8_t)(13 + c * 1024 + i + c * 40);
    tw_image image = {.width = 32, .height = 32, .rgb = rgb};
    const tw_preprocess hows[] = {
        {.channels = 3, .resize = 64, .crop = 56, .mean = {.5f, .4f, .3f}, .std = {.2f, .3f, .4f}},
        {.channels = 3, .crop = 20, .interpolation = TW_BICUBIC, .std = {1, 1, 1}},
        {.channels = 1, .crop = 28, .pad = 2, .std = {1}},
        {.channels = 1, .crop = 32, .std = {1}},
    };
    for (size_t i = 0; i < sizeof hows / sizeof *hows; i++) {
        size_t side = (size_t)hows[i].crop + 2 * (size_t)hows[i].pad, floats = (size_t)hows[i].channels * side * side;
        size_t errors;
        float *expected = malloc(floats * sizeof *expected);
        bytes all = load_all(dataset, &(tw_loader_desc){.preprocess = hows[i], .batch = 2}, 2, &errors);
        tw_status status = tw_image_preprocess(&image, &hows[i], expected, NULL);
        bool same = all.count == 2 * floats * sizeof(float) &&
                    memcmp(all.data + floats * sizeof(float), expected, floats * sizeof(float)) == 0;
        free(expected);
        free(all.data);
        CHECK_MSG(status == TW_OK && same && errors == 0, "preprocessing %zu", i);
    }
    tw_dataset_release(dataset);
}

static void threads_give_the_same(void)
{
    const char *folder = image_folder();
    write_text(folder, "B/y.jpg", "not an image");
    for (int set = 0; set < 2; set++) {
        size_t expected = set ? MANY / 10 : IMAGES + 1, errors;
        tw_dataset *dataset = open_set(set ? idx_folder((uint32_t)expected, true) : folder, TW_SPLIT_TEST);
        CHECK(dataset);
        bytes first = {0};
        for (int threads = 1; threads <= 4; threads++)
            for (int batch = 1; batch <= 300; batch = batch * 7 - 2) {
                tw_loader_desc desc = {
                    .preprocess = plain_input(3, 9, 1), .batch = batch, .threads = threads, .ahead = threads - 1};
                bytes all = load_all(dataset, &desc, expected, &errors);
                CHECK(errors == (set ? 0 : 1));
                if (!first.data) {
                    first = all;
                    continue;
                }
                bool same = all.count == first.count && memcmp(all.data, first.data, first.count) == 0;
                free(all.data);
                CHECK_MSG(same, "threads %d, batch %d", threads, batch);
            }
        tw_dataset_release(dataset);
        free(first.data);
    }
}

static void order_and_count_choose(void)
{
    tw_dataset *dataset = open_set(idx_folder(50, true), TW_SPLIT_TEST);
    CHECK(dataset);
    size_t order[] = {49, 3, 3, 0, 17, 48}, errors;
    tw_loader_desc desc = {.preprocess = plain_input(1, 7, 0), .batch = 4, .order = order, .count = 6};
    free(load_all(dataset, &desc, 6, &errors).data);
    desc.count = 0;
    free(load_all(dataset, &desc, 0, &errors).data);
    desc.order = NULL;
    free(load_all(dataset, &desc, 50, &errors).data);
    desc.count = 13;
    free(load_all(dataset, &desc, 13, &errors).data);
    desc.count = 51;
    free(load_all(dataset, &desc, 50, &errors).data);
    tw_dataset_release(dataset);
}

static void bad_images_are_reported(void)
{
    const char *folder = image_folder();
    char good[256], bad[256], absent[256];
    snprintf(good, sizeof good, "%s/B/x.png", folder);
    snprintf(bad, sizeof bad, "%s/a/notes.txt", folder);
    snprintf(absent, sizeof absent, "%s/none.jpg", folder);
    const char *paths[] = {good, bad, absent, good, bad};
    tw_loader_desc desc = {.preprocess = plain_input(3, 8, 0), .batch = 2, .ahead = 1, .threads = 2};
    tw_loader *loader;
    tw_batch batch;
    CHECK(tw_loader_create_files(paths, 5, &desc, &loader, NULL) == TW_OK);
    for (int at = 0; at < 5; at += 2) {
        CHECK(tw_loader_next(loader, &batch, NULL) == TW_OK && batch.count == (at == 4 ? 1 : 2));
        for (int i = 0; i < batch.count; i++) {
            CHECK(batch.labels[i] == -1 && batch.indices[i] == (size_t)(at + i));
            const float *pixels = batch.pixels + i * 3 * 64;
            bool zeros = true;
            for (int j = 0; j < 3 * 64; j++) zeros &= pixels[j] == 0;
            bool fine = (at + i) % 3 == 0;
            CHECK(zeros != fine && !batch.errors[i] == fine);
            if (paths[at + i] == bad) CHECK_CONTAINS(batch.errors[i], "notes.txt: not a JPEG or PNG image");
            if (paths[at + i] == absent) CHECK_CONTAINS(batch.errors[i], "none.jpg: No such file");
        }
    }
    CHECK(tw_loader_next(loader, &batch, NULL) == TW_OK && batch.count == 0);
    tw_loader_destroy(loader);
    CHECK(tw_loader_create_files(NULL, 0, &desc, &loader, NULL) == TW_OK);
    CHECK(tw_loader_next(loader, &batch, NULL) == TW_OK && batch.count == 0);
    tw_loader_destroy(loader);
}

static void loaders_end_early(void)
{
    bytes plain = many_images(), packed = gzip(&plain);
    const char *folder = folder_of(&packed, MANY);
    free(plain.data);
    free(packed.data);
    for (int batches = 0; batches < 4; batches++)
        for (int threads = 1; threads <= 3; threads++) {
            tw_dataset *dataset = open_set(folder, TW_SPLIT_TEST);
            CHECK(dataset);
            size_t last = MANY - 1; /* which must be waited for */
            tw_loader_desc desc = {.preprocess = plain_input(1, 20, 3), .batch = 3, .threads = threads};
            if (batches == 0) desc.order = &last, desc.count = 1;
            tw_loader *loader = open_loader(dataset, &desc);
            tw_dataset_release(dataset); /* the loader keeps it */
            CHECK(loader);
            tw_batch batch;
            for (int i = 0; i < batches; i++) CHECK(tw_loader_next(loader, &batch, NULL) == TW_OK && batch.count == 3);
            tw_loader_destroy(loader);
        }
    tw_loader_destroy(NULL);
}

static void wrong_descriptions_are_refused(void)
{
    tw_dataset *dataset = open_set(idx_folder(5, false), TW_SPLIT_TEST);
    CHECK(dataset);
    size_t order[] = {4, 5};
    const struct {
        tw_loader_desc desc;
        const char *message;
    } wrong[] = {
        {{.preprocess = plain_input(1, 8, 0), .batch = -1}, "batch -1, ahead 0, threads 0: expected 0 or more"},
        {{.preprocess = plain_input(1, 8, 0), .ahead = -1}, "ahead -1"},
        {{.preprocess = plain_input(1, 8, 0), .threads = 1025}, "at most 1024 threads"},
        {{.preprocess = plain_input(2, 8, 0)}, "channels is 2"},
        {{.preprocess = plain_input(1, 0, 0)}, "crop 0"},
        {{.preprocess = plain_input(1, 8, 0), .order = order, .count = 2}, "image 5 is asked for; the data set has 5"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        tw_error error = {0};
        tw_loader *loader;
        CHECK(tw_loader_create(dataset, &wrong[i].desc, &loader, &error) == TW_INVALID && !loader);
        CHECK_CONTAINS(error.message, wrong[i].message);
    }
    tw_error error = {0};
    tw_loader *loader;
    tw_loader_desc vast = {.preprocess = plain_input(3, 100000, 0), .batch = 2000000000};
    CHECK(tw_loader_create(dataset, &vast, &loader, &error) == TW_OUT_OF_MEMORY && !loader);
    tw_dataset_release(dataset);
    tw_dataset_release(NULL);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        {"idx is read", idx_is_read},
        {"idx damage is refused", idx_damage_is_refused},
        {"idx files that lack", idx_files_that_lack},
        {"damaged gzip fails the loader", damaged_gzip_fails_the_loader},
        {"gzip of two members is one", gzip_of_two_members_is_one},
        {"gzip is bounded", gzip_is_bounded},
        {"cifar10 is read", cifar10_is_read},
        {"cifar100 is read", cifar100_is_read},
        {"cifar damage is refused", cifar_damage_is_refused},
        {"folder is read in order", folder_is_read_in_order},
        {"folder has splits", folder_has_splits},
        {"a split that is not there", a_split_that_is_not_there},
        {"a link to the whole mixes no classes", a_link_to_the_whole_mixes_no_classes},
        {"folders without images are refused", folders_without_images_are_refused},
        {"idx pixels are exact", idx_pixels_are_exact},
        {"stored pixels are resized", stored_pixels_are_resized},
        {"threads give the same", threads_give_the_same},
        {"order and count choose", order_and_count_choose},
        {"bad images are reported", bad_images_are_reported},
        {"loaders end early", loaders_end_early},
        {"wrong descriptions are refused", wrong_descriptions_are_refused},
    };
    return test_main(argc, argv, cases, sizeof cases / sizeof *cases);
}

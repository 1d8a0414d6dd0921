/* Weights and arrays from good, cut, flipped and hostile files. What needs PyTorch or NumPy to be judged is in
 * oracle_formats.py. Files of weights are read from memory that ends at a forbidden page, so that one byte too far is a
 * crash; a wrong file must give one line of error, in bounded time and memory. */
#include "test.h"

#include "core/weights.h"
#include "formats/file.h"
#include "formats/weights_formats.h"

#include <dirent.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bytes.h" /* after those that use the word */

/* ---- bytes ---- */

static void append_text(bytes *to, const char *text)
{
    append(to, text, strlen(text));
}

/* Little-endian, `size` bytes. */
static void append_number(bytes *to, uint64_t number, int size)
{
    for (int i = 0; i < size; i++) append(to, &(uint8_t){(uint8_t)(number >> 8 * i)}, 1);
}

static void append_bytes(bytes *to, const bytes *from)
{
    append(to, from->data, from->count);
}

static void release_bytes(bytes *from)
{
    free(from->data);
    *from = (bytes){0};
}

static bytes copy_of(const bytes *from)
{
    bytes copy = {0};
    append_bytes(&copy, from);
    return copy;
}

static uint64_t random_state = 88172645463325252;

static uint64_t random_number(void) /* xorshift64 */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static const char *path_of(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", test_folder(), name);
    return path;
}

static const char *write_bytes(const char *name, const bytes *content)
{
    const char *path = path_of(name);
    remove(path);
    FILE *file = fopen(path, "wb");
    if (!file || (content->count && fwrite(content->data, content->count, 1, file) != 1) || fclose(file) != 0) abort();
    return path;
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- reading from the edge of a page ---- */

typedef tw_status reader(const char *path, const tw_mapping *file, tw_weights **weights, tw_error *error);

/* A copy of the file whose last byte is followed by a page that may not be touched. */
typedef struct edge {
    uint8_t *pages;
    size_t size;
    tw_mapping file;
} edge;

static edge make_edge(const bytes *content)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (content->count + page - 1) / page * page;
    edge made = {.size = room + page};
    made.pages = mmap(NULL, made.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made.pages == MAP_FAILED || mprotect(made.pages + room, page, PROT_NONE) != 0) abort();
    made.file = (tw_mapping){made.pages + room - content->count, content->count};
    if (content->count) memcpy((uint8_t *)made.file.data, content->data, content->count);
    return made;
}

/* Every byte of every tensor is there, and within the file or a copy. */
static uint64_t touch(const tw_weights *weights)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < tw_weights_count(weights); i++) {
        const tw_tensor *tensor = tw_weights_at(weights, i);
        size_t count = 0;
        if (tw_shape_count(&tensor->shape, tensor->dtype, &count, NULL) != TW_OK) abort();
        const uint8_t *data = tensor->data;
        for (size_t k = 0; k < count * tw_dtype_bytes(tensor->dtype); k++) sum += data[k];
        if (tw_weights_find(weights, tw_weights_name(weights, i)) != tensor) abort();
    }
    return sum;
}

/* One clear line that names the file. */
static bool is_clear(const tw_error *error)
{
    return error->status != TW_OK && strncmp(error->message, "file", 4) == 0 && strlen(error->message) > 10 &&
           !strchr(error->message, '\n');
}

/* True where it is valid; otherwise the error is checked. */
static bool read_edge(reader *read, const bytes *content, tw_error *error)
{
    edge at = make_edge(content);
    tw_weights *weights = NULL;
    *error = (tw_error){0};
    tw_status status = read("file", &at.file, &weights, error);
    if (status == TW_OK) {
        volatile uint64_t sum = touch(weights);
        (void)sum;
        tw_weights_release(weights); /* its munmap() finds no page's start, or the page */
    } else if (weights || status != error->status || !is_clear(error)) {
        test_fail(__FILE__, __LINE__, "status %d, error \"%s\"", (int)status, error->message);
    }
    munmap(at.pages, at.size);
    return status == TW_OK;
}

static void check_refused(reader *read, const bytes *content, const char *part)
{
    tw_error error;
    CHECK_MSG(!read_edge(read, content, &error), "valid, expected an error with \"%s\"", part);
    CHECK_CONTAINS(error.message, part);
}

/* ---- safetensors ---- */

static bytes safetensors_of(const char *json, size_t data)
{
    bytes file = {0};
    append_number(&file, strlen(json), 8);
    append_text(&file, json);
    for (size_t i = 0; i < data; i++) append(&file, &(uint8_t){(uint8_t)(i + 1)}, 1);
    return file;
}

static const char good_json[] = "{\"__metadata__\":{\"format\":\"pt\"},"
                                "\"b.weight\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                                "\"a\":{\"dtype\":\"I8\",\"shape\":[3],\"data_offsets\":[24,27]},"
                                "\"empty\":{\"dtype\":\"BF16\",\"shape\":[0,7],\"data_offsets\":[27,27]},"
                                "\"\\u00e4\\\"\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[27,35]}} ";

static void safetensors_good(void)
{
    bytes file = safetensors_of(good_json, 35);
    tw_weights *weights;
    tw_error error = {0};
    CHECK_MSG(tw_weights_open(write_bytes("good", &file), &weights, &error) == TW_OK, "%s", error.message);
    CHECK(tw_weights_count(weights) == 4);
    CHECK_STR(tw_weights_name(weights, 0), "b.weight");
    CHECK_STR(tw_weights_name(weights, 3), "\xc3\xa4\"");
    CHECK(!tw_weights_name(weights, 4) && !tw_weights_at(weights, 4) && !tw_weights_find(weights, "b"));
    const tw_tensor *tensor = tw_weights_find(weights, "b.weight");
    CHECK(tensor && tensor == tw_weights_at(weights, 0) && tensor->dtype == TW_F32 && tensor->shape.rank == 2);
    CHECK(tensor->shape.dims[0] == 2 && tensor->shape.dims[1] == 3 && memcmp(tensor->data, "\1\2\3", 3) == 0);
    tensor = tw_weights_find(weights, "\xc3\xa4\"");
    CHECK(tensor && tensor->dtype == TW_F64 && tensor->shape.rank == 0 && memcmp(tensor->data, "\x1c\x1d", 2) == 0);
    tw_weights *second = tw_weights_retain(weights);
    tw_weights_release(weights);
    CHECK(memcmp(tw_weights_find(second, "a")->data, "\x19\x1a\x1b", 3) == 0);
    tw_weights_release(second);
    tw_weights_release(NULL);
    release_bytes(&file);
}

#define ENTRY(dtype, shape, offsets)                                                                                   \
    "{\"a\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}}"
#define BYTE "{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}"

static void safetensors_hostile(void)
{
    static const struct {
        const char *json;
        size_t data;
        const char *part;
    } cases[] = {
        {"", 0, "not a JSON object"},
        {"[]", 0, "not a JSON object"},
        {"{\"a\":", 0, "not a JSON object"},
        {"{} x", 0, "not a JSON object"},
        {"{\"a\\u0000b\":" BYTE "}", 1, "UTF-8"},
        {"{\"\xff\":" BYTE "}", 1, "UTF-8"},
        {"{\"\xed\xa0\x80\":" BYTE "}", 1, "UTF-8"},
        {"{\"\xc0\xaf\":" BYTE "}", 1, "UTF-8"},
        {"{\"a\":" BYTE ",\"a\":" BYTE "}", 1, "begins at byte 0"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]},"
         "\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}",
         0, "two tensors are called a"},
        {"{\"a\":3}", 0, "expected dtype, shape and data_offsets"},
        {"{\"a\":{}}", 0, "expected dtype, shape and data_offsets"},
        {ENTRY("U8", "[1]", "[0,1]") " ,", 1, "not a JSON object"},
        {"{\"a\":{\"dtype\":8,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "no dtype"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "expected dtype, shape and data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "expected dtype"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"more\":1}}", 1, "expected dtype"},
        {ENTRY("F8_E4M3", "[1]", "[0,1]"), 1, "dtype F8_E4M3 is not supported"},
        {ENTRY("U8", "7", "[0,1]"), 1, "no shape"},
        {ENTRY("U8", "[-1]", "[0,1]"), 1, "not a whole number"},
        {ENTRY("U8", "[1.5]", "[0,1]"), 1, "not a whole number"},
        {ENTRY("U8", "[1e300]", "[0,1]"), 1, "not a whole number"},
        {ENTRY("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, "more than 8 dimensions"},
        {ENTRY("U8", "[4294967296,4294967296]", "[0,1]"), 1, "overflows"},
        {ENTRY("U8", "[4294967296,4294967296,0]", "[0,0]"), 0, "overflows"},
        {ENTRY("F64", "[2147483648,2147483648]", "[0,1]"), 1, "too large"},
        {ENTRY("U8", "[1]", "[0]"), 1, "no pair"},
        {ENTRY("U8", "[1]", "[0,1,2]"), 1, "no pair"},
        {ENTRY("U8", "[1]", "[\"0\",1]"), 1, "no pair"},
        {ENTRY("U8", "[1]", "[0,2]"), 1, "within 1 bytes"},
        {ENTRY("U8", "[1]", "[1,0]"), 1, "do not lie within"},
        {ENTRY("U8", "[1]", "[9007199254740991,9007199254740991]"), 1, "do not lie within"},
        {ENTRY("F32", "[1]", "[0,3]"), 3, "3 bytes of data, but its shape has 4"},
        {ENTRY("U8", "[1]", "[1,2]"), 2, "begins at byte 1 of the data, expected 0"},
        {ENTRY("U8", "[1]", "[0,1]"), 2, "2 bytes of data, but the tensors have 1"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
         "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
         3, "begins at byte 1 of the data, expected 2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes file = safetensors_of(cases[i].json, cases[i].data);
        check_refused(tw_safetensors_open, &file, cases[i].part);
        release_bytes(&file);
    }
}

static void safetensors_lengths(void)
{
    static const uint64_t lengths[] = {3, 100000001, UINT64_MAX, UINT64_MAX - 7, (uint64_t)1 << 63};
    static const char *const parts[] = {"alone has 3", "at most 100000000", "at most", "at most", "at most"};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        bytes file = {0};
        append_number(&file, lengths[i], 8);
        append_text(&file, "{}");
        check_refused(tw_safetensors_open, &file, parts[i]);
        release_bytes(&file);
    }
}

/* Repeats a text between a head and a tail. */
static bytes repeated(const char *head, const char *text, size_t times, const char *tail)
{
    bytes made = {0};
    append_text(&made, head);
    for (size_t i = 0; i < times; i++) append_text(&made, text);
    append_text(&made, tail);
    return made;
}

static void check_bomb(reader *read, const bytes *file)
{
    tw_error error;
    double start = seconds();
    read_edge(read, file, &error);
    CHECK_MSG(seconds() - start < 20, "%.1f seconds", seconds() - start);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    CHECK_MSG(usage.ru_maxrss < 1536 << 10, "%ld MiB resident", usage.ru_maxrss >> 10);
}

static void safetensors_bombs(void)
{
    bytes headers[] = {repeated("{\"a\":", "[", 1 << 20, ""), repeated("{\"a\":[", "0,", 6 << 20, "0]}"),
                       repeated("{\"a\":", "{\"a\":", 1 << 20, ""), repeated("{", "\"a\":{},", 1 << 17, "\"a\":{}}")};
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        append(&headers[i], "", 1);
        bytes file = safetensors_of((const char *)headers[i].data, 0);
        check_bomb(tw_safetensors_open, &file);
        release_bytes(&file);
        release_bytes(&headers[i]);
    }
}

static void safetensors_written(void)
{
    float floats[] = {1, 2, 3};
    uint8_t small[] = {4, 5};
    double wide = 6;
    const char *names[] = {"z", "small", "wide", "none\n\"\\"};
    tw_tensor tensors[] = {
        {TW_F32, {2, {1, 3}}, floats}, {TW_U8, {1, {2}}, small}, {TW_F64, {0, {0}}, &wide}, {TW_F32, {1, {0}}, NULL}};
    char path[256];
    snprintf(path, sizeof path, "%s", path_of("written"));
    tw_weights *weights;
    tw_error error = {0};
    CHECK_MSG(tw_safetensors_write(path, names, tensors, 4, &error) == TW_OK, "%s", error.message);
    CHECK_MSG(tw_weights_open(path, &weights, &error) == TW_OK, "%s", error.message);
    CHECK(tw_weights_count(weights) == 4);
    CHECK_STR(tw_weights_name(weights, 0), "wide"); /* wider elements first, so that all are aligned */
    CHECK(memcmp(tw_weights_find(weights, "z")->data, floats, sizeof floats) == 0);
    CHECK(memcmp(tw_weights_find(weights, "small")->data, small, sizeof small) == 0);
    CHECK(tw_weights_find(weights, "none\n\"\\") && (uintptr_t)tw_weights_find(weights, "wide")->data % 8 == 0);
    tw_weights_release(weights);
    static const char *const bad[] = {"z", "__metadata__", "\xff"};
    static const char *const parts[] = {"two tensors are called", "cannot be a tensor's name", "cannot be a tensor's"};
    for (int i = 0; i < 3; i++) {
        names[1] = bad[i];
        CHECK(tw_safetensors_write(path, names, tensors, 4, &error) == TW_INVALID);
        CHECK_CONTAINS(error.message, parts[i]);
    }
    names[1] = "small";
    tensors[1].dtype = TW_ABSENT;
    CHECK(tw_safetensors_write(path, names, tensors, 4, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "has no type");
    CHECK_MSG(tw_weights_open(path, &weights, &error) == TW_OK, "a failed write lost the file: %s", error.message);
    tw_weights_release(weights);
}

/* ---- pickles ---- */

static void pickle_text(bytes *to, const char *text)
{
    append_text(to, "X");
    append_number(to, strlen(text), 4);
    append_text(to, text);
}

static void pickle_integer(bytes *to, int64_t number)
{
    append(to, "\x8a\x08", 2);
    append_number(to, (uint64_t)number, 8);
}

static void pickle_numbers(bytes *to, const int64_t *numbers, int count)
{
    append_text(to, "(");
    for (int i = 0; i < count; i++) pickle_integer(to, numbers[i]);
    append_text(to, "t");
}

typedef struct stored {
    const char *type, *key;
    int64_t elements, offset;
    int rank;
    int64_t sizes[9], strides[9];
} stored;

static void pickle_tensor(bytes *to, const stored *tensor)
{
    append_text(to, "ctorch._utils\n_rebuild_tensor_v2\n((");
    pickle_text(to, "storage");
    append_text(to, "ctorch\n");
    append_text(to, tensor->type);
    append_text(to, "\n");
    pickle_text(to, tensor->key);
    pickle_text(to, "cpu");
    pickle_integer(to, tensor->elements);
    append_text(to, "tQ");
    pickle_integer(to, tensor->offset);
    pickle_numbers(to, tensor->sizes, tensor->rank);
    pickle_numbers(to, tensor->strides, tensor->rank);
    append_text(to, "\x89"
                    "ccollections\nOrderedDict\n)RtR");
}

/* {"w": [[0, 1, 2], [3, 4, 5]], "t": its transpose, "n": 7, "h": two halves} */
static const stored good_tensors[] = {{"FloatStorage", "0", 6, 0, 2, {2, 3}, {3, 1}},
                                      {"FloatStorage", "0", 6, 0, 2, {3, 2}, {1, 3}},
                                      {"LongStorage", "1", 1, 0, 0, {0}, {0}},
                                      {"HalfStorage", "2", 3, 1, 1, {2}, {1}}};
static const char *const good_names[] = {"w", "t", "n", "h"};

static bytes good_pickle(void)
{
    bytes made = {0};
    append_text(&made, "\x80\x02}(");
    for (int i = 0; i < 4; i++) {
        pickle_text(&made, good_names[i]);
        pickle_tensor(&made, &good_tensors[i]);
    }
    append_text(&made, "u.");
    return made;
}

static const float good_floats[] = {0, 1, 2, 3, 4, 5};

static void append_storage(bytes *to, int index)
{
    if (index == 0) append(to, good_floats, sizeof good_floats);
    if (index == 1) append_number(to, 7, 8);
    if (index == 2) append(to, "\0\0\1\2\3\4", 6);
}

static bytes legacy_of(const bytes *pickle, const char *little_endian)
{
    bytes file = {0};
    append(&file, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}", 24);
    pickle_text(&file, "little_endian");
    append_text(&file, little_endian);
    append_text(&file, "s.");
    append_bytes(&file, pickle);
    append_text(&file, "\x80\x02](");
    for (int i = 0; i < 3; i++) pickle_text(&file, (char[]){(char)('0' + i), 0});
    append_text(&file, "e.");
    static const int counts[] = {6, 1, 3};
    for (int i = 0; i < 3; i++) {
        append_number(&file, (uint64_t)counts[i], 8);
        append_storage(&file, i);
    }
    return file;
}

/* ---- zip ---- */

typedef struct archive {
    bytes file, directory;
    int count;
    bool zip64;
    int method, flags;
} archive;

static const archive plain = {.count = 0};

static void add_entry(archive *to, const char *name, const bytes *content)
{
    uint32_t size = to->zip64 ? UINT32_MAX : (uint32_t)content->count;
    uint32_t offset = to->zip64 ? UINT32_MAX : (uint32_t)to->file.count;
    size_t start = to->file.count;
    for (int central = 0; central < 2; central++) {
        bytes *out = central ? &to->directory : &to->file;
        append(out, central ? "PK\1\2\0\0" : "PK\3\4", central ? 6 : 4);
        append_number(out, 45, 2);
        append_number(out, (uint64_t)to->flags, 2);
        append_number(out, (uint64_t)to->method, 2);
        append_number(out, 0, 8); /* time, date, checksum: none is read */
        append_number(out, size, 4);
        append_number(out, size, 4);
        append_number(out, strlen(name), 2);
        append_number(out, central && to->zip64 ? 28 : 0, 2);
        if (central) append(out, (uint8_t[10]){0}, 10); /* comment, disk, attributes */
        if (central) append_number(out, offset, 4);
        append_text(out, name);
    }
    append_bytes(&to->file, content);
    to->count++;
    if (!to->zip64) return;
    append_number(&to->directory, 1, 2);
    append_number(&to->directory, 24, 2);
    append_number(&to->directory, content->count, 8);
    append_number(&to->directory, content->count, 8);
    append_number(&to->directory, start, 8);
}

static bytes close_archive(archive *from)
{
    size_t start = from->file.count, directory = from->directory.count;
    append_bytes(&from->file, &from->directory);
    if (from->zip64) {
        size_t end = from->file.count;
        append_text(&from->file, "PK\6\6");
        append_number(&from->file, 44, 8);
        append_number(&from->file, 45, 4);
        append_number(&from->file, 0, 8);
        append_number(&from->file, (uint64_t)from->count, 8);
        append_number(&from->file, (uint64_t)from->count, 8);
        append_number(&from->file, directory, 8);
        append_number(&from->file, start, 8);
        append_text(&from->file, "PK\6\7");
        append_number(&from->file, 0, 4);
        append_number(&from->file, end, 8);
        append_number(&from->file, 1, 4);
    }
    append_text(&from->file, "PK\5\6");
    append_number(&from->file, 0, 4);
    append_number(&from->file, from->zip64 ? 0xffff : (uint64_t)from->count, 2);
    append_number(&from->file, from->zip64 ? 0xffff : (uint64_t)from->count, 2);
    append_number(&from->file, from->zip64 ? UINT32_MAX : directory, 4);
    append_number(&from->file, from->zip64 ? UINT32_MAX : start, 4);
    append_number(&from->file, 0, 2);
    release_bytes(&from->directory);
    return from->file;
}

static bytes zip_of(const bytes *pickle, archive how)
{
    add_entry(&how, "net/data.pkl", pickle);
    for (int i = 0; i < 3; i++) {
        bytes storage = {0};
        append_storage(&storage, i);
        add_entry(&how, (const char *[]){"net/data/0", "net/data/1", "net/data/2"}[i], &storage);
        release_bytes(&storage);
    }
    return close_archive(&how);
}

/* ---- state_dicts ---- */

static void check_good(const char *path)
{
    static const float transposed[] = {0, 3, 1, 4, 2, 5};
    tw_weights *weights;
    tw_error error = {0};
    CHECK_MSG(tw_weights_open(path, &weights, &error) == TW_OK, "%s", error.message);
    CHECK(tw_weights_count(weights) == 4);
    for (size_t i = 0; i < 4; i++) CHECK_STR(tw_weights_name(weights, i), good_names[i]);
    CHECK(memcmp(tw_weights_find(weights, "w")->data, good_floats, sizeof good_floats) == 0);
    const tw_tensor *copy = tw_weights_find(weights, "t"), *halves = tw_weights_find(weights, "h");
    CHECK(copy->shape.dims[0] == 3 && memcmp(copy->data, transposed, sizeof transposed) == 0);
    CHECK(halves->dtype == TW_F16 && halves->shape.dims[0] == 2 && memcmp(halves->data, "\1\2\3\4", 4) == 0);
    CHECK(tw_weights_find(weights, "n")->dtype == TW_I64 && memcmp(tw_weights_find(weights, "n")->data, "\7", 2) == 0);
    tw_weights_release(weights);
}

static void state_dicts_good(void)
{
    bytes pickle = good_pickle();
    bytes files[] = {legacy_of(&pickle, "\x88"), zip_of(&pickle, plain), zip_of(&pickle, (archive){.zip64 = true})};
    for (int i = 0; i < 3; i++) {
        check_good(write_bytes("good.pth", &files[i]));
        release_bytes(&files[i]);
    }
    release_bytes(&pickle);
}

/* What PyTorch 0.1 and Python 2 wrote: Parameters with a state, text as bytes, OrderedDict([[key, value]]). */
static void state_dicts_of_old(void)
{
    bytes pickle = {0};
    append_text(&pickle, "\x80\x02"
                         "ccollections\nOrderedDict\n](](U\1wctorch.nn.parameter\nParameter\n");
    pickle_tensor(&pickle, &good_tensors[0]);
    append_text(&pickle, "\x85R(\x88\x89Ntbee\x85R.");
    bytes file = zip_of(&pickle, plain);
    tw_weights *weights;
    tw_error error = {0};
    CHECK_MSG(tw_weights_open(write_bytes("old.pth", &file), &weights, &error) == TW_OK, "%s", error.message);
    CHECK(tw_weights_find(weights, "w") && memcmp(tw_weights_find(weights, "w")->data, good_floats, 24) == 0);
    tw_weights_release(weights);
    release_bytes(&file);
    release_bytes(&pickle);
}

#define P(text) text, sizeof text - 1

static void pickles_hostile(void)
{
    static const struct {
        const char *pickle;
        size_t length;
        const char *part;
    } cases[] = {
        {P("cos\nsystem\n."), "asks for os.system"},
        {P("cposix\nsystem\n(X\2\0\0\0idtR."), "asks for posix.system"},
        {P("ctorch.storage\n_load_from_bytes\n."), "asks for torch._load_from_bytes"},
        {P("ctorch\nload\n."), "asks for torch.load"},
        {P("c__builtin__\neval\n."), "asks for __builtin__.eval"},
        {P("\x8c\2os\x8c\6system\x93."), "asks for os.system"},
        {P("\x8c\2os\x8c\6sys\x1b[2\x93."), "asks for os.sys?[2"},
        {P("NN\x93."), "a name that is not text"},
        {P("cos"), "a name without an end"},
        {P("ios\nsystem\n."), "opcode 0x69"},
        {P("(cos\nsystem\no."), "asks for os.system"},
        {P("\x82\1."), "opcode 0x82"},
        {P("I1\n."), "opcode 0x49"},
        {P("\x80\1."), "protocol 1"},
        {P("\x80\xff."), "protocol 255"},
        {P("."), "missing on the stack"},
        {P("(."), "missing on the stack"},
        {P("t."), "a mark is missing"},
        {P("\x85."), "missing on the stack"},
        {P("(\x86."), "missing on the stack"},
        {P("e."), "a mark is missing"},
        {P("}(Nu."), "key without a value"},
        {P("](NNu."), "expected a dictionary"},
        {P("}Na."), "expected a list"},
        {P("NR."), "missing on the stack"},
        {P("N)R."), "calls something"},
        {P("ctorch\nFloatStorage\n)R."), "with arguments that it does not take"},
        {P("ccollections\nOrderedDict\nN\x85R."), "something else than pairs"},
        {P("ccollections\nOrderedDict\n](Ne\x85R."), "something else than pairs"},
        {P("ccollections\nOrderedDict\nNN\x86R."), "with arguments that it does not take"},
        {P("ctorch._utils\n_rebuild_tensor_v2\n)R."), "a tensor that is not storage"},
        {P("ctorch._utils\n_rebuild_parameter\n)R."), "with arguments that it does not take"},
        {P("NQ."), "not a storage"},
        {P(")Q."), "not a storage"},
        {P("h\1."), "memo slot 1 is empty"},
        {P("Nq\5h\1."), "memo slot 1 is empty"},
        {P("j\xff\xff\xff\xff."), "memo slot 4294967295 is empty"},
        {P("Nr\xff\xff\xff\xff."), "impossible place"},
        {P("Nr\xff\xff\1\0."), "out of order"},
        {P("q\1."), "nothing to remember"},
        {P("NNb."), "a state for something that has none"},
        {P("X\xff\xff\xff\xff."), "too early"},
        {P("\x8d\xff\xff\xff\xff\xff\xff\xff\xff."), "too early"},
        {P("\x95\xff\xff\xff\xff\xff\xff\xff\x7f."), "goes beyond the file"},
        {P("N."), "expected a dictionary"},
        {P("]."), "expected a dictionary"},
        {P("}."), "no tensors"},
        {P("}(K\1K\2u."), "no tensors"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes pickle = {0};
        append(&pickle, cases[i].pickle, cases[i].length);
        bytes zip = zip_of(&pickle, plain), legacy = legacy_of(&pickle, "\x88");
        tw_error error;
        check_refused(tw_pytorch_open, &zip, cases[i].part);
        CHECK_MSG(!read_edge(tw_pytorch_open, &legacy, &error), "case %zu is valid in a legacy file", i);
        release_bytes(&zip);
        release_bytes(&legacy);
        release_bytes(&pickle);
    }
}

/* One tensor under the name "w", in both containers. */
static void check_tensor_refused(const stored *tensor, const char *part)
{
    bytes pickle = {0};
    append_text(&pickle, "\x80\x02}");
    pickle_text(&pickle, "w");
    pickle_tensor(&pickle, tensor);
    append_text(&pickle, "s.");
    bytes files[] = {legacy_of(&pickle, "\x88"), zip_of(&pickle, plain)};
    tw_error error;
    check_refused(tw_pytorch_open, &files[1], part);
    CHECK(!read_edge(tw_pytorch_open, &files[0], &error));
    for (int i = 0; i < 2; i++) release_bytes(&files[i]);
    release_bytes(&pickle);
}

static void tensors_hostile(void)
{
    static const struct {
        stored tensor;
        const char *part;
    } cases[] = {
        {{"FloatStorage", "0", 6, 1, 1, {6}, {1}}, "beyond its storage of 6 elements"},
        {{"FloatStorage", "0", 6, 0, 1, {7}, {1}}, "beyond its storage"},
        {{"FloatStorage", "0", 6, 0, 1, {4}, {2}}, "beyond its storage"},
        {{"FloatStorage", "0", 6, 6, 0, {0}, {0}}, "beyond its storage"},
        {{"FloatStorage", "0", 6, 7, 1, {0}, {1}}, "beyond its storage"},
        {{"FloatStorage", "0", 6, INT64_MAX, 1, {2}, {INT64_MAX}}, "beyond its storage"},
        {{"FloatStorage", "0", 6, 0, 2, {3, 3}, {INT64_MAX, INT64_MAX}}, "beyond its storage"},
        {{"FloatStorage", "0", 6, 0, 2, {INT64_MAX, INT64_MAX}, {0, 0}}, "overflows"},
        {{"FloatStorage", "0", 6, 0, 1, {INT64_MAX}, {0}}, "too large"},
        {{"FloatStorage", "0", 6, 0, 1, {1 << 30}, {0}}, "repeats its storage"},
        {{"FloatStorage", "0", 6, -1, 1, {1}, {1}}, "not storage, offset, sizes and strides"},
        {{"FloatStorage", "0", 6, 0, 1, {-1}, {1}}, "not storage, offset, sizes and strides"},
        {{"FloatStorage", "0", 6, 0, 1, {1}, {-1}}, "not storage, offset, sizes and strides"},
        {{"FloatStorage", "0", 6, 0, 9, {1}, {1}}, "at most 8 dimensions"},
        {{"FloatStorage", "0", -1, 0, 1, {1}, {1}}, "not a storage"},
        {{"FloatStorage", "0", 7, 0, 1, {7}, {1}}, "too few for 7 of float32"},
        {{"DoubleStorage", "0", 6, 0, 1, {6}, {1}}, "too few for 6 of float64"},
        {{"FloatStorage", "0", INT64_MAX, 0, 1, {1}, {1}}, "too few for"},
        {{"FloatStorage", "../data.pkl", 1, 0, 1, {1}, {1}}, "no storage \"../data.pkl\""},
        {{"FloatStorage", "9", 6, 0, 1, {6}, {1}}, "no storage \"9\""},
        {{"ComplexFloatStorage", "0", 3, 0, 1, {3}, {1}}, "asks for torch.ComplexFloatStorage"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) check_tensor_refused(&cases[i].tensor, cases[i].part);
}

static void containers_hostile(void)
{
    bytes pickle = good_pickle(), nothing = {0}, foreign = {0};
    append(&foreign, "\x80\x02K\1.", 5);
    bytes big = legacy_of(&pickle, "\x89"), packed = zip_of(&pickle, (archive){.method = 8}),
          secret = zip_of(&pickle, (archive){.flags = 1}), empty = zip_of(&nothing, plain);
    check_refused(tw_pytorch_open, &big, "big-endian");
    check_refused(tw_pytorch_open, &packed, "compressed, expected stored");
    check_refused(tw_pytorch_open, &secret, "encrypted");
    check_refused(tw_pytorch_open, &empty, "too early");
    check_refused(tw_pytorch_open, &foreign, "not one of torch.save's");
    archive twice = plain, other = plain, order = plain;
    add_entry(&twice, "net/data.pkl", &pickle);
    add_entry(&twice, "net/data.pkl", &pickle);
    add_entry(&other, "deep/er/data.pkl", &pickle);
    add_entry(&order, "net/byteorder", &foreign);
    bytes double_entry = close_archive(&twice), no_pickle = close_archive(&other), odd = zip_of(&pickle, order);
    check_refused(tw_pytorch_open, &double_entry, "there twice");
    check_refused(tw_pytorch_open, &no_pickle, "without data.pkl");
    check_refused(tw_pytorch_open, &odd, "big-endian");
    bytes short_field = zip_of(&pickle, (archive){.zip64 = true});
    uint8_t *field = memmem(short_field.data, short_field.count, "\1\0\x18\0", 4);
    CHECK(field);
    field[2] = 8; /* room for one number, where three are due */
    check_refused(tw_pytorch_open, &short_field, "its zip64 field is damaged");
    bytes *all[] = {&short_field, &pickle, &foreign, &big, &packed, &secret, &empty, &double_entry, &no_pickle, &odd};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) release_bytes(all[i]);
}

/* A list that holds itself, its own key, a state_dict within itself. */
static void pickles_in_circles(void)
{
    static const char *const cycles[] = {"]q\1h\1a.", "}q\1(X\1\1\1\1", "}q\1h\1h\1s.",
                                         "]q\1(h\1h\1h\1e\x85q\2h\2\x86."};
    for (size_t i = 0; i < sizeof cycles / sizeof *cycles; i++) {
        bytes pickle = {0};
        append_text(&pickle, cycles[i]);
        bytes file = zip_of(&pickle, plain);
        tw_error error;
        CHECK(!read_edge(tw_pytorch_open, &file, &error));
        release_bytes(&file);
        release_bytes(&pickle);
    }
    bytes pickle = {0};
    append_text(&pickle, "}q\1");
    pickle_text(&pickle, "state_dict");
    append_text(&pickle, "h\1s.");
    bytes file = zip_of(&pickle, plain);
    check_refused(tw_pytorch_open, &file, "no tensors");
    release_bytes(&file);
    release_bytes(&pickle);
}

static void check_pickle_bomb(bytes *pickle)
{
    bytes zip = zip_of(pickle, plain), legacy = legacy_of(pickle, "\x88");
    check_bomb(tw_pytorch_open, &zip);
    check_bomb(tw_pytorch_open, &legacy);
    release_bytes(&zip);
    release_bytes(&legacy);
    release_bytes(pickle);
}

static void pickle_bombs(void)
{
    static const char *const units[] = {"(",  "N",  "]",   "}",        ")",    "\x85",         "]\x94",
                                        "(t", "(]", "}}s", "N\x85q\1", "\x94", "h\1h\1\x86q\1"};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        bytes pickle = repeated("\x80\x02Nq\1", units[i], (2 << 20) / strlen(units[i]), ".");
        check_pickle_bomb(&pickle);
    }
    bytes marks = repeated("", "(", 500000, ""); /* each tuple must not walk over all marks */
    for (int i = 0; i < 500000; i++) append_text(&marks, "t");
    check_pickle_bomb(&marks);
}

/* One list of pairs for many dictionaries, and one transposed tensor under many names: each small in the file. */
static void repetition_bombs(void)
{
    bytes pairs = repeated("]q\1(", "NN\x86", 200000, "e"), tensors = {0};
    for (int i = 0; i < 20000; i++) append_text(&pairs, "ccollections\nOrderedDict\nh\1\x85R");
    append_text(&pairs, ".");
    check_pickle_bomb(&pairs);
    append_text(&tensors, "}(");
    pickle_text(&tensors, "t");
    pickle_tensor(&tensors, &good_tensors[1]);
    append_text(&tensors, "q\1");
    for (int i = 0; i < 5000; i++) {
        char name[16];
        snprintf(name, sizeof name, "U\4%04dh\1", i);
        append_text(&tensors, name);
    }
    append_text(&tensors, "u.");
    bytes file = zip_of(&tensors, plain);
    check_refused(tw_pytorch_open, &file, "more than the file could hold");
    release_bytes(&file);
    release_bytes(&tensors);
}

/* A name of a mebibyte, remembered, for one tensor after the other: terabytes if it were copied each time. */
static void names_bomb(void)
{
    bytes name = repeated("", "n", 1 << 20, ""), pickle = {0};
    append(&name, "", 1);
    append_text(&pickle, "}(");
    pickle_text(&pickle, (const char *)name.data);
    append_text(&pickle, "q\1");
    pickle_tensor(&pickle, &good_tensors[0]);
    append_text(&pickle, "q\2");
    for (int i = 0; i < 500000; i++) append_text(&pickle, "h\1h\2");
    append_text(&pickle, "u.");
    bytes file = zip_of(&pickle, plain);
    check_refused(tw_pytorch_open, &file, "bytes of names, more than the file could hold");
    release_bytes(&file);
    check_pickle_bomb(&pickle);
    release_bytes(&name);
}

/* ---- damage ---- */

typedef struct sample {
    const char *name;
    reader *read;
    bytes file;
} sample;

enum { SAMPLES = 4 };

static void make_samples(sample *samples)
{
    bytes pickle = good_pickle();
    samples[0] = (sample){"safetensors", tw_safetensors_open, safetensors_of(good_json, 35)};
    samples[1] = (sample){"legacy", tw_pytorch_open, legacy_of(&pickle, "\x88")};
    samples[2] = (sample){"zip", tw_pytorch_open, zip_of(&pickle, plain)};
    samples[3] = (sample){"zip64", tw_pytorch_open, zip_of(&pickle, (archive){.zip64 = true})};
    release_bytes(&pickle);
}

static void free_samples(sample *samples)
{
    for (int i = 0; i < SAMPLES; i++) release_bytes(&samples[i].file);
}

static void cut_at_each_length(void)
{
    sample samples[SAMPLES];
    make_samples(samples);
    for (int i = 0; i < SAMPLES; i++) {
        tw_error error;
        CHECK_MSG(read_edge(samples[i].read, &samples[i].file, &error), "%s: %s", samples[i].name, error.message);
        for (size_t length = 4; length < samples[i].file.count; length++) {
            bytes cut = {samples[i].file.data, length, 0};
            bool valid = read_edge(samples[i].read, &cut, &error);
            CHECK_MSG(!valid, "%s is valid when cut at %zu", samples[i].name, length);
        }
    }
    for (size_t length = 0; length < 16; length++) { /* by content: too short to be told apart */
        for (int i = 0; i < SAMPLES; i++) {
            bytes cut = {samples[i].file.data, length, 0};
            tw_weights *weights;
            tw_error error = {0};
            CHECK(tw_weights_open(write_bytes("cut", &cut), &weights, &error) == TW_INVALID && !weights);
            CHECK_CONTAINS(error.message, "cut: ");
        }
    }
    free_samples(samples);
}

static void flipped_bits(void)
{
    sample samples[SAMPLES];
    make_samples(samples);
    for (int i = 0; i < SAMPLES; i++)
        for (int round = 0; round < 4000; round++) {
            bytes damaged = copy_of(&samples[i].file);
            for (int flips = 1 + (int)(random_number() % 4); flips > 0; flips--)
                damaged.data[random_number() % damaged.count] ^= (uint8_t)(1 << random_number() % 8);
            tw_error error;
            if (damaged.data[0] == samples[i].file.data[0]) read_edge(samples[i].read, &damaged, &error);
            release_bytes(&damaged);
        }
    free_samples(samples);
}

/* At each place a number of each size becomes the smallest and largest of its kind, and its neighbours. */
static void extreme_numbers(void)
{
    static const uint64_t numbers[] = {0,          1,
                                       0x7f,       0x80,
                                       0xff,       0x7fff,
                                       0xffff,     0x7fffffff,
                                       0x80000000, 0xffffffff,
                                       INT64_MAX,  (uint64_t)1 << 63,
                                       UINT64_MAX, UINT64_MAX - 8};
    sample samples[SAMPLES];
    make_samples(samples);
    for (int i = 0; i < SAMPLES; i++)
        for (size_t at = 1; at < samples[i].file.count; at++)
            for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
                for (size_t size = 1; size <= 8; size *= 2) {
                    if (at + size > samples[i].file.count || (size < 8 && numbers[k] >> 8 * size)) continue;
                    uint8_t kept[8];
                    uint8_t *place = samples[i].file.data + at;
                    memcpy(kept, place, size);
                    for (size_t b = 0; b < size; b++) place[b] = (uint8_t)(numbers[k] >> 8 * b);
                    tw_error error;
                    read_edge(samples[i].read, &samples[i].file, &error);
                    memcpy(place, kept, size);
                }
    free_samples(samples);
}

/* Pieces are left out, repeated and moved: what follows is whole, but not where it was. */
static void moved_pieces(void)
{
    sample samples[SAMPLES];
    make_samples(samples);
    for (int i = 0; i < SAMPLES; i++)
        for (int round = 0; round < 4000; round++) {
            const bytes *from = &samples[i].file;
            size_t a = 1 + random_number() % (from->count - 1), b = 1 + random_number() % (from->count - 1);
            bytes made = {0};
            append(&made, from->data, a);
            append(&made, from->data + b, from->count - b);
            tw_error error;
            read_edge(samples[i].read, &made, &error);
            release_bytes(&made);
        }
    free_samples(samples);
}

/* ---- npy ---- */

static bytes npy_of(const char *header, int version, size_t data)
{
    bytes file = {0};
    append(&file, "\x93NUMPY", 6);
    append_number(&file, (uint64_t)version, 2);
    append_number(&file, strlen(header), version == 1 ? 2 : 4);
    append_text(&file, header);
    for (size_t i = 0; i < data; i++) append(&file, &(uint8_t){(uint8_t)(i + 1)}, 1);
    return file;
}

static tw_status read_npy(const bytes *file, size_t max_bytes, tw_tensor *tensor, tw_error *error)
{
    *error = (tw_error){0};
    return tw_npy_read(write_bytes("a.npy", file), max_bytes, tensor, error);
}

static void npy_good(void)
{
    static const struct {
        const char *header, *data; /* what the tensor holds */
        tw_dtype dtype;
        int version, rank;
        size_t bytes;
    } cases[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }   \n", "\1\2\3\4", TW_F32, 1, 1, 4},
        {"{\"shape\":(2,3),\"descr\":\"|u1\",\"fortran_order\":True}", "\1\3\5\2\4\6", TW_U8, 2, 2, 6},
        {"{'descr': '|b1', 'fortran_order': True, 'shape': ()}", "\1", TW_BOOL, 3, 0, 1},
        {"{'descr': '<i8', 'fortran_order': False, 'shape': (3, 0), }\n", "", TW_I64, 1, 2, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes file = npy_of(cases[i].header, cases[i].version, cases[i].bytes);
        tw_tensor tensor;
        tw_error error;
        CHECK_MSG(read_npy(&file, cases[i].bytes + 1, &tensor, &error) == TW_OK, "%s", error.message);
        CHECK(tensor.dtype == cases[i].dtype && tensor.shape.rank == cases[i].rank);
        CHECK(memcmp(tensor.data, cases[i].data, cases[i].bytes) == 0);
        tw_tensor_free(&tensor);
        release_bytes(&file);
    }
}

#define HEADER(descr, order, shape) "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape "}"

static void npy_hostile(void)
{
    static const struct {
        const char *header;
        size_t data;
        const char *part;
    } cases[] = {
        {"", 0, "expected a dictionary"},
        {"{", 0, "a key and a colon"},
        {"{}", 0, "once each"},
        {HEADER("'|u1'", "False", "(1,)") " 0", 1, "nothing after"},
        {HEADER("'|u1'", "False", "(1,)") "\n\n", 1, "nothing after"},
        {"{'descr': '|u1' 'fortran_order': False, 'shape': (1,)}", 1, "a comma"},
        {"{'descr': '|u1', 'descr': '|u1', 'shape': (1,)}", 1, "once each"},
        {"{'descr': '|u1', 'other': 1}", 1, "once each"},
        {HEADER("'>f4'", "False", "(1,)"), 4, "big-endian"},
        {HEADER("'<u4'", "False", "(1,)"), 4, "npy dtype <u4"},
        {HEADER("'|O'", "False", "(1,)"), 4, "npy dtype |O"},
        {HEADER("[('a', '<f4')]", "False", "(1,)"), 4, "a simple dtype"},
        {HEADER("'\\x3cf4'", "False", "(1,)"), 4, "a simple dtype"},
        {HEADER("'|u1'", "0", "(1,)"), 1, "True or False"},
        {HEADER("'|u1'", "False", "1"), 1, "a tuple"},
        {HEADER("'|u1'", "False", "(1)"), 1, "a tuple"},
        {HEADER("'|u1'", "False", "(1 1)"), 1, "a comma"},
        {HEADER("'|u1'", "False", "(,)"), 1, "whole numbers"},
        {HEADER("'|u1'", "False", "(-1,)"), 1, "whole numbers"},
        {HEADER("'|u1'", "False", "(1.0,)"), 1, "a comma"},
        {HEADER("'|u1'", "False", "(99999999999999999999,)"), 1, "whole numbers"},
        {HEADER("'|u1'", "False", "(4294967296,4294967296)"), 1, "overflows"},
        {HEADER("'<f8'", "True", "(4294967296,4294967295,0)"), 0, "too large"},
        {HEADER("'|u1'", "False", "(1,1,1,1,1,1,1,1,1)"), 1, "8 dimensions"},
        {HEADER("'|u1'", "False", "(3,)"), 2, "truncated npy file: 2 bytes of data, expected 3"},
        {HEADER("'|u1'", "False", "(3,)"), 4, "trailing bytes: 4 bytes of data, expected 3"},
        {HEADER("'|u1'", "False", "(99,)"), 99, "99 bytes of data, allowed are 98"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bytes file = npy_of(cases[i].header, 1, cases[i].data);
        tw_tensor tensor;
        tw_error error;
        CHECK_MSG(read_npy(&file, 98, &tensor, &error) == TW_INVALID && !tensor.data, "case %zu", i);
        CHECK_CONTAINS(error.message, cases[i].part);
        CHECK_CONTAINS(error.message, "a.npy: ");
        release_bytes(&file);
    }
}

static void npy_damaged(void)
{
    bytes file = npy_of(HEADER("'<f4'", "True", "(2, 3)"), 2, 24);
    tw_tensor tensor;
    tw_error error;
    for (size_t length = 0; length < file.count; length++)
        CHECK_MSG(read_npy(&(bytes){file.data, length, 0}, 0, &tensor, &error) == TW_INVALID, "cut at %zu", length);
    for (int round = 0; round < 4000; round++) {
        bytes damaged = copy_of(&file);
        for (int flips = 1 + (int)(random_number() % 3); flips > 0; flips--)
            damaged.data[random_number() % damaged.count] ^= (uint8_t)(1 << random_number() % 8);
        if (read_npy(&damaged, 0, &tensor, &error) == TW_OK)
            tw_tensor_free(&tensor);
        else
            CHECK_CONTAINS(error.message, "a.npy: ");
        release_bytes(&damaged);
    }
    release_bytes(&file);
}

static void npy_written(void)
{
    int16_t data[6] = {1, -2, 3, -4, 5, -6};
    tw_tensor tensor = {TW_I16, {3, {1, 2, 3}}, data}, back;
    tw_error error = {0};
    char path[256];
    snprintf(path, sizeof path, "%s", path_of("written.npy"));
    CHECK_MSG(tw_npy_write(path, &tensor, &error) == TW_OK, "%s", error.message);
    CHECK_MSG(tw_npy_read(path, 0, &back, &error) == TW_OK, "%s", error.message);
    CHECK(back.dtype == TW_I16 && back.shape.rank == 3 && memcmp(back.data, data, sizeof data) == 0);
    tw_tensor_free(&back);
    tensor.dtype = TW_BF16;
    CHECK(tw_npy_write(path, &tensor, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "no dtype for bfloat16");
}

/* ---- files ---- */

/* Names in the test's folder that begin as temporary files do. */
static int left_over(void)
{
    int count = 0;
    DIR *folder = opendir(test_folder());
    if (!folder) abort();
    for (struct dirent *entry; (entry = readdir(folder));) count += strncmp(entry->d_name, ".tilewise-", 10) == 0;
    closedir(folder);
    return count;
}

static void files_that_cannot_be_read(void)
{
    tw_mapping file;
    tw_error error = {0};
    CHECK(tw_file_map(path_of("missing"), &file, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "missing: cannot be opened: No such file");
    CHECK(tw_file_map(test_folder(), &file, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "a folder");
    CHECK(tw_file_map("/dev/null", &file, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "not a regular file");
    CHECK(mkfifo(path_of("pipe"), 0600) == 0);
    CHECK(tw_file_map(path_of("pipe"), &file, &error) == TW_INVALID); /* and does not wait for a writer */
    CHECK_CONTAINS(error.message, "not a regular file");
    bytes nothing = {0};
    CHECK(tw_file_map(write_bytes("empty", &nothing), &file, &error) == TW_OK && file.data && file.bytes == 0);
    tw_file_unmap(&file);
}

static void files_that_cannot_be_written(void)
{
    float data[4] = {0};
    tw_tensor tensor = {TW_F32, {1, {4}}, data};
    tw_error error = {0};
    CHECK(tw_npy_write(path_of("missing/a.npy"), &tensor, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "missing/a.npy: cannot be written: its folder does not exist");
    CHECK(tw_npy_write(test_folder(), &tensor, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "a folder");
    CHECK(tw_npy_write("/dev/null", &tensor, &error) == TW_INVALID);
    CHECK_CONTAINS(error.message, "not a regular file");
    CHECK(left_over() == 0);
}

/* A limit on the size of files fails a write as a full disk does. */
static void full_disk(void)
{
    enum { COUNT = 1 << 16 };
    float *data = calloc(COUNT, sizeof *data);
    tw_tensor tensor = {TW_F32, {1, {4}}, data}, back;
    tw_error error = {0};
    struct rlimit old, limit;
    char path[256];
    snprintf(path, sizeof path, "%s", path_of("full.npy"));
    CHECK(data && tw_npy_write(path, &tensor, &error) == TW_OK);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    limit = (struct rlimit){COUNT, old.rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    tensor.shape.dims[0] = COUNT;
    tw_status status = tw_npy_write(path, &tensor, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    CHECK(status == TW_FAILED && left_over() == 0);
    CHECK_CONTAINS(error.message, "full.npy: cannot be written: File too large");
    CHECK(tw_npy_read(path, 0, &back, &error) == TW_OK && back.shape.dims[0] == 4); /* the old one is whole */
    tw_tensor_free(&back);
    free(data);
}

static void replaced_files(void)
{
    char target[256], link[256];
    snprintf(target, sizeof target, "%s", path_of("target"));
    snprintf(link, sizeof link, "%s", path_of("link"));
    bytes old = {0};
    append_text(&old, "old");
    write_bytes("target", &old);
    release_bytes(&old);
    CHECK(symlink("target", link) == 0);
    tw_file_writer file;
    tw_error error = {0};
    CHECK(tw_file_begin(&file, link, &error) == TW_OK && tw_file_write(&file, "new!", 4, &error) == TW_OK);
    struct stat info;
    CHECK(stat(target, &info) == 0 && info.st_size == 3); /* until it is complete */
    CHECK(tw_file_commit(&file, &error) == TW_OK);
    CHECK(stat(target, &info) == 0 && info.st_size == 4 && lstat(link, &info) == 0 && S_ISLNK(info.st_mode));
    mode_t mask = umask(0);
    umask(mask);
    CHECK(stat(target, &info) == 0 && (info.st_mode & 0777) == (0666 & ~mask));
    CHECK(tw_file_begin(&file, link, &error) == TW_OK && left_over() == 1);
    tw_file_discard(&file);
    tw_file_discard(&file);
    CHECK(stat(target, &info) == 0 && info.st_size == 4 && left_over() == 0);
}

int main(int argc, char **argv)
{
    static const test_case cases[] = {
        {"safetensors_good", safetensors_good},
        {"safetensors_hostile", safetensors_hostile},
        {"safetensors_lengths", safetensors_lengths},
        {"safetensors_bombs", safetensors_bombs},
        {"safetensors_written", safetensors_written},
        {"state_dicts_good", state_dicts_good},
        {"state_dicts_of_old", state_dicts_of_old},
        {"pickles_hostile", pickles_hostile},
        {"tensors_hostile", tensors_hostile},
        {"containers_hostile", containers_hostile},
        {"pickles_in_circles", pickles_in_circles},
        {"pickle_bombs", pickle_bombs},
        {"repetition_bombs", repetition_bombs},
        {"names_bomb", names_bomb},
        {"cut_at_each_length", cut_at_each_length},
        {"flipped_bits", flipped_bits},
        {"extreme_numbers", extreme_numbers},
        {"moved_pieces", moved_pieces},
        {"npy_good", npy_good},
        {"npy_hostile", npy_hostile},
        {"npy_damaged", npy_damaged},
        {"npy_written", npy_written},
        {"files_that_cannot_be_read", files_that_cannot_be_read},
        {"files_that_cannot_be_written", files_that_cannot_be_written},
        {"full_disk", full_disk},
        {"replaced_files", replaced_files},
    };
    return test_main(argc, argv, cases, sizeof cases / sizeof *cases);
}

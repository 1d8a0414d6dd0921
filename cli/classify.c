/* tilewise classify: what is in a photograph, by one or several devices side by side. */
#include "cli.h"
#include "core/status.h"
#include "layers.h"
#include "photos.h"
#include "progress.h"
#include "session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A photograph's place in the batch that is being filled, or what is wrong with it. */
typedef struct photo {
    const char *path;
    int slot;    /* -1: bad */
    char *error; /* null: none */
} photo;

typedef struct rank {
    int class;
    float probability;
} rank;

typedef struct classifier {
    const cli_options *options;
    cli_model model;
    cli_labels labels;
    tw_results *results;
    int devices, batch, top;
    tw_network networks[CLI_MAX_LIST];
    tw_device_info infos[CLI_MAX_LIST];
    tw_row_key keys[CLI_MAX_LIST];
    size_t image_size; /* floats of one image */
    rank *ranks;       /* [devices][classes]: of one image, the most probable class first */
    int bad, disagreements;
} classifier;

/* ---- probabilities ---- */

static void softmax(float *x, size_t count)
{
    double sum = 0;
    float largest = -INFINITY;
    for (size_t i = 0; i < count; i++)
        if (x[i] > largest) largest = x[i];
    for (size_t i = 0; i < count; i++) sum += exp((double)x[i] - largest);
    for (size_t i = 0; i < count; i++) x[i] = (float)(exp((double)x[i] - largest) / sum);
}

/* NaN last; equal ones by class. */
static int more_probable_first(const void *a, const void *b)
{
    const rank *x = a, *y = b;
    if (isnan(x->probability) != isnan(y->probability)) return isnan(x->probability) ? 1 : -1;
    if (x->probability != y->probability) return x->probability < y->probability ? 1 : -1;
    return x->class - y->class;
}

static const float *probabilities(const classifier *c, int device, int slot)
{
    return (const float *)c->networks[device].output.data + (size_t)slot * c->model.classes;
}

static const rank *ranks_of(const classifier *c, int device)
{
    return c->ranks + (size_t)device * c->model.classes;
}

static void rank_classes(classifier *c, int slot)
{
    for (int d = 0; d < c->devices; d++) {
        const float *p = probabilities(c, d, slot);
        rank *ranks = c->ranks + (size_t)d * c->model.classes;
        for (size_t i = 0; i < c->model.classes; i++) ranks[i] = (rank){(int)i, p[i]};
        qsort(ranks, c->model.classes, sizeof *ranks, more_probable_first);
    }
}

/* Two devices agree where no class's probability differs by more than rounding can explain. */
static bool agrees(const classifier *c, int device, int slot)
{
    double tolerance = c->options->precisions.items[0] == TW_PRECISION_FP32 ? 1e-3 : 2e-2;
    const float *a = probabilities(c, 0, slot), *b = probabilities(c, device, slot);
    for (size_t i = 0; i < c->model.classes; i++)
        if (!(fabs((double)a[i] - b[i]) <= tolerance)) return false;
    return true;
}

/* ---- rows: JSON has one for each image and device, CSV one for each class of those ---- */

static cJSON *result_row(const classifier *c, int device, const photo *image)
{
    cJSON *row = tw_row_create(&c->keys[device]);
    tw_row_text(row, "image", image->path);
    return row;
}

static void add_class(cJSON *object, const classifier *c, const rank *r)
{
    tw_row_number(object, "class", r->class);
    tw_row_text(object, "label", c->labels.items[r->class]);
    tw_row_number(object, "probability", r->probability);
}

static void add_json(classifier *c, int device, const photo *image)
{
    cJSON *row = result_row(c, device, image), *top = NULL;
    if (image->error)
        cJSON_AddNullToObject(row, "top");
    else
        top = cJSON_AddArrayToObject(row, "top");
    for (int i = 0; top && i < c->top; i++) {
        cJSON *entry = cJSON_CreateObject();
        add_class(entry, c, &ranks_of(c, device)[i]);
        cJSON_AddItemToArray(top, entry);
    }
    if (c->devices > 1 && !image->error) cJSON_AddBoolToObject(row, "agrees", agrees(c, device, image->slot));
    tw_row_text(row, "error", image->error);
    tw_results_add(c->results, row);
}

static void add_csv(classifier *c, int device, const photo *image)
{
    for (int i = 0; i < (image->error ? 1 : c->top); i++) {
        cJSON *row = result_row(c, device, image);
        tw_row_number(row, "rank", image->error ? NAN : i + 1);
        if (image->error) {
            cJSON_AddNullToObject(row, "class");
            cJSON_AddNullToObject(row, "label");
            cJSON_AddNullToObject(row, "probability");
        } else {
            add_class(row, c, &ranks_of(c, device)[i]);
        }
        tw_row_text(row, "error", image->error);
        tw_results_add(c->results, row);
    }
}

/* ---- tables: a line for each rank, the devices side by side ---- */

static const char *const field_names[] = {"class", "label", "probability"};
static const tw_column_kind field_kinds[] = {TW_COLUMN_COUNT, TW_COLUMN_TEXT, TW_COLUMN_NUMBER};
enum { FIELDS = 3, MAX_COLUMNS = FIELDS * CLI_MAX_LIST + 2, KEY_SIZE = 48 };

typedef struct column_list {
    tw_column items[MAX_COLUMNS];
    char keys[MAX_COLUMNS][KEY_SIZE], headings[MAX_COLUMNS][KEY_SIZE];
    size_t count;
} column_list;

static void field_key(int device, int field, char key[KEY_SIZE])
{
    snprintf(key, KEY_SIZE, "%s_%d", field_names[field], device);
}

static void choose_columns(const cli_options *options, column_list *list)
{
    list->count = 0;
    list->items[list->count++] = (tw_column){"image", "image", TW_COLUMN_TEXT};
    for (int d = 0; d < options->devices.count; d++)
        for (int f = 0; f < FIELDS; f++) {
            char *key = list->keys[list->count], *heading = list->headings[list->count];
            field_key(d, f, key);
            bool named = f == 1 && options->devices.count > 1;
            snprintf(heading, KEY_SIZE, "%.40s", named ? options->devices.items[d] : field_names[f]);
            list->items[list->count++] = (tw_column){key, heading, field_kinds[f]};
        }
    if (options->devices.count > 1) list->items[list->count++] = (tw_column){"agrees", "agree", TW_COLUMN_TEXT};
}

static void add_error_line(classifier *c, const photo *image)
{
    char key[KEY_SIZE];
    cJSON *row = cJSON_CreateObject();
    tw_row_text(row, "image", image->path);
    field_key(0, 1, key);
    tw_row_text(row, key, image->error);
    tw_results_add(c->results, row);
}

static bool all_agree(const classifier *c, int slot)
{
    bool all = true;
    for (int d = 1; d < c->devices; d++) all = all && agrees(c, d, slot);
    return all;
}

static void add_lines(classifier *c, const photo *image)
{
    for (int i = 0; i < c->top; i++) {
        char key[KEY_SIZE];
        cJSON *row = cJSON_CreateObject();
        tw_row_text(row, "image", i == 0 ? image->path : "");
        for (int d = 0; d < c->devices; d++) {
            const rank *r = &ranks_of(c, d)[i];
            field_key(d, 0, key);
            tw_row_number(row, key, r->class);
            field_key(d, 1, key);
            tw_row_text(row, key, c->labels.items[r->class]);
            field_key(d, 2, key);
            tw_row_number(row, key, r->probability);
        }
        tw_row_text(row, "agrees", i > 0 ? "" : all_agree(c, image->slot) ? "yes" : "no");
        tw_results_add(c->results, row);
    }
}

/* Weights that hold NaN, say, give no classes, whatever the sort would make of them. */
static bool is_finite(const classifier *c, int slot)
{
    for (int d = 0; d < c->devices; d++)
        for (size_t i = 0; i < c->model.classes; i++)
            if (!isfinite(probabilities(c, d, slot)[i])) return false;
    return true;
}

static void add_rows(classifier *c, photo *image)
{
    tw_format format = c->options->format;
    if (!image->error && !is_finite(c, image->slot)) {
        image->error = tw_strdup("the network's output is not finite");
        c->bad++;
    }
    if (!image->error) {
        rank_classes(c, image->slot);
        c->disagreements += !all_agree(c, image->slot);
    }
    if (cli_is_text(c->options)) {
        if (image->error)
            add_error_line(c, image);
        else
            add_lines(c, image);
        return;
    }
    for (int d = 0; d < c->devices; d++) {
        if (format == TW_FORMAT_CSV)
            add_csv(c, d, image);
        else
            add_json(c, d, image);
    }
}

/* ---- photographs, batch by batch ---- */

/* Into the first device's input; the others get a copy. */
static tw_status load(classifier *c, const char *path, int slot, tw_error *error)
{
    tw_image image;
    tw_status status = tw_image_read(path, 0, &image, error);
    if (status != TW_OK) return status;
    float *input = (float *)c->networks[0].input.data + (size_t)slot * c->image_size;
    status = tw_image_preprocess(&image, &c->model.preprocess, input, error);
    if (status != TW_OK) tw_error_prefix(error, "%s", path);
    tw_image_free(&image);
    return status;
}

static tw_status execute(classifier *c, tw_error *error)
{
    tw_status status = TW_OK;
    size_t bytes = (size_t)c->batch * c->image_size * sizeof(float);
    for (int d = 0; d < c->devices && status == TW_OK; d++) {
        tw_network *network = &c->networks[d];
        if (d > 0) memcpy(network->input.data, c->networks[0].input.data, bytes);
        status = tw_network_execute(network, error);
        bool logits = !cli_ends_in_softmax(network->plan);
        for (int i = 0; i < c->batch && logits && status == TW_OK; i++)
            softmax((float *)network->output.data + (size_t)i * c->model.classes, c->model.classes);
    }
    return status;
}

/* Photographs from *next on until a batch is full. A bad one is kept with its error, unless it is the only argument. */
static tw_status fill_batch(classifier *c, const cli_photos *photos, size_t *next, photo *images, tw_error *error)
{
    int slot = 0;
    for (; *next < photos->count && slot < c->batch; (*next)++) {
        photo *image = &images[*next];
        *image = (photo){photos->paths[*next], slot, NULL};
        cli_progress((int)*next, (int)photos->count, image->path);
        tw_status status = load(c, image->path, slot, error);
        if (status == TW_OK) {
            slot++;
            continue;
        }
        if (status != TW_INVALID || (photos->count == 1 && !photos->from_folder)) return status;
        image->slot = -1;
        image->error = tw_strdup(error->message);
        if (!image->error) return tw_no_memory(error, strlen(error->message), "a message");
        c->bad++;
    }
    return slot > 0 ? execute(c, error) : TW_OK;
}

static tw_status classify_all(classifier *c, const cli_photos *photos, tw_error *error)
{
    photo *images = calloc(photos->count, sizeof *images);
    if (!images) return tw_no_memory(error, photos->count * sizeof *images, "photographs");
    tw_status status = TW_OK;
    for (size_t next = 0; next < photos->count && status == TW_OK;) {
        size_t first = next;
        status = fill_batch(c, photos, &next, images, error);
        for (size_t i = first; i < next && status == TW_OK; i++) add_rows(c, &images[i]);
    }
    for (size_t i = 0; i < photos->count; i++) free(images[i].error);
    free(images);
    cli_progress_end();
    return status;
}

/* ---- which design ran each layer ---- */

static const tw_column layer_columns[] = {
    {"layer", "layer", TW_COLUMN_TEXT},           {"op", "op", TW_COLUMN_TEXT},
    {"design", "design", TW_COLUMN_TEXT},         {"median_ms", "ms", TW_COLUMN_NUMBER},
    {"share_pct", "% of time", TW_COLUMN_NUMBER}, {"gflops", "GFLOP/s", TW_COLUMN_NUMBER},
};

/* Of the batch that ran last, for every device; *rows is null where --layers was not given. */
static tw_status profile_layers(classifier *c, cJSON **rows, tw_error *error)
{
    static const tw_timing_desc timing = {.iterations = 20, .warm_up_ms = 20};
    *rows = NULL;
    if (!cli_given(c->options, CLI_LAYERS)) return TW_OK;
    tw_status status = TW_OK;
    *rows = cJSON_CreateArray();
    for (int d = 0; d < c->devices && status == TW_OK; d++) {
        tw_profile profile;
        cJSON *some = NULL;
        status = tw_profile_measure(&c->networks[d], &timing, &profile, error);
        if (status != TW_OK) break;
        status = cli_layer_rows(&c->networks[d], &profile, &c->keys[d], &some, error);
        while (some && some->child) cJSON_AddItemToArray(*rows, cJSON_DetachItemViaPointer(some, some->child));
        cJSON_Delete(some);
        tw_profile_free(&profile);
    }
    return status;
}

/* ---- the command ---- */

static tw_status open_network(classifier *c, int d, tw_error *error)
{
    const cli_options *options = c->options;
    tw_device *device;
    tw_status status = cli_device_open(options->devices.items[d], options->threads.items[0], &device, error);
    if (status != TW_OK) return status;
    const cli_setting setting = {device, options->precisions.items[0], c->batch, options->designs.items[0]};
    status = cli_network_open(options, &c->model, &setting, &c->networks[d], error);
    tw_device_describe(device, &c->infos[d]);
    tw_device_release(device); /* the plan keeps it */
    if (status != TW_OK) return status;
    c->devices++;
    c->keys[d] = cli_row_key(&c->infos[d], c->model.name, c->batch, options->precisions.items[0]);
    tw_results_device(c->results, &c->infos[d]);
    return TW_OK;
}

static tw_status open_all(classifier *c, tw_error *error)
{
    const cli_options *options = c->options;
    c->batch = options->batches.items[0];
    tw_status status = cli_model_open(options, options->arguments[0], CLI_REAL_WEIGHTS, &c->model, error);
    if (status == TW_OK) status = cli_labels_open(options, c->model.classes, &c->labels, error);
    for (int d = 0; d < options->devices.count && status == TW_OK; d++) status = open_network(c, d, error);
    if (status != TW_OK) return status;
    int side = c->model.preprocess.crop + 2 * c->model.preprocess.pad;
    c->image_size = (size_t)c->model.preprocess.channels * (size_t)side * (size_t)side;
    c->top = options->top < (int)c->model.classes ? options->top : (int)c->model.classes;
    c->ranks = calloc((size_t)c->devices * c->model.classes, sizeof *c->ranks);
    return c->ranks ? TW_OK : tw_no_memory(error, c->model.classes * sizeof *c->ranks, "classes");
}

static void close_all(classifier *c)
{
    for (int d = 0; d < c->devices; d++) tw_network_close(&c->networks[d]);
    free(c->ranks);
    cli_labels_close(&c->labels);
    cli_model_close(&c->model);
}

static int report(classifier *c, size_t photos, cJSON *layers)
{
    int code = EXIT_DONE;
    bool table = c->options->format == TW_FORMAT_TABLE;
    if (layers && !table) tw_results_field(c->results, "layers", layers);
    if (c->disagreements) {
        cli_note("the devices disagree on %d of %zu images", c->disagreements, photos);
        code = EXIT_MISMATCH;
    }
    if (c->bad) {
        cli_note("%d of %zu images could not be read", c->bad, photos);
        code = cli_worse(code, EXIT_BAD_INPUT);
    }
    code = cli_results_close(c->results, code);
    if (layers && table) {
        putchar('\n');
        tw_table_print(stdout, TW_COLUMNS(layer_columns), layers, cli_colour());
        cJSON_Delete(layers);
    }
    return code;
}

static int classify(const cli_options *options, const cli_photos *photos)
{
    tw_error error;
    column_list columns;
    cJSON *layers = NULL;
    classifier *c = calloc(1, sizeof *c);
    if (!c) return cli_fail(&(tw_error){TW_OUT_OF_MEMORY, "out of memory"});
    c->options = options;
    choose_columns(options, &columns);
    tw_status status = cli_results_open(options, (tw_columns){columns.items, columns.count}, &c->results, &error);
    if (status == TW_OK) status = open_all(c, &error);
    if (status == TW_OK) status = classify_all(c, photos, &error);
    if (status == TW_OK) status = profile_layers(c, &layers, &error);
    int code = status == TW_OK ? report(c, photos->count, layers) : cli_fail(&error);
    if (status != TW_OK) {
        cJSON_Delete(layers);
        tw_results_destroy(c->results);
    }
    close_all(c);
    free(c);
    return code;
}

static int run(const cli_options *options)
{
    tw_error error;
    cli_photos photos;
    if (cli_photos_find(options->arguments + 1, options->argument_count - 1, &photos, &error) != TW_OK)
        return cli_fail(&error);
    int code = classify(options, &photos);
    cli_photos_free(&photos);
    return code;
}

const cli_command cli_classify = {
    .name = "classify",
    .summary = "say what is in photographs: the most probable classes",
    .usage = "MODEL IMAGE... [OPTION...]",
    .text =
        "IMAGE is a JPEG or PNG file, or a folder of them. Weights are those of --weights, else of the data folder\n"
        "that 'make demo' fills ($TILEWISE_DATA, else ~/.local/share/tilewise). Several devices are shown side by\n"
        "side; they agree where no class's probability differs by more than 0.001 (in fp32). An ONNX file whose network\n"
        "the zoo does not know takes photographs as networks for ImageNet do, or grey ones of 0..1, unless options say\n"
        "otherwise.",
    .examples = "  tilewise classify efficientnet_lite0 cat.jpg\n"
                "  tilewise classify resnet18 --weights resnet18.pth --top 3 photos/ -o json\n"
                "  tilewise classify efficientnet_lite0 cat.jpg --layers",
    .options = CLI_BIT(CLI_TOP) | CLI_BIT(CLI_LABELS) | CLI_BIT(CLI_LAYERS) | CLI_BIT(CLI_WEIGHTS) |
               CLI_BIT(CLI_DEVICE) | CLI_BIT(CLI_DESIGN) | CLI_BIT(CLI_FALLBACK) | CLI_BIT(CLI_PRECISION) |
               CLI_BIT(CLI_THREADS) | CLI_BIT(CLI_BATCH) | CLI_BIT(CLI_IMAGE_SIZE) | CLI_BIT(CLI_FORMAT) |
               CLI_BIT(CLI_HELP) | CLI_PREPROCESSING,
    .lists = CLI_BIT(CLI_DEVICE),
    .min_arguments = 2,
    .max_arguments = 1 << 30,
    .takes_model = true,
    .run = run,
};

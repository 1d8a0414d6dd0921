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

/* A photograph of the batch that ran last. */
typedef struct photo {
    const char *path;
    int slot;
    const char *error; /* what is wrong with it; null: nothing */
} photo;

enum { MANY = 16, BATCH_OF_MANY = 8 };

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

extern const cli_command cli_classify;

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
    if (!image->error && !is_finite(c, image->slot)) image->error = "the network's output is not finite";
    if (image->error) {
        c->bad++;
    } else {
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

static tw_status execute(classifier *c, const tw_batch *batch, tw_error *error)
{
    tw_status status = TW_OK;
    for (int d = 0; d < c->devices && status == TW_OK; d++) {
        tw_network *network = &c->networks[d];
        memcpy(network->input.data, batch->pixels, (size_t)batch->count * c->image_size * sizeof(float));
        status = tw_network_execute(network, error);
        bool logits = !cli_ends_in_softmax(network->plan);
        for (int i = 0; i < batch->count && logits && status == TW_OK; i++)
            softmax((float *)network->output.data + (size_t)i * c->model.classes, c->model.classes);
    }
    return status;
}

/* A bad photograph is a row, unless it is the only argument. */
static tw_status classify_batch(classifier *c, const cli_photos *photos, const tw_batch *batch, tw_error *error)
{
    if (batch->errors[0] && photos->count == 1 && !photos->many)
        return tw_fail(error, TW_INVALID, "%s", batch->errors[0]);
    tw_status status = execute(c, batch, error);
    for (int i = 0; i < batch->count && status == TW_OK; i++)
        add_rows(c, &(photo){photos->paths[batch->indices[i]], i, batch->errors[i]});
    return status;
}

/* The loader reads ahead while a batch runs. Nobody reads on where writing has failed. */
static tw_status classify_all(classifier *c, const cli_photos *photos, tw_error *error)
{
    tw_loader *loader;
    tw_batch batch = {0};
    cli_meter meter;
    const tw_loader_desc desc = {
        .preprocess = c->model.preprocess, .batch = c->batch, .threads = c->options->threads.items[0]};
    tw_status status = tw_loader_create_files((const char *const *)photos->paths, photos->count, &desc, &loader, error);
    if (status != TW_OK) return status;
    cli_meter_start(&meter, photos->count);
    for (size_t done = 0; !tw_results_write_error(c->results); done += (size_t)batch.count) {
        status = tw_loader_next(loader, &batch, error);
        if (status == TW_OK && batch.count > 0) status = classify_batch(c, photos, &batch, error);
        if (status != TW_OK || batch.count == 0) break;
        cli_meter_show(&meter, done + (size_t)batch.count);
    }
    tw_loader_destroy(loader);
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
    tw_status status = cli_device_open(options, options->devices.items[d], options->threads.items[0], &device, error);
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

static tw_status open_all(classifier *c, size_t photos, tw_error *error)
{
    const cli_options *options = c->options;
    c->batch = options->batches.items[0];
    if (!cli_given(options, CLI_BATCH) && photos >= MANY) c->batch = BATCH_OF_MANY;
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
    bool text = cli_is_text(c->options);
    if (layers && !text) tw_results_field(c->results, "layers", layers);
    if (c->disagreements) {
        cli_note("the devices disagree on %d of %zu images", c->disagreements, photos);
        code = EXIT_MISMATCH;
    }
    if (c->bad) {
        cli_note("%d of %zu images could not be used", c->bad, photos);
        code = cli_worse(code, EXIT_BAD_INPUT);
    }
    code = cli_results_close(c->results, code);
    if (layers && text)
        code = cli_worse(code, cli_print_table(c->options, "layers", TW_COLUMNS(layer_columns), layers));
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
    if (status == TW_OK) tw_results_same_fields(c->results);
    if (status == TW_OK) status = open_all(c, photos->count, &error);
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

static tw_status check(const cli_options *options, tw_error *error)
{
    tw_format format = options->format;
    if (options->argument_count < 2 && !options->files_from)
        return tw_fail(error, TW_INVALID, "classify: something is missing: tilewise classify %s", cli_classify.usage);
    if (cli_given(options, CLI_NULL) && !options->files_from)
        return tw_fail(error, TW_INVALID, "--null: there is no --files-from");
    if (cli_given(options, CLI_LAYERS) && (format == TW_FORMAT_CSV || format == TW_FORMAT_JSONL))
        return tw_fail(error, TW_INVALID, "--layers: csv and jsonl have no place for layers; table, md and json have");
    return TW_OK;
}

static int run(const cli_options *options)
{
    tw_error error;
    cli_photos photos;
    tw_status status = check(options, &error);
    if (status == TW_OK) status = cli_photos_find(options, &photos, &error);
    if (status != TW_OK) return cli_fail(&error);
    int code = classify(options, &photos);
    cli_photos_free(&photos);
    return code;
}

const cli_command cli_classify = {
    .name = "classify",
    .summary = "say what is in photographs: the most probable classes",
    .usage = "MODEL IMAGE... [OPTION...]",
    .text =
        "IMAGE is a JPEG or PNG file, a folder of them, or a pattern such as \"*.jpg\". Weights are those of --weights,\n"
        "else of the data folder that 'make demo' fills ($TILEWISE_DATA, else ~/.local/share/tilewise). Several devices\n"
        "are shown side by side; they agree where no class's probability differs by more than 0.001 (in fp32). An ONNX\n"
        "file whose network the zoo does not know takes photographs as networks for ImageNet do, or grey ones of 0..1,\n"
        "unless options say otherwise.",
    .examples = "  tilewise classify efficientnet_lite0 cat.jpg\n"
                "  tilewise classify resnet18 --weights resnet18.pth --top 3 photos/ -o json\n"
                "  tilewise classify efficientnet_lite0 cat.jpg --layers\n"
                "  find photos -name '*.jpg' -print0 | tilewise classify model.onnx --files-from - -0 -o jsonl",
    .options = CLI_BIT(CLI_TOP) | CLI_BIT(CLI_LABELS) | CLI_BIT(CLI_LAYERS) | CLI_BIT(CLI_RECURSIVE) |
               CLI_BIT(CLI_FILES_FROM) | CLI_BIT(CLI_NULL) | CLI_BIT(CLI_WEIGHTS) | CLI_BIT(CLI_DEVICE) |
               CLI_BIT(CLI_FAMILY) | CLI_BIT(CLI_DESIGN) | CLI_BIT(CLI_FALLBACK) | CLI_BIT(CLI_NO_TUNE) |
               CLI_BIT(CLI_PRECISION) | CLI_BIT(CLI_THREADS) | CLI_BIT(CLI_BATCH) | CLI_BIT(CLI_IMAGE_SIZE) |
               CLI_BIT(CLI_FORMAT) | CLI_BIT(CLI_HELP) | CLI_PREPROCESSING,
    .lists = CLI_BIT(CLI_DEVICE),
    .min_arguments = 1,
    .max_arguments = 1 << 30,
    .takes_model = true,
    .run = run,
};

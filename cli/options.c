#include "options.h"
#include "cli.h"
#include "core/design.h"
#include "core/status.h"
#include "suggest.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAMES = 256 };

static const char *const device_names[] = {"cpu", "cuda", "metal", "metal-sim", "metal-cuda"};
static const char *const family_names[] = {"apple4", "apple5", "apple6", "apple7", "apple8", "apple9", "apple10"};
static const char *const precision_names[] = {[TW_PRECISION_FP32] = "fp32",
                                              [TW_PRECISION_TF32] = "tf32",
                                              [TW_PRECISION_FP16] = "fp16",
                                              [TW_PRECISION_BF16] = "bf16"};
static const char *const format_names[] = {[TW_FORMAT_TABLE] = "table",
                                           [TW_FORMAT_JSON] = "json",
                                           [TW_FORMAT_JSONL] = "jsonl",
                                           [TW_FORMAT_CSV] = "csv",
                                           [TW_FORMAT_MD] = "md"};
static const char *const interpolation_names[] = {[TW_BILINEAR] = "bilinear", [TW_BICUBIC] = "bicubic"};
static const char *const split_names[] = {[TW_SPLIT_TEST] = "test", [TW_SPLIT_TRAIN] = "train"};
#define NAMES(array) ((cli_names){array, sizeof(array) / sizeof *(array)})

const char *cli_precision_name(int precision)
{
    return precision_names[precision];
}

bool cli_given(const cli_options *options, cli_option option)
{
    return options->given & CLI_BIT(option);
}

/* ---- values ---- */

static tw_status read_integer(const char *text, int low, int high, int *value, tw_error *error)
{
    char *end;
    errno = 0;
    long parsed = strtol(text, &end, 10);
    bool number = isdigit((unsigned char)text[0]) && *end == 0 && errno == 0;
    if (!number || parsed < low || parsed > high)
        return tw_fail(error, TW_INVALID, "\"%s\" is not a number from %d to %d", text, low, high);
    *value = (int)parsed;
    return TW_OK;
}

static tw_status read_number(const char *text, double high, double *value, tw_error *error)
{
    char *end;
    double parsed = strtod(text, &end);
    bool number = (isdigit((unsigned char)text[0]) || text[0] == '.') && *end == 0 && text[strcspn(text, "xX")] == 0;
    if (!number || !(parsed >= 0 && parsed <= high))
        return tw_fail(error, TW_INVALID, "\"%s\" is not a number from 0 to %.0f", text, high);
    *value = parsed;
    return TW_OK;
}

static tw_status read_name(const char *what, const char *text, cli_names names, int *index, tw_error *error)
{
    for (size_t i = 0; i < names.count; i++)
        if (strcmp(names.items[i], text) == 0) {
            *index = (int)i;
            return TW_OK;
        }
    return cli_unknown(what, text, names, error);
}

/* Cuts `text` at its commas. */
static tw_status split(char *text, cli_texts *list, tw_error *error)
{
    list->count = 0;
    for (char *item = text; item;) {
        char *comma = strchr(item, ',');
        if (comma) *comma = 0;
        if (*item == 0) return tw_fail(error, TW_INVALID, "an empty element in the list");
        if (list->count == CLI_MAX_LIST) return tw_fail(error, TW_INVALID, "more than %d elements", CLI_MAX_LIST);
        list->items[list->count++] = item;
        item = comma ? comma + 1 : NULL;
    }
    return TW_OK;
}

static tw_status split_integers(char *text, int low, int high, cli_integers *list, tw_error *error)
{
    cli_texts texts;
    tw_status status = split(text, &texts, error);
    list->count = 0;
    for (int i = 0; i < texts.count && status == TW_OK; i++)
        status = read_integer(texts.items[i], low, high, &list->items[list->count++], error);
    return status;
}

/* ---- each option ---- */

static tw_status parse_device(cli_options *options, char *text, tw_error *error)
{
    tw_status status = split(text, &options->devices, error);
    for (int i = 0; i < options->devices.count && status == TW_OK; i++) {
        char kind[32];
        const char *name = options->devices.items[i];
        int index;
        snprintf(kind, sizeof kind, "%.*s", (int)strcspn(name, ":"), name);
        status = read_name("device", kind, NAMES(device_names), &index, error);
    }
    return status;
}

static tw_status parse_family(cli_options *options, char *text, tw_error *error)
{
    int index = 0;
    tw_status status = read_name("family", text, NAMES(family_names), &index, error);
    options->family = family_names[index];
    return status;
}

/* Names of designs for an operator, or for all (null), each once; "auto" and "all" first. */
static size_t design_names(const char *op, const char **names)
{
    const tw_design *designs[MAX_NAMES];
    size_t found = tw_designs(op, NULL, designs, MAX_NAMES), count = 0;
    names[count++] = "auto";
    if (!op) names[count++] = "all";
    for (size_t i = 0; i < found && i < MAX_NAMES - 2; i++) {
        bool known = false;
        for (size_t j = 0; j < count && !known; j++) known = strcmp(names[j], designs[i]->name) == 0;
        if (!known) names[count++] = designs[i]->name;
    }
    return count;
}

static tw_status check_design(const char *op, const char *name, tw_error *error)
{
    const char *names[MAX_NAMES];
    char what[48];
    int index;
    snprintf(what, sizeof what, "%s%sdesign", op ? op : "", op ? " " : "");
    return read_name(what, name, (cli_names){names, design_names(op, names)}, &index, error);
}

/* "conv2d=winograd" */
static tw_status check_assignment(const char *text, tw_error *error)
{
    const char *names[MAX_NAMES];
    size_t count = tw_op_count() < MAX_NAMES ? tw_op_count() : MAX_NAMES;
    for (size_t i = 0; i < count; i++) names[i] = tw_op_at(i)->name;
    char op[64];
    int index;
    snprintf(op, sizeof op, "%.*s", (int)strcspn(text, "="), text);
    tw_status status = read_name("operator", op, (cli_names){names, count}, &index, error);
    return status == TW_OK ? check_design(op, strchr(text, '=') + 1, error) : status;
}

/* Neighbours with '=' are one element: "auto,conv2d=winograd,linear=naive" names two ways to run a network. */
static tw_status parse_design(cli_options *options, char *text, tw_error *error)
{
    cli_texts parts;
    tw_status status = split(text, &parts, error);
    options->designs.count = 0;
    bool joined = false;
    for (int i = 0; i < parts.count && status == TW_OK; i++) {
        char *part = (char *)parts.items[i];
        bool assigned = strchr(part, '=');
        status = assigned ? check_assignment(part, error) : check_design(NULL, part, error);
        if (assigned && joined)
            part[-1] = ',';
        else
            options->designs.items[options->designs.count++] = part;
        joined = assigned;
    }
    return status;
}

static tw_status parse_fallback(cli_options *options, char *text, tw_error *error)
{
    options->fallback = true;
    if (strcmp(text, "auto") == 0) return TW_OK;
    return tw_fail(error, TW_INVALID, "\"%s\" is not auto, the only fallback there is", text);
}

static tw_status parse_precision(cli_options *options, char *text, tw_error *error)
{
    cli_texts texts;
    tw_status status = split(text, &texts, error);
    options->precisions.count = 0;
    for (int i = 0; i < texts.count && status == TW_OK; i++)
        status = read_name("precision", texts.items[i], NAMES(precision_names),
                           &options->precisions.items[options->precisions.count++], error);
    return status;
}

static tw_status parse_threads(cli_options *options, char *text, tw_error *error)
{
    return split_integers(text, 1, 1024, &options->threads, error);
}

static tw_status parse_batch(cli_options *options, char *text, tw_error *error)
{
    return split_integers(text, 1, 65536, &options->batches, error);
}

static tw_status parse_seed(cli_options *options, char *text, tw_error *error)
{
    char *end;
    errno = 0;
    unsigned long long parsed = strtoull(text, &end, 10);
    if (!isdigit((unsigned char)text[0]) || *end || errno)
        return tw_fail(error, TW_INVALID, "\"%s\" is not a number from 0 to %llu", text,
                       (unsigned long long)UINT64_MAX);
    options->seed = parsed;
    return TW_OK;
}

static tw_status parse_image_size(cli_options *options, char *text, tw_error *error)
{
    return read_integer(text, 1, 16384, &options->image_size, error);
}

static tw_status parse_resize(cli_options *options, char *text, tw_error *error)
{
    return read_integer(text, 1, 16384, &options->preprocess.resize, error);
}

static tw_status parse_crop(cli_options *options, char *text, tw_error *error)
{
    return read_integer(text, 1, 16384, &options->preprocess.crop, error);
}

static tw_status parse_interpolation(cli_options *options, char *text, tw_error *error)
{
    int index = 0;
    tw_status status = read_name("interpolation", text, NAMES(interpolation_names), &index, error);
    options->preprocess.interpolation = (tw_interpolation)index;
    return status;
}

/* One number for each channel, or one for all. */
static tw_status parse_channels(char *text, double high, float values[3], tw_error *error)
{
    cli_texts texts;
    tw_status status = split(text, &texts, error);
    if (status == TW_OK && texts.count != 1 && texts.count != 3)
        return tw_fail(error, TW_INVALID, "%d numbers, expected one, or three: red, green, blue", texts.count);
    for (int i = 0; i < 3 && status == TW_OK; i++) {
        double value = 0;
        status = read_number(texts.items[texts.count == 3 ? i : 0], high, &value, error);
        values[i] = (float)value;
    }
    return status;
}

static tw_status parse_mean(cli_options *options, char *text, tw_error *error)
{
    return parse_channels(text, 1, options->preprocess.mean, error);
}

static tw_status parse_std(cli_options *options, char *text, tw_error *error)
{
    const float *std = options->preprocess.std;
    tw_status status = parse_channels(text, 1000, options->preprocess.std, error);
    if (status == TW_OK && (std[0] <= 0 || std[1] <= 0 || std[2] <= 0))
        return tw_fail(error, TW_INVALID, "0, by which pixels would be divided");
    return status;
}

static tw_status parse_top(cli_options *options, char *text, tw_error *error)
{
    return read_integer(text, 1, 1000000, &options->top, error);
}

static tw_status parse_split(cli_options *options, char *text, tw_error *error)
{
    int index = 0;
    tw_status status = read_name("split", text, NAMES(split_names), &index, error);
    options->split = (tw_split)index;
    return status;
}

static tw_status parse_limit(cli_options *options, char *text, tw_error *error)
{
    return read_integer(text, 1, 1000000000, &options->limit, error);
}

static tw_status parse_worst(cli_options *options, char *text, tw_error *error)
{
    return read_integer(text, 0, 10000, &options->worst, error);
}

static tw_status parse_iterations(cli_options *options, char *text, tw_error *error)
{
    return read_integer(text, 1, 1000000000, &options->timing.iterations, error);
}

static tw_status parse_warm_up(cli_options *options, char *text, tw_error *error)
{
    return read_number(text, 3600000, &options->timing.warm_up_ms, error);
}

static tw_status parse_duration(cli_options *options, char *text, tw_error *error)
{
    return read_number(text, 86400, &options->timing.duration_s, error);
}

static tw_status parse_percentile(cli_options *options, char *text, tw_error *error)
{
    cli_texts texts;
    tw_status status = split(text, &texts, error);
    options->percentiles.count = 0;
    for (int i = 0; i < texts.count && status == TW_OK; i++)
        status = read_number(texts.items[i], 100, &options->percentiles.items[options->percentiles.count++], error);
    return status;
}

static tw_status parse_format(cli_options *options, char *text, tw_error *error)
{
    int index = 0;
    tw_status status = read_name("format", text, NAMES(format_names), &index, error);
    options->format = (tw_format)index;
    return status;
}

/* ---- the table ---- */

typedef struct option_info {
    const char *name, *argument; /* null: takes none */
    tw_status (*parse)(cli_options *options, char *text, tw_error *error);
    const char *help;
} option_info;

static const option_info infos[CLI_OPTIONS] = {
    [CLI_DEVICE] = {"device", "NAME", parse_device, "cpu (default), cuda, cuda:1, metal, metal-sim, metal-cuda"},
    [CLI_FAMILY] = {"family", "F", parse_family, "GPU of metal-sim and metal-cuda: apple4 to apple10 (default apple7)"},
    [CLI_DESIGN] =
        {"design", "NAME", parse_design,
         "auto (default), any design's name, all (bench, verify), or by operator: conv2d=winograd,linear=naive"},
    [CLI_FALLBACK] = {"fallback", "auto", parse_fallback, "where the named design refuses a layer, choose for it"},
    [CLI_NO_TUNE] = {"no-tune", NULL, NULL, "choose designs by prediction, whatever tune has measured"},
    [CLI_PRECISION] = {"precision", "P", parse_precision, "fp32 (default), tf32, fp16, bf16"},
    [CLI_THREADS] = {"threads", "N", parse_threads, "threads of the CPU (default: one a core)"},
    [CLI_BATCH] = {"batch", "N", parse_batch, "images at once (default 1)"},
    [CLI_SEED] = {"seed", "N", parse_seed, "of random weights and inputs (default 1)"},
    [CLI_WEIGHTS] = {"weights", "FILE", NULL, "safetensors, or a PyTorch state_dict (.pt, .pth)"},
    [CLI_IMAGE_SIZE] = {"image-size", "N", parse_image_size, "height and width of the input (default: the network's)"},
    [CLI_RESIZE] = {"resize", "N", parse_resize, "resize a photograph's shorter side to N pixels"},
    [CLI_CROP] = {"crop", "N", parse_crop, "then take the centre N x N; zeros surround one smaller than the input"},
    [CLI_INTERPOLATION] = {"interpolation", "I", parse_interpolation, "bilinear or bicubic"},
    [CLI_MEAN] = {"mean", "R,G,B", parse_mean, "then subtract from pixels of 0..1"},
    [CLI_STD] = {"std", "R,G,B", parse_std, "and divide by"},
    [CLI_LABELS] = {"labels", "FILE", NULL,
                    "names of the classes: a line each, or JSON (an array, or an object \"0\": \"name\")"},
    [CLI_TOP] = {"top", "K", parse_top, "how many classes to show (default 5)"},
    [CLI_LAYERS] = {"layers", NULL, NULL, "show which design ran each layer, and its time"},
    [CLI_INPUT] = {"input", "FILE", NULL, "the input, float32, .npy: [batch][channels][height][width]"},
    [CLI_OUTPUT] = {"output", "FILE", NULL, "where the output goes: .npy (run), .onnx or .safetensors (convert)"},
    [CLI_DUMP_LAYERS] = {"dump-layers", "DIR", NULL, "write every value that the plan keeps, DIR/NAME.npy"},
    [CLI_LAYER] = {"layer", "OP:DESC", NULL, "one layer, as conv2d:mb1ic64ih56oc64oh56kh3ph1"},
    [CLI_SHAPES] = {"shapes", "[OP:]FILE", NULL, "the layers in a benchdnn shape file; OP is conv2d unless named"},
    [CLI_IMAGE] = {"image", "FILE", NULL, "time the preprocessing of this photograph too"},
    [CLI_ITERATIONS] = {"iterations", "N", parse_iterations,
                        "time at least N runs (default 10, fewer where they take twice --duration)"},
    [CLI_WARM_UP] = {"warmUp", "MS", parse_warm_up, "run untimed for MS milliseconds first (default 200)"},
    [CLI_DURATION] = {"duration", "S", parse_duration, "time for at least S seconds (default 3)"},
    [CLI_PERCENTILE] = {"percentile", "P,...", parse_percentile, "more percentiles than 90, 95 and 99"},
    [CLI_DUMP_PROFILE] = {"dumpProfile", NULL, NULL, "a row for each layer too"},
    [CLI_TRACE] = {"trace", "FILE", NULL, "write a trace that ui.perfetto.dev opens"},
    [CLI_MEASURE] = {"measure", NULL, NULL, "measure peak FLOP/s and bytes/s (about a second a device)"},
    [CLI_DATA] = {"data", "DIR", NULL, "labelled images: a folder of IDX files, of CIFAR's, or of a folder a class"},
    [CLI_SPLIT] = {"split", "S", parse_split, "test (default) or train"},
    [CLI_LIMIT] = {"limit", "N", parse_limit, "only N images, spread evenly over the data"},
    [CLI_WORST] = {"worst", "N", parse_worst, "list the N worst mistakes (default 10)"},
    [CLI_CONFUSION] = {"confusion", "FILE", NULL, "draw the confusion matrix (of the first device): .png or .svg"},
    [CLI_RECURSIVE] = {"recursive", NULL, NULL, "take the folders inside folders too"},
    [CLI_FILES_FROM] = {"files-from", "FILE", NULL, "more images: a file name a line; - is the standard input"},
    [CLI_NULL] = {"null", NULL, NULL, "names in --files-from end in a zero byte, as find -print0 writes them"},
    [CLI_FORMAT] = {"format", "F", parse_format, "table (default), json, jsonl, csv, md"},
    [CLI_HELP] = {"help", NULL, NULL, "show this"},
};

/* Where the value of an option without parse() goes, as it is. */
static const size_t text_fields[CLI_OPTIONS] = {
    [CLI_WEIGHTS] = offsetof(cli_options, weights),
    [CLI_LABELS] = offsetof(cli_options, labels),
    [CLI_INPUT] = offsetof(cli_options, input),
    [CLI_OUTPUT] = offsetof(cli_options, output),
    [CLI_DUMP_LAYERS] = offsetof(cli_options, dump_layers),
    [CLI_LAYER] = offsetof(cli_options, layer),
    [CLI_SHAPES] = offsetof(cli_options, shapes),
    [CLI_IMAGE] = offsetof(cli_options, image),
    [CLI_TRACE] = offsetof(cli_options, trace),
    [CLI_DATA] = offsetof(cli_options, data),
    [CLI_CONFUSION] = offsetof(cli_options, confusion),
    [CLI_FILES_FROM] = offsetof(cli_options, files_from),
};

static void print_option(cli_option index, bool list)
{
    const option_info *info = &infos[index];
    char left[64];
    snprintf(left, sizeof left, "%s--%s%s%s%s",
             index == CLI_FORMAT ? "-o, "
             : index == CLI_NULL ? "-0, "
                                 : "",
             info->name, info->argument ? " " : "", info->argument ? info->argument : "", list ? ",..." : "");
    printf("  %-26s %s\n", left, info->help);
}

void cli_options_help(uint64_t set, uint64_t lists)
{
    for (int i = 0; i < CLI_OPTIONS; i++)
        if (set & CLI_BIT(i)) print_option((cli_option)i, lists & CLI_BIT(i));
}

/* ---- the command line ---- */

static void set_defaults(cli_options *options)
{
    *options = (cli_options){
        .devices = {{"cpu"}, 1},
        .designs = {{"auto"}, 1},
        .precisions = {{TW_PRECISION_FP32}, 1},
        .threads = {{0}, 1},
        .batches = {{1}, 1},
        .seed = 1,
        .top = 5,
        .worst = 10,
        .timing = tw_timing_default,
    };
}

static tw_status unknown_option(const cli_command *command, const char *word, tw_error *error)
{
    const char *names[CLI_OPTIONS];
    size_t count = 0;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
    for (int i = 0; i < CLI_OPTIONS; i++)
        if (command->options & CLI_BIT(i)) names[count++] = infos[i].name;
    tw_error detail = {0};
    cli_unknown("option", name, (cli_names){names, count}, &detail);
    const char *offered = strstr(detail.message, "did you mean \"");
    if (!offered) return tw_fail(error, TW_INVALID, "%s: unknown option \"%s\"", command->name, word);
    return tw_fail(error, TW_INVALID, "%s: unknown option \"%s\": did you mean \"--%s", command->name, word,
                   offered + strlen("did you mean \""));
}

enum { LONG_OPTION = 1000 }; /* a long option's val is its index beyond this; a short one's is its letter */

/* getopt_long found something wrong: optopt is 0 where a long option is unknown; `word` is the argument it was in. */
static tw_status refuse(const cli_command *command, int found, const char *word, tw_error *error)
{
    if (found == ':') return tw_fail(error, TW_INVALID, "%s: %s needs a value", command->name, word);
    if (optopt == 0) return unknown_option(command, word, error);
    if (optopt >= LONG_OPTION) return tw_fail(error, TW_INVALID, "%s: %s takes no value", command->name, word);
    return tw_fail(error, TW_INVALID, "%s: unknown option \"-%c\"", command->name, optopt);
}

static tw_status take_text(cli_options *options, size_t field, const char *text, tw_error *error)
{
    memcpy((char *)options + field, &text, sizeof text);
    return *text ? TW_OK : tw_fail(error, TW_INVALID, "empty");
}

static tw_status take(cli_options *options, cli_option index, tw_error *error)
{
    const option_info *info = &infos[index];
    options->given |= CLI_BIT(index);
    if (!info->argument) return TW_OK;
    free(options->copies[index]);
    options->copies[index] = tw_strdup(optarg);
    if (!options->copies[index]) return tw_no_memory(error, strlen(optarg), "an option");
    tw_status status = info->parse ? info->parse(options, options->copies[index], error)
                                   : take_text(options, text_fields[index], options->copies[index], error);
    if (status != TW_OK) tw_error_prefix(error, "--%s", info->name);
    return status;
}

/* Lists are for those subcommands that sweep them; so is the design "all". */
static tw_status check_lists(const cli_command *command, const cli_options *options, tw_error *error)
{
    const struct {
        cli_option option;
        int count;
    } lists[] = {{CLI_DEVICE, options->devices.count},
                 {CLI_DESIGN, options->designs.count},
                 {CLI_PRECISION, options->precisions.count},
                 {CLI_THREADS, options->threads.count},
                 {CLI_BATCH, options->batches.count}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (lists[i].count > 1 && !(command->lists & CLI_BIT(lists[i].option)))
            return tw_fail(error, TW_INVALID, "--%s: %d values, but %s takes one", infos[lists[i].option].name,
                           lists[i].count, command->name);
    for (int i = 0; i < options->designs.count; i++)
        if (strcmp(options->designs.items[i], "all") == 0 && !(command->lists & CLI_BIT(CLI_DESIGN)))
            return tw_fail(error, TW_INVALID, "--design: %s runs one design, and \"all\" are several", command->name);
    return TW_OK;
}

/* A family given to other devices would say nothing, and look as if it did. */
static tw_status check_family(const cli_command *command, const cli_options *options, tw_error *error)
{
    if (!options->family || !(command->options & CLI_BIT(CLI_DEVICE))) return TW_OK;
    for (int i = 0; i < options->devices.count; i++)
        if (strncmp(options->devices.items[i], "metal-", strlen("metal-")) == 0) return TW_OK;
    return tw_fail(error, TW_INVALID, "--family: only --device metal-sim and metal-cuda answer as one");
}

static tw_status check_arguments(const cli_command *command, const cli_options *options, tw_error *error)
{
    if (options->argument_count < command->min_arguments)
        return tw_fail(error, TW_INVALID, "%s: something is missing: tilewise %s %s", command->name, command->name,
                       command->usage);
    if (options->argument_count > command->max_arguments)
        return tw_fail(error, TW_INVALID, "%s: \"%s\" is one argument too many", command->name,
                       options->arguments[command->max_arguments]);
    return TW_OK;
}

/* Words with anything but harmless characters are put in single quotes. Returns where the next word goes. */
static char *append_word(char *line, const char *word)
{
    static const char *const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=./:,@%";
    bool quote = *word == 0 || word[strspn(word, plain)];
    return line + sprintf(line, quote ? " '%s'" : " %s", word);
}

static char *join_command(int argc, char **argv)
{
    static const char program[] = "tilewise";
    size_t size = sizeof program;
    for (int i = 0; i < argc; i++) size += strlen(argv[i]) + 3;
    char *line = malloc(size);
    if (!line) return NULL;
    memcpy(line, program, sizeof program);
    char *end = line + strlen(program);
    for (int i = 0; i < argc; i++) end = append_word(end, argv[i]);
    return line;
}

/* The options that this command takes, as getopt_long wants them; val is the option's index. */
static void list_options(const cli_command *command, struct option *list)
{
    for (int i = 0; i < CLI_OPTIONS; i++)
        if (command->options & CLI_BIT(i))
            *list++ = (struct option){infos[i].name, infos[i].argument ? required_argument : no_argument, NULL,
                                      i + LONG_OPTION};
    *list = (struct option){0};
}

tw_status cli_options_parse(const cli_command *command, int argc, char **argv, cli_options *options, tw_error *error)
{
    set_defaults(options);
    options->command_line = join_command(argc, argv);
    if (!options->command_line) return tw_no_memory(error, 0, "the command line");
    struct option list[CLI_OPTIONS + 1];
    list_options(command, list);
    bool format = command->options & CLI_BIT(CLI_FORMAT), null = command->options & CLI_BIT(CLI_NULL);
    const char *letters = format && null ? ":o:0" : format ? ":o:" : ":";
    opterr = 0;
    optind = 1;
    for (;;) {
        optopt = 0;
        int found = getopt_long(argc, argv, letters, list, NULL);
        if (found == -1) break;
        if (found == ':' || found == '?') return refuse(command, found, argv[optind - 1], error);
        cli_option index = found == 'o' ? CLI_FORMAT : found == '0' ? CLI_NULL : (cli_option)(found - LONG_OPTION);
        if (index == CLI_HELP) {
            options->help = true;
            return TW_OK;
        }
        tw_status status = take(options, index, error);
        if (status != TW_OK) return status;
    }
    options->arguments = argv + optind;
    options->argument_count = argc - optind;
    tw_status status = check_lists(command, options, error);
    if (status == TW_OK) status = check_family(command, options, error);
    return status == TW_OK ? check_arguments(command, options, error) : status;
}

void cli_options_free(cli_options *options)
{
    for (int i = 0; i < CLI_OPTIONS; i++) free(options->copies[i]);
    free(options->command_line);
}

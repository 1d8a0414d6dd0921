/* What a command found: rows, printed as a table, JSON, JSON lines, CSV or Markdown.
 *
 * A row is a flat JSON object that says itself where it comes from (device, model, batch, precision, threads), so that
 * rows of many files can be put together. What was not measured is null. A field may be an object or an array
 * ("counters", "kernels"); in CSV an object's fields stand as "counters.flops". */
#ifndef TW_BENCH_RESULTS_H
#define TW_BENCH_RESULTS_H

#include "tilewise.h"

#include <cjson/cJSON.h>
#include <stdio.h>

typedef enum tw_format { TW_FORMAT_TABLE, TW_FORMAT_JSON, TW_FORMAT_JSONL, TW_FORMAT_CSV, TW_FORMAT_MD } tw_format;

/* A column of a table: where its value stands in the row, and how it reads. */
typedef enum tw_column_kind {
    TW_COLUMN_TEXT,
    TW_COLUMN_COUNT,  /* 1234 */
    TW_COLUMN_NUMBER, /* four significant digits */
    TW_COLUMN_ERROR,  /* 1.2e-07 */
    TW_COLUMN_BYTES   /* 1.5 MiB */
} tw_column_kind;
typedef struct tw_column {
    const char *key, *heading;
    tw_column_kind kind;
} tw_column;
typedef struct tw_columns {
    const tw_column *items;
    size_t count;
} tw_columns;
#define TW_COLUMNS(array) ((tw_columns){array, sizeof(array) / sizeof *(array)})

/* ---- rows ---- */

typedef struct tw_row_key {
    const char *device, *model, *precision; /* null where it means nothing */
    int batch, threads;                     /* 0 where it means nothing */
} tw_row_key;

cJSON *tw_row_create(const tw_row_key *key);
/* Text becomes valid UTF-8; null stays null. NaN and infinities are null. */
void tw_row_text(cJSON *row, const char *key, const char *text);
void tw_row_number(cJSON *row, const char *key, double number);

/* Of one layer by one design, or of a network. */
typedef struct tw_bench_row {
    tw_row_key key;
    const char *layer;   /* null: the whole network */
    const char *op;      /* null with it */
    const char *problem; /* the descriptor */
    const char *design;
    const char *status; /* "ok", "incorrect", "not_supported", "failed" */
    const char *reason;
    double samples;
    double min_ms, median_ms, mean_ms, p90_ms, p95_ms, p99_ms, cv;
    double init_ms, preprocess_ms, h2d_ms, device_ms, d2h_ms;
    double flops, bytes, gflops, gbps, roofline_pct;
    double max_abs_err, max_rel_err;
} tw_bench_row;

void tw_bench_row_init(tw_bench_row *row); /* nothing measured */
cJSON *tw_bench_row_json(const tw_bench_row *row);

/* ---- results ---- */

typedef struct tw_results tw_results;
typedef struct tw_results_desc {
    tw_format format;
    FILE *out;
    bool colour;
    const char *command; /* as it was typed */
    tw_columns columns;  /* of tables and Markdown; JSON and CSV have every field */
} tw_results_desc;

tw_status tw_results_create(const tw_results_desc *desc, tw_results **results, tw_error *error);
void tw_results_destroy(tw_results *results);
/* All that identifies a device; a device is kept once. */
void tw_results_device(tw_results *results, const tw_device_info *device);
/* A field of the JSON object beside the rows. Takes ownership. */
void tw_results_field(tw_results *results, const char *name, cJSON *value);
/* All rows will have the same fields: CSV is then written row by row, as JSON lines are. Before the first row. */
void tw_results_same_fields(tw_results *results);
/* Takes ownership of the row. JSON lines are written at once, so that a long sweep can be followed. */
void tw_results_add(tw_results *results, cJSON *row);
/* Each element of an array. Takes ownership. */
void tw_results_add_all(tw_results *results, cJSON *rows);
/* Writes what is to be written. Failure to write is TW_FAILED. */
tw_status tw_results_finish(tw_results *results, tw_error *error);
/* The errno of the first write that failed, as EPIPE; 0: none. A long command looks here and ends early. */
int tw_results_write_error(const tw_results *results);

/* Another table below, of the objects in an array; the caller has checked that the format is a table. */
void tw_table_print(FILE *out, tw_columns columns, const cJSON *rows, bool colour);

/* "1.5 MiB", "812 B" */
void tw_format_bytes(double bytes, char *text, size_t size);
/* Four significant digits, no exponent. */
void tw_format_number(double number, char *text, size_t size);

#endif

/* One layout, two ways to draw it: rectangles and text go into an SVG file or onto the pixels of a PNG, whose letters
 * come from a small font below. Colours show the share of a true class's images, so that rows of any size compare.
 * The scale is the share's power 0.4: one mistake in fifty is to be seen beside a full diagonal. */
#include "confusion.h"
#include "core/status.h"
#include "formats/file.h"
#include "formats/image.h"
#include "model.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CLASSES = 4000, MAX_NAMED = 100, NAME_LENGTH = 24, GAP = 8, NUMBERED = 40 };
enum { BLACK = 0x202020, GREY = 0x909090, WHITE = 0xffffff };

/* ---- letters, 5 by 7: a row each, the leftmost pixel in bit 4. Small letters are drawn as capitals. ---- */

enum { GLYPH_WIDTH = 5, GLYPH_HEIGHT = 7, ADVANCE = 6 };
static const char glyph_order[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ-.,%/():_';";
static const uint8_t glyphs[][GLYPH_HEIGHT] = {
    {0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e}, {0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e},
    {0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f}, {0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e},
    {0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02}, {0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e},
    {0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e}, {0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08},
    {0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e}, {0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c},
    {0x0e, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11}, {0x1e, 0x11, 0x11, 0x1e, 0x11, 0x11, 0x1e},
    {0x0e, 0x11, 0x10, 0x10, 0x10, 0x11, 0x0e}, {0x1c, 0x12, 0x11, 0x11, 0x11, 0x12, 0x1c},
    {0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x1f}, {0x1f, 0x10, 0x10, 0x1e, 0x10, 0x10, 0x10},
    {0x0e, 0x11, 0x10, 0x17, 0x11, 0x11, 0x0f}, {0x11, 0x11, 0x11, 0x1f, 0x11, 0x11, 0x11},
    {0x0e, 0x04, 0x04, 0x04, 0x04, 0x04, 0x0e}, {0x07, 0x02, 0x02, 0x02, 0x02, 0x12, 0x0c},
    {0x11, 0x12, 0x14, 0x18, 0x14, 0x12, 0x11}, {0x10, 0x10, 0x10, 0x10, 0x10, 0x10, 0x1f},
    {0x11, 0x1b, 0x15, 0x15, 0x11, 0x11, 0x11}, {0x11, 0x11, 0x19, 0x15, 0x13, 0x11, 0x11},
    {0x0e, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e}, {0x1e, 0x11, 0x11, 0x1e, 0x10, 0x10, 0x10},
    {0x0e, 0x11, 0x11, 0x11, 0x15, 0x12, 0x0d}, {0x1e, 0x11, 0x11, 0x1e, 0x14, 0x12, 0x11},
    {0x0f, 0x10, 0x10, 0x0e, 0x01, 0x01, 0x1e}, {0x1f, 0x04, 0x04, 0x04, 0x04, 0x04, 0x04},
    {0x11, 0x11, 0x11, 0x11, 0x11, 0x11, 0x0e}, {0x11, 0x11, 0x11, 0x11, 0x11, 0x0a, 0x04},
    {0x11, 0x11, 0x11, 0x15, 0x15, 0x15, 0x0a}, {0x11, 0x11, 0x0a, 0x04, 0x0a, 0x11, 0x11},
    {0x11, 0x11, 0x11, 0x0a, 0x04, 0x04, 0x04}, {0x1f, 0x01, 0x02, 0x04, 0x08, 0x10, 0x1f},
    {0x00, 0x00, 0x00, 0x1f, 0x00, 0x00, 0x00}, {0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c},
    {0x00, 0x00, 0x00, 0x00, 0x0c, 0x04, 0x08}, {0x18, 0x19, 0x02, 0x04, 0x08, 0x13, 0x03},
    {0x00, 0x01, 0x02, 0x04, 0x08, 0x10, 0x00}, {0x02, 0x04, 0x08, 0x08, 0x08, 0x04, 0x02},
    {0x08, 0x04, 0x02, 0x02, 0x02, 0x04, 0x08}, {0x00, 0x0c, 0x0c, 0x00, 0x0c, 0x0c, 0x00},
    {0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x1f}, {0x04, 0x04, 0x08, 0x00, 0x00, 0x00, 0x00},
    {0x00, 0x0c, 0x0c, 0x00, 0x0c, 0x04, 0x08},
};
static const uint8_t blank[GLYPH_HEIGHT] = {0}, box[GLYPH_HEIGHT] = {0x1f, 0x11, 0x11, 0x11, 0x11, 0x11, 0x1f};

static const uint8_t *glyph_of(char letter)
{
    const char *found = strchr(glyph_order, toupper((unsigned char)letter));
    return letter == ' ' ? blank : found ? glyphs[found - glyph_order] : box;
}

static bool starts_character(char byte)
{
    return ((unsigned char)byte & 0xc0) != 0x80;
}

static int characters(const char *text)
{
    int count = 0;
    for (; *text; text++) count += starts_character(*text);
    return count;
}

/* ---- drawing ---- */

typedef struct canvas {
    FILE *svg;      /* else pixels */
    tw_image image; /* of SVG only the size */
} canvas;

typedef struct area {
    int x, y, width, height;
} area;

/* `align` -1: the text begins at x; 0: its middle is there; 1: it ends there. Its middle line is at y. Upright text
 * reads from below to above, and x and y change roles. */
typedef struct caption {
    int x, y, scale, align;
    bool upright;
    uint32_t colour;
} caption;

static void put_pixel(canvas *c, int x, int y, uint32_t colour)
{
    if (x < 0 || y < 0 || x >= c->image.width || y >= c->image.height) return;
    uint8_t *rgb = c->image.rgb + 3 * ((size_t)y * (size_t)c->image.width + (size_t)x);
    rgb[0] = (uint8_t)(colour >> 16); // NOLINT(clang-analyzer-core.NullDereference): a canvas has pixels
    rgb[1] = (uint8_t)(colour >> 8);
    rgb[2] = (uint8_t)colour;
}

static void draw_area(canvas *c, area a, uint32_t colour)
{
    if (c->svg) {
        fprintf(c->svg, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#%06x\"/>\n", a.x, a.y, a.width,
                a.height, colour);
        return;
    }
    for (int y = a.y; y < a.y + a.height; y++)
        for (int x = a.x; x < a.x + a.width; x++) put_pixel(c, x, y, colour);
}

static void draw_frame(canvas *c, area a)
{
    draw_area(c, (area){a.x - 1, a.y - 1, a.width + 2, 1}, GREY);
    draw_area(c, (area){a.x - 1, a.y + a.height, a.width + 2, 1}, GREY);
    draw_area(c, (area){a.x - 1, a.y, 1, a.height}, GREY);
    draw_area(c, (area){a.x + a.width, a.y, 1, a.height}, GREY);
}

static void draw_letter(canvas *c, const caption *how, int along, const uint8_t *glyph)
{
    int across = -GLYPH_HEIGHT * how->scale / 2;
    for (int row = 0; row < GLYPH_HEIGHT * how->scale; row++)
        for (int column = 0; column < GLYPH_WIDTH * how->scale; column++) {
            if (!(glyph[row / how->scale] >> (GLYPH_WIDTH - 1 - column / how->scale) & 1)) continue;
            int a = along + column, b = across + row;
            if (how->upright)
                put_pixel(c, how->x + b, how->y - a, how->colour);
            else
                put_pixel(c, how->x + a, how->y + b, how->colour);
        }
}

static void draw_letters(canvas *c, const caption *how, const char *text)
{
    int width = characters(text) * ADVANCE * how->scale - how->scale;
    int along = how->align < 0 ? 0 : how->align > 0 ? -width : -width / 2;
    for (; *text; text++) {
        if (!starts_character(*text)) continue;
        draw_letter(c, how, along, (unsigned char)*text < 0x80 ? glyph_of(*text) : box);
        along += ADVANCE * how->scale;
    }
}

static void draw_text(canvas *c, caption how, const char *text)
{
    static const char *const anchors[] = {"start", "middle", "end"};
    if (!c->svg) {
        draw_letters(c, &how, text);
        return;
    }
    fprintf(c->svg,
            "<text x=\"%d\" y=\"%d\" font-size=\"%d\" text-anchor=\"%s\" fill=\"#%06x\" dominant-baseline=\"central\"",
            how.x, how.y, how.scale > 1 ? 8 * how.scale : 9, anchors[how.align + 1], how.colour);
    if (how.upright) fprintf(c->svg, " transform=\"rotate(-90 %d %d)\"", how.x, how.y);
    fputc('>', c->svg);
    for (; *text; text++) {
        if (*text == '&' || *text == '<' || *text == '>')
            fprintf(c->svg, "&#%d;", *text);
        else
            fputc((unsigned char)*text < ' ' ? '?' : *text, c->svg);
    }
    fputs("</text>\n", c->svg);
}

/* ---- colours ---- */

static double strength(double share)
{
    return pow(share, 0.4);
}

static uint32_t colour_at(double strength)
{
    static const uint8_t stops[][3] = {{255, 255, 255}, {178, 210, 236}, {78, 148, 206}, {22, 83, 156}, {8, 29, 88}};
    enum { LAST = sizeof stops / sizeof *stops - 1 };
    double at = strength * LAST;
    int stop = at < LAST - 1 ? (int)at : LAST - 1;
    uint32_t colour = 0;
    for (int i = 0; i < 3; i++)
        colour = colour << 8 | (uint32_t)lround(stops[stop][i] + (at - stop) * (stops[stop + 1][i] - stops[stop][i]));
    return colour;
}

/* ---- the layout ---- */

typedef struct layout {
    const cli_confusion *picture;
    int rows, columns, cell, scale;
    int row_names, column_names; /* room for them */
    area plot;
} layout;

/* A name cut to NAME_LENGTH bytes at the start of a character; bytes that are no UTF-8 are replaced. */
static void short_name(const layout *l, size_t index, char name[NAME_LENGTH + 1])
{
    cJSON *valid = cJSON_CreateObject();
    tw_row_text(valid, "name", l->picture->name(l->picture->context, index));
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(valid, "name"));
    size_t length = text ? strlen(text) : 0;
    if (length > NAME_LENGTH)
        for (length = NAME_LENGTH; length && !starts_character(text[length]);) length--;
    memcpy(name, text ? text : "", length);
    name[length] = 0;
    cJSON_Delete(valid);
}

/* Pixels that the longest name of an axis takes; beyond MAX_NAMED classes some are shown by number. */
static int names_width(const layout *l, int count)
{
    int longest = 4;
    for (int i = 0; i < count && count <= MAX_NAMED; i++) {
        char name[NAME_LENGTH + 1];
        short_name(l, (size_t)i, name);
        if (characters(name) > longest) longest = characters(name);
    }
    return longest * ADVANCE * l->scale;
}

static layout arrange(const cli_confusion *picture)
{
    layout l = {.picture = picture, .rows = (int)picture->score->labels, .columns = (int)picture->score->classes};
    int most = l.columns > l.rows ? l.columns : l.rows;
    l.cell = most <= 20 ? 48 : most <= 450 ? 900 / most : 2;
    l.scale = most <= 20 || most > MAX_NAMED ? 2 : 1;
    l.row_names = names_width(&l, l.rows);
    l.column_names = names_width(&l, l.columns);
    l.plot = (area){l.row_names + 4 * GAP + 16, 64, l.columns * l.cell, l.rows * l.cell};
    return l;
}

static const char *class_number(size_t index, char text[24])
{
    snprintf(text, 24, "%zu", index);
    return text;
}

static void draw_names(canvas *c, const layout *l, bool upright)
{
    int count = upright ? l->columns : l->rows, step = count <= MAX_NAMED ? 1 : count <= 500 ? 50 : 100;
    for (int i = 0; i < count; i += step) {
        char name[NAME_LENGTH + 1], number[24];
        short_name(l, (size_t)i, name);
        const char *text = count <= MAX_NAMED ? name : class_number((size_t)i, number);
        int middle = i * l->cell + l->cell / 2;
        caption at = {l->plot.x - GAP, l->plot.y + middle, l->scale, 1, false, BLACK};
        area tick = {l->plot.x - 5, l->plot.y + middle, 4, 1};
        if (upright) {
            at = (caption){l->plot.x + middle, l->plot.y + l->plot.height + GAP, l->scale, 1, true, BLACK};
            tick = (area){l->plot.x + middle, l->plot.y + l->plot.height + 1, 1, 4};
        }
        draw_area(c, tick, GREY);
        draw_text(c, at, text);
    }
}

static void draw_cell(canvas *c, const layout *l, int row, int column)
{
    const tw_score *score = l->picture->score;
    uint32_t count = score->confusion[(size_t)row * score->classes + (size_t)column];
    size_t images = tw_score_class(score, (size_t)row).images;
    double depth = strength((double)count / (double)images);
    char number[16];
    area a = {l->plot.x + column * l->cell, l->plot.y + row * l->cell, l->cell, l->cell};
    draw_area(c, a, colour_at(depth));
    if (l->cell < NUMBERED) return;
    snprintf(number, sizeof number, "%u", count);
    draw_text(
        c, (caption){a.x + l->cell / 2, a.y + l->cell / 2, count < 1000 ? 2 : 1, 0, false, depth > 0.5 ? WHITE : BLACK},
        number);
}

/* Cells of no images stay white. */
static void draw_cells(canvas *c, const layout *l)
{
    const uint32_t *counts = l->picture->score->confusion;
    for (int row = 0; row < l->rows; row++)
        for (int column = 0; column < l->columns; column++)
            if (*counts++) draw_cell(c, l, row, column);
    draw_frame(c, l->plot);
}

/* At the right: from none of a class's images to all of them. */
static void draw_scale(canvas *c, const layout *l)
{
    static const double shares[] = {0, 0.01, 0.05, 0.2, 0.5, 1};
    enum { STEPS = 100 };
    int height = l->plot.height < 240 ? 240 : l->plot.height > 480 ? 480 : l->plot.height;
    area bar = {l->plot.x + l->plot.width + 3 * GAP, l->plot.y, 20, height};
    for (int i = 0; i < STEPS; i++) {
        int top = height * (STEPS - 1 - i) / STEPS, bottom = height * (STEPS - i) / STEPS;
        draw_area(c, (area){bar.x, bar.y + top, bar.width, bottom - top}, colour_at((i + 0.5) / STEPS));
    }
    draw_frame(c, bar);
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        char text[16];
        snprintf(text, sizeof text, "%.0f%%", 100 * shares[i]);
        int y = bar.y + (int)lround((1 - strength(shares[i])) * (height - 1));
        draw_area(c, (area){bar.x + bar.width + 1, y, 4, 1}, GREY);
        draw_text(c, (caption){bar.x + bar.width + GAP, y, 2, -1, false, BLACK}, text);
    }
}

enum { SCALE_ROOM = 3 * GAP + 20 + GAP + 4 * 2 * ADVANCE + 2 * GAP };

static void set_size(canvas *c, const layout *l)
{
    int title = (characters(l->picture->title) * ADVANCE + 4) * 2 + 2 * GAP;
    int height = l->plot.height > 240 ? l->plot.height : 240;
    c->image.width = l->plot.x + l->plot.width + SCALE_ROOM;
    if (c->image.width < title) c->image.width = title;
    c->image.height = l->plot.y + height + l->column_names + 4 * GAP + 16;
}

static void draw(canvas *c, const layout *l)
{
    draw_area(c, (area){0, 0, c->image.width, c->image.height}, WHITE);
    draw_text(c, (caption){GAP, 20, 2, -1, false, BLACK}, l->picture->title);
    draw_text(c, (caption){GAP, 44, 1, -1, false, GREY},
              l->cell >= NUMBERED ? "colour: share of the true class's images; number: images"
                                  : "colour: share of the true class's images");
    draw_cells(c, l);
    draw_names(c, l, false);
    draw_names(c, l, true);
    draw_text(c, (caption){GAP + 8, l->plot.y + l->plot.height / 2, 2, 0, true, BLACK}, "true class");
    int below = l->plot.y + l->plot.height + l->column_names + 3 * GAP;
    draw_text(c, (caption){l->plot.x + l->plot.width / 2, below, 2, 0, false, BLACK}, "predicted class");
    draw_scale(c, l);
}

/* ---- files ---- */

static tw_status write_svg(const char *path, const layout *l, tw_error *error)
{
    tw_file_writer writer;
    tw_status status = tw_file_begin(&writer, path, error);
    if (status != TW_OK) return status;
    canvas c = {.svg = writer.stream};
    set_size(&c, l);
    fprintf(c.svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" shape-rendering=\"crispEdges\">\n",
            c.image.width, c.image.height, c.image.width, c.image.height);
    draw(&c, l);
    fputs("</svg>\n", c.svg);
    status = tw_file_commit(&writer, error);
    if (status != TW_OK) tw_file_discard(&writer);
    return status;
}

static tw_status write_png(const char *path, const layout *l, tw_error *error)
{
    canvas c = {0};
    set_size(&c, l);
    size_t bytes = 3 * (size_t)c.image.width * (size_t)c.image.height;
    c.image.rgb = malloc(bytes);
    if (!c.image.rgb) return tw_no_memory(error, bytes, "a picture");
    draw(&c, l);
    tw_status status = tw_png_write(path, &c.image, error);
    tw_image_free(&c.image);
    return status;
}

tw_status cli_confusion_check(const char *path, tw_error *error)
{
    tw_file_writer writer;
    if (!cli_has_ending(path, ".png") && !cli_has_ending(path, ".svg"))
        return tw_fail(error, TW_INVALID, "--confusion: %s: expected a name that ends in .png or .svg", path);
    tw_status status = tw_file_begin(&writer, path, error);
    if (status == TW_OK) tw_file_discard(&writer);
    return status;
}

tw_status cli_confusion_write(const char *path, const cli_confusion *picture, tw_error *error)
{
    const tw_score *score = picture->score;
    if (score->classes > MAX_CLASSES)
        return tw_fail(error, TW_INVALID, "%s: a picture shows at most %d classes, not %zu", path, MAX_CLASSES,
                       score->classes);
    layout l = arrange(picture);
    return cli_has_ending(path, ".png") ? write_png(path, &l, error) : write_svg(path, &l, error);
}

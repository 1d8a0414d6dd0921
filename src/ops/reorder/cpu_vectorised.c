/* reorder between plain and blocked, by transposing tiles of 16 channels x 16 pixels in registers.
 *
 *   plain [c][pixels] <-> blocked [c / 16][pixels][16]: a block is the transpose of 16 rows of pixels.
 *
 * A tile is cut into squares of 4 x 4, which every instruction set has and which keeps up with memory: one read and one
 * write an element. Channels beyond c are written as zero. */
#include "devices/cpu/simd.h"
#include "ops/common/dims.h"
#include "ops/reorder/reorder.h"

enum { GRAIN = 32 << 10 }; /* elements */

enum { SQUARE = 4 };
typedef float quad __attribute__((vector_size(16)));

TW_INLINE void transpose_square(quad r[SQUARE])
{
    quad a = __builtin_shufflevector(r[0], r[1], 0, 4, 1, 5), b = __builtin_shufflevector(r[0], r[1], 2, 6, 3, 7);
    quad c = __builtin_shufflevector(r[2], r[3], 0, 4, 1, 5), d = __builtin_shufflevector(r[2], r[3], 2, 6, 3, 7);
    r[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    r[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    r[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    r[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

/* y[j * y_row + i] = i < x_rows ? x[i * x_row + j] : 0, for i < 16 and j < y_rows */
TW_INLINE void transpose_tile(const float *x, size_t x_row, size_t x_rows, float *y, size_t y_row, size_t y_rows)
{
    for (size_t i = 0; i < 16; i += SQUARE)
        for (size_t j = 0; j < y_rows; j += SQUARE) {
            quad r[SQUARE] = {0};
            for (size_t k = 0; k < SQUARE; k++)
                if (i + k < x_rows) memcpy(&r[k], x + (i + k) * x_row + j, sizeof r[k]);
            transpose_square(r);
            for (size_t k = 0; k < SQUARE; k++)
                if (j + k < y_rows) memcpy(y + (j + k) * y_row + i, &r[k], sizeof r[k]);
        }
}

typedef struct job {
    const float *x;
    float *y;
    size_t channels, blocks, pixels, strips; /* a strip: up to 16 pixels of one block */
    bool to_blocked;
} job;

/* rows of pixels of `used` channels -> [pixels of the strip][16] */
static void strip_to_blocked(const float *x, float *y, size_t pixels, size_t used, size_t width)
{
    if (width == 16) {
        if (used == TW_BLOCK)
            transpose_tile(x, pixels, TW_BLOCK, y, TW_BLOCK, 16);
        else
            transpose_tile(x, pixels, used, y, TW_BLOCK, 16);
        return;
    }
    for (size_t i = 0; i < width; i++)
        for (size_t c = 0; c < TW_BLOCK; c++) y[i * TW_BLOCK + c] = c < used ? x[c * pixels + i] : 0;
}

static void strip_to_plain(const float *x, float *y, size_t pixels, size_t used, size_t width)
{
    if (width == 16) {
        if (used == TW_BLOCK)
            transpose_tile(x, TW_BLOCK, 16, y, pixels, TW_BLOCK);
        else
            transpose_tile(x, TW_BLOCK, 16, y, pixels, used);
        return;
    }
    for (size_t c = 0; c < used; c++)
        for (size_t i = 0; i < width; i++) y[c * pixels + i] = x[i * TW_BLOCK + c];
}

/* items are strips: of n, then of blocks, then along the pixels */
static void move_strips(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    for (size_t item = begin; item < end; item++) {
        size_t block = item / j->strips % j->blocks, n = item / j->strips / j->blocks;
        size_t pixel = item % j->strips * 16, first = block * TW_BLOCK;
        size_t width = j->pixels - pixel < 16 ? j->pixels - pixel : 16;
        size_t used = j->channels - first < TW_BLOCK ? j->channels - first : TW_BLOCK;
        size_t plain = (n * j->channels + first) * j->pixels + pixel;
        size_t blocked = ((n * j->blocks + block) * j->pixels + pixel) * TW_BLOCK;
        if (j->to_blocked)
            strip_to_blocked(j->x + plain, j->y + blocked, j->pixels, used, width);
        else
            strip_to_plain(j->x + blocked, j->y + plain, j->pixels, used, width);
    }
}

/* items are rows of one pixel: the channels are in order in both layouts */
static void move_rows(const void *context, size_t begin, size_t end, int thread)
{
    (void)thread;
    const job *j = context;
    size_t padded = j->blocks * TW_BLOCK, rest = padded - j->channels;
    for (size_t n = begin; n < end; n++) {
        if (j->to_blocked) {
            memcpy(j->y + n * padded, j->x + n * j->channels, j->channels * sizeof *j->y);
            memset(j->y + n * padded + j->channels, 0, rest * sizeof *j->y);
        } else {
            memcpy(j->y + n * j->channels, j->x + n * padded, j->channels * sizeof *j->y);
        }
    }
}

static tw_status run(const tw_step *step, tw_queue *queue)
{
    const tw_reorder *p = step->problem->params;
    job j = {.x = step->in[0], .y = step->out, .channels = (size_t)p->c, .pixels = (size_t)p->h * (size_t)p->w};
    j.blocks = (j.channels + TW_BLOCK - 1) / TW_BLOCK;
    j.strips = (j.pixels + 15) / 16;
    j.to_blocked = step->problem->out.layout == TW_BLOCKED;
    if (j.pixels == 1)
        tw_parallel(queue, move_rows, &j, (size_t)p->n, GRAIN / j.channels + 1);
    else
        tw_parallel(queue, move_strips, &j, (size_t)p->n * j.blocks * j.strips, GRAIN / (16 * TW_BLOCK));
    return TW_OK;
}

static bool supports(const tw_problem *problem, const tw_device *device, const char **reason)
{
    (void)device;
    *reason = "float32 from plain to blocked or back";
    tw_layout from = problem->in[0].layout, to = problem->out.layout;
    return problem->in[0].dtype == TW_F32 && problem->out.dtype == TW_F32 &&
           ((from == TW_PLAIN && to == TW_BLOCKED) || (from == TW_BLOCKED && to == TW_PLAIN));
}

static double cost(const tw_problem *problem, const tw_device *device)
{
    return tw_cpu_seconds(device, 0, 1, tw_problem_traffic(problem), tw_cpu_threads(device));
}

const tw_design TW_CPU_DESIGN(reorder, vectorised) = {
    .op = "reorder",
    .device = "cpu",
    .name = "vectorised",
    .summary = "transposes tiles of 16 channels x 16 pixels between plain and blocked",
    .supports = supports,
    .cost = cost,
    .run = run,
};

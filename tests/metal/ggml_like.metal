// Kernels in the manner of C inference libraries: blocks of quantised weights, half4, simd_sum, function constants.
#include <metal_stdlib>
using namespace metal;

#define QK 32
#define N_SIMDWIDTH 32
#define MIN(x, y) ((x) < (y) ? (x) : (y))
#define SWAP(x, y)                                                                                                     \
    {                                                                                                                  \
        auto tmp = (x);                                                                                                \
        (x) = (y);                                                                                                     \
        (y) = tmp;                                                                                                     \
    }

typedef struct {
    half d;
    uint8_t qs[QK / 2];
} block_q4;
static_assert(sizeof(block_q4) == sizeof(half) + QK / 2, "wrong size of a block");

typedef struct {
    int32_t ne00;
    int32_t ne01;
    uint64_t nb01;
    float eps;
} args_norm;

constant bool has_bias [[function_constant(0)]];
constant short rows_per_group [[function_constant(1)]];
constant short rows = is_function_constant_defined(rows_per_group) ? rows_per_group : 1;

static inline float block_dot(device const block_q4 *qb, float sumy, thread float *yl, int il)
{
    float d = qb->d;
    float2 acc = 0.f;
    device const uint16_t *qs = ((device const uint16_t *)qb + 1 + il / 2);
    for (int i = 0; i < 8; i += 2) {
        acc[0] += yl[i + 0] * (qs[i / 2] & 0x000F) + yl[i + 1] * (qs[i / 2] & 0x0F00);
        acc[1] += yl[i + 8] * (qs[i / 2] & 0x00F0) + yl[i + 9] * (qs[i / 2] & 0xF000);
    }
    return d * (sumy * -8.f + acc[0] + acc[1]);
}

// dst = dot products of rows of quantised x with y: 16 threads of a simdgroup take half a block each.
kernel void mul_mv_q4_f32(device const void *src0 [[buffer(0)]], device const float *y [[buffer(1)]],
                          device float *dst [[buffer(2)]], constant args_norm &args [[buffer(3)]],
                          device const float *bias [[buffer(4), function_constant(has_bias)]],
                          uint3 tgpig [[threadgroup_position_in_grid]], ushort tiisg [[thread_index_in_simdgroup]])
{
    device const block_q4 *x = (device const block_q4 *)src0;
    const int nb = args.ne00 / QK;
    const int first_row = tgpig.x * rows;
    for (int row = first_row; row < first_row + rows && row < args.ne01; row++) {
        device const block_q4 *xr = x + row * nb;
        float sumf = 0.f;
        const short ix = tiisg / 2, il = (tiisg % 2) * 8;
        for (int ib = ix; ib < nb; ib += N_SIMDWIDTH / 2) {
            float yl[16], sumy = 0.f;
            device const float *yb = y + ib * QK + il;
            for (int i = 0; i < 8; i += 2) {
                sumy += yb[i] + yb[i + 1] + yb[i + 16] + yb[i + 17];
                yl[i + 0] = yb[i + 0];
                yl[i + 1] = yb[i + 1] / 256.f;
                yl[i + 8] = yb[i + 16] / 16.f;
                yl[i + 9] = yb[i + 17] / 4096.f;
            }
            sumf += block_dot(xr + ib, sumy, yl, il);
        }
        const float tot = simd_sum(sumf);
        if (tiisg == 0) dst[row] = has_bias ? tot + bias[row] : tot;
    }
}

kernel void rms_norm(device const char *src0 [[buffer(0)]], device char *dst [[buffer(1)]],
                     constant args_norm &args [[buffer(2)]], threadgroup float *shmem_f32 [[threadgroup(0)]],
                     uint3 tgpig [[threadgroup_position_in_grid]], ushort3 tpitg [[thread_position_in_threadgroup]],
                     ushort sgitg [[simdgroup_index_in_threadgroup]], ushort tiisg [[thread_index_in_simdgroup]],
                     ushort3 ntg [[threads_per_threadgroup]])
{
    if (sgitg == 0) shmem_f32[tiisg] = 0.0f;
    device const float4 *x = (device const float4 *)(src0 + tgpig.x * args.nb01);
    float sumf = 0.0f;
    for (int i00 = tpitg.x; i00 < args.ne00 / 4; i00 += ntg.x) sumf += dot(x[i00], x[i00]);
    sumf = simd_sum(sumf);
    threadgroup_barrier(mem_flags::mem_threadgroup);
    if (tiisg == 0) shmem_f32[sgitg] = sumf;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    sumf = shmem_f32[tiisg];
    sumf = simd_sum(sumf);
    const float mean = sumf / args.ne00;
    const float scale = 1.0f / sqrt(mean + args.eps);
    device float4 *y = (device float4 *)(dst + tgpig.x * args.nb01);
    for (int i00 = tpitg.x; i00 < args.ne00 / 4; i00 += ntg.x) y[i00] = x[i00] * scale;
}

// Weights of half4, activations of float4, the product in float.
template <typename T4> void convert4(device const T4 *from, short il, thread float4 &to) { to = (float4)(from[il]); }
template <typename T4, void (*dequantize)(device const T4 *, short, thread float4 &)>
kernel void mul_mv_4(device const T4 *x [[buffer(0)]], device const float4 *y [[buffer(1)]],
                     device float *dst [[buffer(2)]], constant int &ne00 [[buffer(3)]],
                     uint row [[threadgroup_position_in_grid]], ushort tiisg [[thread_index_in_simdgroup]])
{
    float sumf = 0;
    for (int i = tiisg; i < ne00 / 4; i += 32) {
        float4 w;
        dequantize(x + row * (ne00 / 4), i, w);
        sumf += dot(w, y[i]);
    }
    sumf = simd_sum(sumf);
    if (tiisg == 0) dst[row] = sumf;
}
typedef decltype(mul_mv_4<half4, convert4>) mul_mv_4_t;
template [[host_name("mul_mv_f16_4")]] kernel mul_mv_4_t mul_mv_4<half4, convert4>;

kernel void gelu(device const float *src0, device float *dst, uint tpig [[thread_position_in_grid]])
{
    device const float &x = src0[tpig];
    dst[tpig] = 0.5f * x * (1.0f + precise::tanh(0.79788456080286535587989211986876f * x * (1.0f + 0.044715f * x * x)));
}

// Bitonic sort of a row's indices in threadgroup memory.
kernel void argsort(device const float *x [[buffer(0)]], device int32_t *dst [[buffer(1)]],
                    constant int64_t &ncols [[buffer(2)]], constant int64_t &ncols_pad [[buffer(3)]],
                    threadgroup int32_t *shared_values [[threadgroup(0)]],
                    uint3 tgpig [[threadgroup_position_in_grid]], uint3 tpitg [[thread_position_in_threadgroup]])
{
    int col = tpitg[0];
    int row = tgpig[1];
    if (col >= ncols_pad) return;
    device const float *x_row = x + row * ncols;
    threadgroup int32_t *dst_row = shared_values;
    dst_row[col] = col;
    threadgroup_barrier(mem_flags::mem_threadgroup);
    for (int k = 2; k <= ncols_pad; k *= 2) {
        for (int j = k / 2; j > 0; j /= 2) {
            int ixj = col ^ j;
            if (ixj > col) {
                bool up = (col & k) == 0;
                bool wrong = dst_row[col] >= ncols ||
                             (dst_row[ixj] < ncols && (up ? x_row[dst_row[col]] > x_row[dst_row[ixj]]
                                                          : x_row[dst_row[col]] < x_row[dst_row[ixj]]));
                if (up ? wrong : dst_row[ixj] >= ncols || (dst_row[col] < ncols && wrong)) {
                    SWAP(dst_row[col], dst_row[ixj]);
                }
            }
            threadgroup_barrier(mem_flags::mem_threadgroup);
        }
    }
    if (col < ncols) dst[row * ncols + col] = dst_row[col];
}

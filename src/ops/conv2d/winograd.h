/* Winograd's minimal filtering for convolution with stride 1, F(m x m, r x r): F(4 x 4, 3 x 3), F(6 x 6, 3 x 3) and, with
 * the latter's points, F(4 x 4, 5 x 5). What its designs share on every device. Source: Lavin and Gray, "Fast Algorithms
 * for Convolutional Neural Networks" (2015); the construction from points is Toom and Cook's.
 *
 *   y = A^T [ (G g G^T) * (B^T d B) ] A      summed over input channels inside the brackets
 *
 * d is a window of alpha x alpha inputs, alpha = m + r - 1; g the r x r kernel; y the m x m outputs of a tile; * goes
 * element by element. alpha^2 multiplications do the work of (m r)^2: 4 times fewer for F(4, 3), 5.06 times for F(6, 3),
 * 6.25 times for F(4, 5).
 *
 * The polynomials behind it are evaluated at 0, at alpha / 2 - 1 pairs +-p and at infinity. Row i of B^T holds the
 * coefficients of the product of (x - q) over all other points q (at infinity: over all), row i of G is (1, p, p^2, ...)
 * divided by that product's value at p (at infinity: 0, ..., 0, 1), column i of A^T is (1, p, p^2, ...) (at infinity:
 * only the last row).
 * A pair shares its work: an even part, an odd part, their sum and their difference.
 *
 * The points decide the rounding error. Of pairs of small fractions, whose coefficients are exact, these err least in
 * float32: alpha = 6: 3/4, 3/2, about 1e-6 of the output's scale, a quarter of what the usual 1, 2 give; alpha = 8: 1/2,
 * 1, 2, about 5e-6.
 *
 * Included by C, CUDA and Metal. TW_WINOGRAD_VALUE is what is transformed: float, or a vector of channels. */
#ifndef TW_OPS_CONV2D_WINOGRAD_H
#define TW_OPS_CONV2D_WINOGRAD_H

#ifndef TW_WINOGRAD_VALUE
#define TW_WINOGRAD_VALUE float
#endif
#if defined(__METAL_VERSION__)
#define TW_WINOGRAD_FUNCTION static inline
#define TW_WINOGRAD_LOCAL thread
#elif defined(__CUDACC__)
#define TW_WINOGRAD_FUNCTION static __host__ __device__ __forceinline__
#define TW_WINOGRAD_LOCAL
#else
#define TW_WINOGRAD_FUNCTION static inline __attribute__((always_inline))
#define TW_WINOGRAD_LOCAL
#endif

enum { TW_WINOGRAD_MAX_ALPHA = 8, TW_WINOGRAD_MAX_KERNEL = 5 };

/* The pairs of points. */
#define TW_WINOGRAD_4A 0.75f
#define TW_WINOGRAD_4B 1.5f
#define TW_WINOGRAD_6A 0.5f
#define TW_WINOGRAD_6B 1.0f
#define TW_WINOGRAD_6C 2.0f

/* Tiles along one side of an output. */
TW_WINOGRAD_FUNCTION int tw_winograd_tiles(int outputs, int m)
{
    return (outputs - 1) / m + 1;
}

/* v[6] = B^T d[6] */
TW_WINOGRAD_FUNCTION void tw_winograd_input4(TW_WINOGRAD_LOCAL const TW_WINOGRAD_VALUE *d,
                                             TW_WINOGRAD_LOCAL TW_WINOGRAD_VALUE *v)
{
    const float a = TW_WINOGRAD_4A, b = TW_WINOGRAD_4B, aa = a * a, bb = b * b;
    TW_WINOGRAD_VALUE even_a = d[4] - d[2] * bb, odd_a = d[3] - d[1] * bb;
    TW_WINOGRAD_VALUE even_b = d[4] - d[2] * aa, odd_b = d[3] - d[1] * aa;
    v[0] = d[4] - d[2] * (aa + bb) + d[0] * (aa * bb);
    v[1] = even_a + odd_a * a;
    v[2] = even_a - odd_a * a;
    v[3] = even_b + odd_b * b;
    v[4] = even_b - odd_b * b;
    v[5] = d[5] - d[3] * (aa + bb) + d[1] * (aa * bb);
}

/* y[4] = A^T v[6] */
TW_WINOGRAD_FUNCTION void tw_winograd_output4(TW_WINOGRAD_LOCAL const TW_WINOGRAD_VALUE *v,
                                              TW_WINOGRAD_LOCAL TW_WINOGRAD_VALUE *y)
{
    const float a = TW_WINOGRAD_4A, b = TW_WINOGRAD_4B, aa = a * a, bb = b * b;
    TW_WINOGRAD_VALUE even_a = v[1] + v[2], odd_a = v[1] - v[2], even_b = v[3] + v[4], odd_b = v[3] - v[4];
    y[0] = v[0] + even_a + even_b;
    y[1] = odd_a * a + odd_b * b;
    y[2] = even_a * aa + even_b * bb;
    y[3] = v[5] + odd_a * (a * aa) + odd_b * (b * bb);
}

/* v[8] = B^T d[8] */
TW_WINOGRAD_FUNCTION void tw_winograd_input6(TW_WINOGRAD_LOCAL const TW_WINOGRAD_VALUE *d,
                                             TW_WINOGRAD_LOCAL TW_WINOGRAD_VALUE *v)
{
    const float a = TW_WINOGRAD_6A, b = TW_WINOGRAD_6B, c = TW_WINOGRAD_6C, aa = a * a, bb = b * b, cc = c * c;
    TW_WINOGRAD_VALUE even_a = d[6] - d[4] * (bb + cc) + d[2] * (bb * cc);
    TW_WINOGRAD_VALUE odd_a = d[5] - d[3] * (bb + cc) + d[1] * (bb * cc);
    TW_WINOGRAD_VALUE even_b = d[6] - d[4] * (aa + cc) + d[2] * (aa * cc);
    TW_WINOGRAD_VALUE odd_b = d[5] - d[3] * (aa + cc) + d[1] * (aa * cc);
    TW_WINOGRAD_VALUE even_c = d[6] - d[4] * (aa + bb) + d[2] * (aa * bb);
    TW_WINOGRAD_VALUE odd_c = d[5] - d[3] * (aa + bb) + d[1] * (aa * bb);
    v[0] = d[6] - d[4] * (aa + bb + cc) + d[2] * (aa * bb + aa * cc + bb * cc) - d[0] * (aa * bb * cc);
    v[1] = even_a + odd_a * a;
    v[2] = even_a - odd_a * a;
    v[3] = even_b + odd_b * b;
    v[4] = even_b - odd_b * b;
    v[5] = even_c + odd_c * c;
    v[6] = even_c - odd_c * c;
    v[7] = d[7] - d[5] * (aa + bb + cc) + d[3] * (aa * bb + aa * cc + bb * cc) - d[1] * (aa * bb * cc);
}

/* y[6] = A^T v[8] */
TW_WINOGRAD_FUNCTION void tw_winograd_output6(TW_WINOGRAD_LOCAL const TW_WINOGRAD_VALUE *v,
                                              TW_WINOGRAD_LOCAL TW_WINOGRAD_VALUE *y)
{
    const float a = TW_WINOGRAD_6A, b = TW_WINOGRAD_6B, c = TW_WINOGRAD_6C, aa = a * a, bb = b * b, cc = c * c;
    TW_WINOGRAD_VALUE even_a = v[1] + v[2], odd_a = v[1] - v[2];
    TW_WINOGRAD_VALUE even_b = v[3] + v[4], odd_b = v[3] - v[4];
    TW_WINOGRAD_VALUE even_c = v[5] + v[6], odd_c = v[5] - v[6];
    y[0] = v[0] + even_a + even_b + even_c;
    y[1] = odd_a * a + odd_b * b + odd_c * c;
    y[2] = even_a * aa + even_b * bb + even_c * cc;
    y[3] = odd_a * (a * aa) + odd_b * (b * bb) + odd_c * (c * cc);
    y[4] = even_a * (aa * aa) + even_b * (bb * bb) + even_c * (cc * cc);
    y[5] = v[7] + odd_a * (a * aa * aa) + odd_b * (b * bb * bb) + odd_c * (c * cc * cc);
}

/* y[4] = A^T v[8], of 5 x 5 kernels */
TW_WINOGRAD_FUNCTION void tw_winograd_output4_of8(TW_WINOGRAD_LOCAL const TW_WINOGRAD_VALUE *v,
                                                  TW_WINOGRAD_LOCAL TW_WINOGRAD_VALUE *y)
{
    const float a = TW_WINOGRAD_6A, b = TW_WINOGRAD_6B, c = TW_WINOGRAD_6C, aa = a * a, bb = b * b, cc = c * c;
    TW_WINOGRAD_VALUE even_a = v[1] + v[2], odd_a = v[1] - v[2];
    TW_WINOGRAD_VALUE even_b = v[3] + v[4], odd_b = v[3] - v[4];
    TW_WINOGRAD_VALUE even_c = v[5] + v[6], odd_c = v[5] - v[6];
    y[0] = v[0] + even_a + even_b + even_c;
    y[1] = odd_a * a + odd_b * b + odd_c * c;
    y[2] = even_a * aa + even_b * bb + even_c * cc;
    y[3] = v[7] + odd_a * (a * aa) + odd_b * (b * bb) + odd_c * (c * cc);
}

#if !defined(__METAL_VERSION__) /* on the host: weights are transformed once, in double precision */

/* G [alpha][r] */
static inline void tw_winograd_kernel_matrix(int m, int r, double G[TW_WINOGRAD_MAX_ALPHA][TW_WINOGRAD_MAX_KERNEL])
{
    static const double points6[] = {0, TW_WINOGRAD_4A, -TW_WINOGRAD_4A, TW_WINOGRAD_4B, -TW_WINOGRAD_4B};
    static const double points8[] = {
        0, TW_WINOGRAD_6A, -TW_WINOGRAD_6A, TW_WINOGRAD_6B, -TW_WINOGRAD_6B, TW_WINOGRAD_6C, -TW_WINOGRAD_6C};
    const int finite = m + r - 2;
    const double *points = finite == 5 ? points6 : points8;
    for (int i = 0; i < finite; i++) {
        double divisor = 1, power = 1;
        for (int j = 0; j < finite; j++)
            if (j != i) divisor *= points[i] - points[j];
        for (int k = 0; k < r; k++, power *= points[i]) G[i][k] = power / divisor;
    }
    for (int k = 0; k < r; k++) G[finite][k] = k == r - 1;
}

/* u[alpha][alpha] = G g G^T of one kernel g[r][r] */
static inline void tw_winograd_transform_kernel(int m, int r, double G[TW_WINOGRAD_MAX_ALPHA][TW_WINOGRAD_MAX_KERNEL],
                                                const float *g, double *u)
{
    const int alpha = m + r - 1;
    for (int i = 0; i < alpha; i++) {
        double half[TW_WINOGRAD_MAX_KERNEL] = {0};
        for (int x = 0; x < r; x++)
            for (int y = 0; y < r; y++) half[x] += G[i][y] * (double)g[y * r + x];
        for (int j = 0; j < alpha; j++) {
            double sum = 0;
            for (int x = 0; x < r; x++) sum += half[x] * G[j][x];
            u[i * alpha + j] = sum;
        }
    }
}

#endif
#endif

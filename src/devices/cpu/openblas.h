/* The system's OpenBLAS, a yardstick for matrix products: loaded when first asked for, never linked. */
#ifndef TW_DEVICES_CPU_OPENBLAS_H
#define TW_DEVICES_CPU_OPENBLAS_H

typedef struct tw_openblas {
    /* c[m][n] = a[m][k] * b[k][n] + beta * c, row-major; `transposed` values are CBLAS's own, 111 or 112. */
    void (*sgemm)(int order, int a_transposed, int b_transposed, int m, int n, int k, float alpha, const float *a,
                  int a_row, const float *b, int b_row, float beta, float *c, int c_row);
    /* y[m] = a[m][n] * x[n] + beta * y, row-major */
    void (*sgemv)(int order, int a_transposed, int m, int n, float alpha, const float *a, int a_row, const float *x,
                  int x_step, float beta, float *y, int y_step);
    void (*set_threads)(int threads);
    int most_threads; /* more of its waiting threads than cores take each other's time */
} tw_openblas;

enum { TW_BLAS_ROW_MAJOR = 101, TW_BLAS_AS_IS = 111, TW_BLAS_TRANSPOSED = 112 };

/* Null, with *reason set, where this machine has none. Thread-safe. */
const tw_openblas *tw_openblas_load(const char **reason);

#endif

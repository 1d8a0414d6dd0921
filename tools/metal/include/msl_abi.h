/* The C interface of a translated Metal library: what tools/metal/build makes of one .metal file exports two functions,
 * the same two for every mode on the CPU (plain, asan, tsan, count); for cuda see the end.
 *
 *     const msl_library *msl_describe(void);
 *     int msl_launch(const msl_launch_desc *desc, char *message, size_t message_bytes);
 *
 * A host opens the library with dlopen, reads the table and launches kernels by name. msl_launch blocks until the
 * kernel has run and returns MSL_OK, or writes one line to message: what, the
 * kernel, and the file and line where they are known. After MSL_FAULT the buffers hold what the kernel had written.
 * Launches of one library take turns; different libraries may run at the same time. */
#ifndef TILEWISE_MSL_ABI_H
#define TILEWISE_MSL_ABI_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MSL_ABI_VERSION 2
#define MSL_MAX_BUFFERS 31 /* buffer(0) to buffer(30), as in Metal */

enum msl_result {
    MSL_OK = 0,
    MSL_INVALID = 1, /* the launch is wrong: no such kernel, a buffer or a constant missing, too many threads */
    MSL_FAULT = 2    /* the kernel is wrong: divergent barrier, too much threadgroup memory */
};

enum msl_space { MSL_DEVICE, MSL_CONSTANT, MSL_THREADGROUP };

/* One buffer or threadgroup argument of a kernel; positions in the grid are no arguments. */
typedef struct msl_argument {
    const char *name;
    uint32_t index;         /* n of [[buffer(n)]] or [[threadgroup(n)]] */
    uint8_t space;          /* enum msl_space */
    uint8_t writable;       /* the kernel may write it: its pointee is not const */
    uint8_t optional;       /* [[function_constant(c)]]: may stay unbound */
    uint32_t element_bytes; /* of the type pointed to */
} msl_argument;

typedef struct msl_kernel {
    const char *name; /* of the function, or its [[host_name]] */
    const msl_argument *arguments;
    uint32_t argument_count;
    uint8_t uses_barrier;           /* threadgroup_barrier, in it or in what it calls */
    uint8_t uses_simdgroup;         /* simd_*, quad_*, simdgroup_barrier or simdgroup matrices */
    uint8_t uses_simdgroup_matrix;
    uint8_t uses_atomics;
    uint32_t max_total_threads;     /* [[max_total_threads_per_threadgroup(n)]]; 0 where it says none */
} msl_kernel;

/* One [[function_constant(n)]] of the file. */
typedef struct msl_constant {
    const char *name;
    uint32_t index;
    uint32_t bytes;   /* 1 for bool, 4 for int, uint and float */
    const char *type; /* "bool", "int", "uint", "float", ... */
} msl_constant;

typedef struct msl_library {
    uint32_t abi_version;
    const char *mode;   /* "plain", "asan", "tsan", "count", "cuda" */
    const char *family; /* "apple7": what the translation was asked for */
    const msl_kernel *kernels;
    uint32_t kernel_count;
    const msl_constant *constants;
    uint32_t constant_count;
} msl_library;

/* bytes is the allocation's size: checks use it. A small constant argument is passed the same way, as a pointer to its
 * bytes. */
typedef struct msl_buffer {
    void *data;
    size_t bytes;
} msl_buffer;

/* A value for a function constant, found by name, or by index where name is NULL. */
typedef struct msl_constant_value { // NOLINT(clang-analyzer-optin.performance.Padding): in the order of their meaning
    const char *name;
    uint32_t index;
    const void *value;
    uint32_t bytes;
    const char *type; /* "int", ...; NULL: only its bytes are compared */
} msl_constant_value;

typedef struct msl_counters {
    uint64_t threads, threadgroups;
    uint64_t barriers;              /* threadgroup_barrier, once a threadgroup */
    uint64_t simdgroup_operations;  /* once a simdgroup; simdgroup matrix products among them */
    uint64_t simdgroup_matrix_products;
    uint64_t threadgroup_bytes;     /* static and dynamic threadgroup memory of one threadgroup */
    /* From here on only of libraries of the kind count, else 0. Thread memory is not counted. */
    uint64_t device_read_bytes, device_written_bytes;               /* each time */
    uint64_t device_unique_read_bytes, device_unique_written_bytes; /* each byte once a launch */
    uint64_t device_group_read_bytes; /* once a threadgroup, by four bytes: what a large enough cache would load */
    uint64_t constant_read_bytes;
    uint64_t threadgroup_read_bytes, threadgroup_written_bytes;
    uint64_t flops;             /* additions and products, 1024 a simdgroup matrix product among them */
    uint64_t special_functions; /* exp, sqrt and the like */
    uint64_t atomics;
    /* What simdgroups ask of memory at once, from a sample of at most four threadgroups: instructions, and the lines of
     * 128 bytes that they touch (device), or the turns that 32 banks of four bytes take for them (threadgroup). Of each
     * threadgroup's requests (device), those of the simdgroup that makes most. */
    uint64_t device_requests, device_lines, device_busiest_requests;
    uint64_t threadgroup_requests, threadgroup_turns;
    uint64_t instructions; /* of all threads, in clang's intermediate code, weighed: translator/flops.py */
} msl_counters;

enum msl_flags {
    MSL_POISON = 1 /* threadgroup memory is NaN (all bits set) at the start of each threadgroup; else what was there */
};

/* Zero means the default, throughout. */
typedef struct msl_launch_desc {
    const char *kernel;
    msl_buffer buffers[MSL_MAX_BUFFERS];
    uint32_t threadgroup_bytes[MSL_MAX_BUFFERS]; /* dynamic, by [[threadgroup(n)]]; multiples of 16 */
    const msl_constant_value *constants;
    uint32_t constant_count;
    uint32_t threadgroups[3]; /* dispatchThreadgroups: all three at least 1 */
    uint32_t threads[3];      /* in a threadgroup; at most 1024 in all */
    uint32_t grid[3];         /* dispatchThreads: the exact grid, whose last threadgroups may be smaller; 0 0 0: whole */
    uint32_t threadgroup_limit; /* bytes; 0: 32768 */
    uint32_t workers;         /* threads of the CPU; 0: as many as the machine has */
    uint32_t flags;           /* enum msl_flags */
    uint64_t seed;            /* 0: threads in order; else a random schedule, the same for the same seed */
    msl_counters *counters;   /* may be NULL; overwritten */
} msl_launch_desc;

/* A library of the kind cuda has no msl_launch but msl_image, code for GPUs as cuModuleLoadData takes it. The table's
 * kernel number 2, called sum.f32, is its function msl_2_sum_f32 (what is no letter or digit becomes _), which is
 * launched with threadgroups as blocks, dynamic threadgroup memory as dynamic shared memory and this one parameter. A
 * function constant c is the variable c, and c_msl_defined says whether it was set. */
enum { MSL_CUDA_CONSTANT_BYTES = 2048 };
typedef struct msl_cuda_parameters {
    void *buffers[MSL_MAX_BUFFERS];                /* in the GPU's memory */
    uint32_t constant_offsets[MSL_MAX_BUFFERS];    /* of buffers in the constant address space, in constants; from 16 */
    uint32_t threadgroup_offsets[MSL_MAX_BUFFERS]; /* of [[threadgroup(n)]], in dynamic shared memory */
    uint32_t grid[3];                              /* as in msl_launch_desc */
    uint32_t reserved[2];                          /* 0 */
    unsigned char constants[MSL_CUDA_CONSTANT_BYTES]; /* what lies in the constant address space goes with the launch */
} msl_cuda_parameters;

typedef struct msl_cuda_image {
    const void *code;
    size_t bytes;
} msl_cuda_image;

typedef const msl_library *msl_describe_function(void);
typedef int msl_launch_function(const msl_launch_desc *desc, char *message, size_t message_bytes);

#ifdef __cplusplus
}
#endif

#endif

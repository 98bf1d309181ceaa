/* gradgen_abi.h, ABI 1: the words that all modules emitted by gradgen share.  This file is the same for every module of
 * one ABI number, so any copy serves.  It belongs to whoever generated it: no licence is needed to use it. */
#ifndef GRADGEN_ABI_H
#define GRADGEN_ABI_H

#include <stddef.h>
#include <stdint.h>

#define GRADGEN_ABI_VERSION 1

/* How the functions of a module are exported.  Define it before including a module's header to choose otherwise:
 * `static` for a module included in the one source file that uses it, empty for no attribute at all. */
#ifndef GRADGEN_API
#  if defined(_WIN32) && defined(GRADGEN_SHARED)
#    define GRADGEN_API __declspec(dllexport)
#  elif defined(__GNUC__) && !defined(_WIN32)
#    define GRADGEN_API __attribute__((visibility("default")))
#  else
#    define GRADGEN_API
#  endif
#endif

#if defined(__GNUC__) || defined(_MSC_VER)
#  define GRADGEN_RESTRICT __restrict
#elif !defined(__cplusplus)
#  define GRADGEN_RESTRICT restrict
#else
#  define GRADGEN_RESTRICT
#endif

/* Before a loop whose iterations may run side by side, _WITH a reduction clause for its sums: OpenMP's "simd", which
 * compilers honour with -fopenmp-simd and else ignore.  gcc does so without a warning only in C. */
#if defined(_OPENMP) || defined(__clang__) || (defined(__GNUC__) && !defined(__cplusplus))
#  define GRADGEN_PRAGMA(text) _Pragma(#text)
#  define GRADGEN_SIMD GRADGEN_PRAGMA(omp simd)
#  define GRADGEN_SIMD_WITH(clauses) GRADGEN_PRAGMA(omp simd clauses)
#else
#  define GRADGEN_SIMD
#  define GRADGEN_SIMD_WITH(clauses)
#endif

/* Before a loop whose iterations run on `n` threads where `worth`.  Without OpenMP one thread runs them all: what is
 * computed depends on `n` alone. */
#if defined(_OPENMP)
#  define GRADGEN_PARALLEL_FOR(n, worth) GRADGEN_PRAGMA(omp parallel for schedule(static) num_threads(n) if(worth))
#else
#  define GRADGEN_PARALLEL_FOR(n, worth)
#endif

#define GRADGEN_MAX(a, b) ((a) > (b) ? (a) : (b))
#define GRADGEN_MIN(a, b) ((a) < (b) ? (a) : (b))

/* Alignment of SAVED and WORK blocks in bytes that suits every module.  GRADGEN_ALIGNED before a declaration asks the compiler
 * for it; a module may need less, <NAME>_ALIGN, which matters where memory is scarce:
 *     static GRADGEN_ALIGNED unsigned char work[LINEAR_BCE_WORK_BYTES(32)];
 *     static GRADGEN_ALIGNED_TO(LINEAR_BCE_ALIGN) unsigned char work[LINEAR_BCE_WORK_BYTES(32)];
 * A compiler without such a word leaves it empty; the functions then return GRADGEN_ERR_ALIGN if luck was not enough. */
#define GRADGEN_ALIGN 64
#if defined(__TINYC__) /* says C99, knows C11's word, and ignores the attribute */
#  define GRADGEN_ALIGNED_TO(bytes) _Alignas(bytes)
#elif defined(__GNUC__)
#  define GRADGEN_ALIGNED_TO(bytes) __attribute__((aligned(bytes)))
#elif defined(_MSC_VER)
#  define GRADGEN_ALIGNED_TO(bytes) __declspec(align(bytes))
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#  define GRADGEN_ALIGNED_TO(bytes) _Alignas(bytes)
#elif defined(__cplusplus) && __cplusplus >= 201103L
#  define GRADGEN_ALIGNED_TO(bytes) alignas(bytes)
#else
#  define GRADGEN_ALIGNED_TO(bytes)
#endif
#define GRADGEN_ALIGNED GRADGEN_ALIGNED_TO(GRADGEN_ALIGN)

/* What the machine asks of the address of a type's values: 1 byte on an AVR, and never more than their size. */
#if defined(__GNUC__)
#  define GRADGEN_ALIGNOF(type) __alignof__(type)
#elif defined(__cplusplus) && __cplusplus >= 201103L
#  define GRADGEN_ALIGNOF(type) alignof(type)
#else
#  define GRADGEN_ALIGNOF(type) sizeof(type)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What every function returns.  On anything but GRADGEN_OK, results are unspecified; nothing outside the arguments was
 * touched.  GRADGEN_ERR_INDEX is found while computing, the others before anything is written. */
typedef enum gradgen_status {
    GRADGEN_OK = 0,
    GRADGEN_ERR_NULL = 1,        /* NULL where a value is needed */
    GRADGEN_ERR_DIM = 2,         /* a dimension is negative, too large, not as the module asks, or not forward's */
    GRADGEN_ERR_ALIGN = 3,       /* SAVED or WORK not aligned as the module needs, or a tensor not as its type */
    GRADGEN_ERR_NO_FORWARD = 4,  /* SAVED holds no forward of this module */
    GRADGEN_ERR_GRAPH_FREED = 5, /* SAVED was already used by a backward without GRADGEN_RETAIN_GRAPH */
    GRADGEN_ERR_ABI = 6,         /* module and host were made for different ABI numbers */
    GRADGEN_ERR_INDEX = 7,       /* an element of an index input is out of range */
    GRADGEN_ERR_STORE = 8        /* a store is torn, or of another trainer */
} gradgen_status;

/* Flags of backward and value_and_grad. */
#define GRADGEN_RETAIN_GRAPH UINT32_C(1) /* keep SAVED valid for another backward */
#define GRADGEN_SET_GRAD UINT32_C(2)     /* write gradients instead of adding to them */

typedef enum gradgen_dtype {
    GRADGEN_BOOL = 0, /* uint8_t, 0 or 1 */
    GRADGEN_INT32 = 1,
    GRADGEN_INT64 = 2,
    GRADGEN_FLOAT32 = 3,
    GRADGEN_FLOAT64 = 4
} gradgen_dtype;

/* One input or output.  Elements are dense and row-major.  An extent in `shape` is its value where that is fixed,
 * -1 - k where it is dimension k of the module, and GRADGEN_EXTENT_DERIVED where `shape_text` says how it follows. */
#define GRADGEN_EXTENT_DERIVED INT64_MIN
typedef struct gradgen_tensor_info {
    const char *name;
    const char *shape_text; /* "[N, 5]" */
    const char *formula;    /* an output's own, an input's gradient's; may be empty */
    const int64_t *shape;   /* `ndim` extents; NULL for a scalar */
    int32_t ndim;
    int32_t dtype;          /* a gradgen_dtype */
    int32_t requires_grad;  /* an input: it has a gradient; an output: it has an incoming gradient (cotangent) */
    int32_t reserved;
} gradgen_tensor_info;

/* Where a sparse derivative has entries, in compressed rows: those of row r are `start[r]` to `start[r + 1]` - 1, in the
 * columns `column[e]`, ascending.  Rows and columns count the elements of two tensors, row-major. */
typedef struct gradgen_pattern {
    const char *name; /* "hess_w_b" */
    const char *of;   /* what is differentiated: an output, for second derivatives an input */
    const char *by;   /* the input by which */
    int64_t rows, columns, nonzeros;
    const int32_t *start;  /* rows + 1 of them */
    const int32_t *column; /* nonzeros of them */
} gradgen_pattern;

/* What a module asks of its dimensions; where it does not hold, functions return GRADGEN_ERR_DIM. */
typedef struct gradgen_condition {
    const char *text;  /* "N >= 3" */
    const char *where; /* the line that asks for it, "model.py:12 x[2]"; may be empty */
} gradgen_condition;

/* A module as a host sees it that was not compiled for it.  The tables passed to the functions hold one entry per
 * dimension, input, output, gradient (the inputs with requires_grad) and cotangent (the outputs with requires_grad), each
 * in the order of the tables here.  A table, or an entry that the typed function allows to be NULL, may be NULL.
 * Where `draws` is 1, seed and step of the module's random numbers follow the dimensions in `dims`.
 * This structure only ever grows at its end: check abi_version for equality and struct_size for at least what you use. */
typedef struct gradgen_module {
    uint32_t abi_version;
    uint32_t struct_size;
    const char *name;
    const char *generator; /* version of the generator */
    const char *digest;    /* of what was generated from, "sha256:..." */
    const char *const *dims;
    const gradgen_tensor_info *inputs;
    const gradgen_tensor_info *outputs;
    int32_t n_dims, n_inputs, n_outputs, n_gradients, n_cotangents, draws;

    size_t (*saved_bytes)(const int64_t *dims);
    size_t (*work_bytes)(const int64_t *dims);
    gradgen_status (*forward)(
        const int64_t *dims, const void *const *inputs, void *const *outputs, void *saved, void *work);
    /* NULL in a module without gradients: */
    gradgen_status (*backward)(
        const int64_t *dims, const void *const *inputs, void *saved, const void *const *cotangents,
        void *const *gradients, void *work, uint32_t flags);
    gradgen_status (*value_and_grad)(
        const int64_t *dims, const void *const *inputs, const void *const *cotangents, void *const *outputs,
        void *const *gradients, void *work, uint32_t flags);
    void (*zero_grad)(const int64_t *dims, void *const *gradients);

    /* NULL in a module that was generated without them.  Directions are one per gradient, NULL: zeros.  Derivatives are
     * one per cotangent for jvp, per gradient for hvp, per cotangent and gradient for a Jacobian (those of one cotangent
     * together), per pair of gradients for a Hessian; NULL: not wanted.  The last two write the entries of sparse
     * blocks, as many and in the order of the patterns below. */
    gradgen_status (*jvp)(
        const int64_t *dims, const void *const *inputs, const void *const *directions, void *const *outputs,
        void *const *derivatives, void *work);
    gradgen_status (*jacobian)(
        const int64_t *dims, const void *const *inputs, void *const *derivatives, void *work);
    gradgen_status (*hvp)(
        const int64_t *dims, const void *const *inputs, const void *const *directions, void *const *derivatives,
        void *work);
    gradgen_status (*hessian)(
        const int64_t *dims, const void *const *inputs, void *const *derivatives, void *work);
    gradgen_status (*jacobian_values)(
        const int64_t *dims, const void *const *inputs, void *const *derivatives, void *work);
    gradgen_status (*hessian_values)(
        const int64_t *dims, const void *const *inputs, void *const *derivatives, void *work);
    const gradgen_pattern *jacobian_patterns;
    const gradgen_pattern *hessian_patterns;
    const gradgen_condition *conditions; /* NULL where there are none */
    int64_t n_conditions;
    int64_t align; /* of SAVED and WORK, in bytes: GRADGEN_ALIGN or less */
} gradgen_module;

/* Whether a module can be used by a host compiled with this file: GRADGEN_OK or GRADGEN_ERR_ABI. */
static inline gradgen_status gradgen_check_module(const gradgen_module *module)
{
    const int fits = module->abi_version == GRADGEN_ABI_VERSION && module->struct_size >= sizeof(gradgen_module);
    return fits ? GRADGEN_OK : GRADGEN_ERR_ABI;
}

/* A status in words. */
static inline const char *gradgen_status_text(gradgen_status status)
{
    switch (status) {
    case GRADGEN_OK: return "ok";
    case GRADGEN_ERR_NULL: return "NULL where a value is needed";
    case GRADGEN_ERR_DIM: return "a dimension is out of range or differs from forward's";
    case GRADGEN_ERR_ALIGN: return "a buffer is not aligned";
    case GRADGEN_ERR_NO_FORWARD: return "saved holds no forward of this module";
    case GRADGEN_ERR_GRAPH_FREED: return "saved was already used by a backward";
    case GRADGEN_ERR_ABI: return "module and host were made for different ABI numbers";
    case GRADGEN_ERR_INDEX: return "an index is out of range";
    case GRADGEN_ERR_STORE: return "a store is torn, or of another trainer";
    }
    return "unknown status";
}

#ifdef __cplusplus
}
#endif
#endif

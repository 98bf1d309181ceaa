/* Accuracy harness of the math kernels. Compiled after the fragments, with -DONE_ARG="..." lists made by math_harness.py.
 * Errors are in units of the last place of the exact value (subnormal spacing below the smallest normal number); a wrong
 * nan, infinity or sign of zero counts as WRONG. References: libm in double for float, libquadmath for double. */
#include <float.h>
#include <stdlib.h>

#define WRONG 1e9
#define BLOCK 1024

typedef struct {
    double max_error, x, y, result, reference;
    uint64_t count, wrong;
} report;

static void note(report *r, double error, double x, double y, double result, double reference)
{
    if (error >= WRONG) {
        r->wrong++;
    }
    if (error > r->max_error) {
        r->max_error = error;
        r->x = x;
        r->y = y;
        r->result = result;
        r->reference = reference;
    }
}

/* Error of a float result against a reference in double. */
static inline double error_f32(float result, double exact)
{
    double size = fabs(exact), unit;
    uint64_t bits;
    int over = size >= 340282356779733661637539395458142568448.0; /* rounds to infinity */
    int wrong;
    memcpy(&bits, &size, sizeof bits);
    bits = ((bits >> 52) - 23) << 52;
    memcpy(&unit, &bits, sizeof unit);
    unit = size < 1.17549435082228750797e-38 ? 1.40129846432481707092e-45 : unit;
    wrong = ((result != result) != (exact != exact)) | (over != (fabsf(result) > FLT_MAX))
        | ((over | (result == 0.0f)) & (!signbit(result) != !signbit(exact)) & (exact == exact));
    if (wrong) {
        return WRONG;
    }
    return (exact != exact) | over ? 0.0 : fabs((double)result - exact) / unit;
}

/* torch.maximum and torch.minimum */
static double maximum(double a, double b) { return a != a || a > b ? a : b; }
static double minimum(double a, double b) { return a != a || a < b ? a : b; }

#ifdef LIBMVEC
#define VECTOR_LIBM __attribute__((simd("notinbranch")))
#define V(name) VECTOR_LIBM double name(double)
V(exp); V(exp2); V(expm1); V(log); V(log1p); V(log2); V(log10); V(sin); V(cos); V(tan); V(sinh); V(cosh); V(tanh);
V(asin); V(acos); V(atan); V(asinh); V(acosh); V(atanh); V(erf); V(erfc);
VECTOR_LIBM double pow(double, double);
VECTOR_LIBM double atan2(double, double);
#endif

/* The compositions libm lacks, in the double and the quad version: P is the prefix of functions, S their suffix. */
#define COMPOSED(T, P, S)                                                                                              \
    static inline T P##sigmoid(T x) { return x >= 0 ? 1 / (1 + exp##S(-x)) : exp##S(x) / (1 + exp##S(x)); }            \
    static inline T P##softplus(T x) { return x > 0 ? x + log1p##S(exp##S(-x)) : log1p##S(exp##S(x)); }                \
    static inline T P##logsigmoid(T x) { return -P##softplus(-x); }                                                    \
    static inline T P##rsqrt(T x) { return 1 / sqrt##S(x); }                                                           \
    static inline T P##sign(T x) { return (x > 0) - (x < 0); }
#define SAME(T, P, S, name) static inline T P##name(T x) { return name##S(x); }
#define ALL_SAME(T, P, S)                                                                                              \
    SAME(T, P, S, exp) SAME(T, P, S, exp2) SAME(T, P, S, expm1) SAME(T, P, S, log) SAME(T, P, S, log1p)                \
    SAME(T, P, S, log2) SAME(T, P, S, log10) SAME(T, P, S, sin) SAME(T, P, S, cos) SAME(T, P, S, tan)                  \
    SAME(T, P, S, sinh) SAME(T, P, S, cosh) SAME(T, P, S, tanh) SAME(T, P, S, asin) SAME(T, P, S, acos)                \
    SAME(T, P, S, atan) SAME(T, P, S, asinh) SAME(T, P, S, acosh) SAME(T, P, S, atanh) SAME(T, P, S, erf)              \
    SAME(T, P, S, erfc) SAME(T, P, S, sqrt) SAME(T, P, S, lgamma) SAME(T, P, S, floor)             \
    SAME(T, P, S, ceil) SAME(T, P, S, trunc) SAME(T, P, S, rint)
/* the forms for straight-line code compute the same */
#define SCALAR(T, P, name) static inline T P##name##_scalar(T x) { return P##name(x); }
#define ALL_SCALAR(T, P)                                                                                               \
    SCALAR(T, P, exp) SCALAR(T, P, log) SCALAR(T, P, sigmoid) SCALAR(T, P, sin) SCALAR(T, P, cos) SCALAR(T, P, tan)

ALL_SAME(double, ref_, )
COMPOSED(double, ref_, )
ALL_SCALAR(double, ref_)

#define CHECK_ONE(name)                                                                                                \
    void run_##name##_f32(const float *x, float *y, size_t n);                                                         \
    void run_##name##_f32(const float *x, float *y, size_t n)                                                          \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            y[i] = gg_##name##_f32(x[i]);                                                                              \
        }                                                                                                              \
    }                                                                                                                  \
    void run_##name##_f64(const double *x, double *y, size_t n);                                                       \
    void run_##name##_f64(const double *x, double *y, size_t n)                                                        \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            y[i] = gg_##name##_f64(x[i]);                                                                              \
        }                                                                                                              \
    }                                                                                                                  \
    /* bit patterns first, first + step, ... */                                                                        \
    void check_##name##_f32(uint64_t first, uint64_t step, uint64_t count, report *r);                                 \
    void check_##name##_f32(uint64_t first, uint64_t step, uint64_t count, report *r)                                  \
    {                                                                                                                  \
        double (*volatile scalar)(double) = ref_##name;                                                                \
        float x[BLOCK], y[BLOCK];                                                                                      \
        double z[BLOCK], e[BLOCK];                                                                                     \
        for (uint64_t done = 0; done < count; done += BLOCK) {                                                         \
            for (uint64_t i = 0; i < BLOCK; i++) {                                                                     \
                x[i] = gg_from_bits_f32((uint32_t)(first + (done + i) * step));                                        \
            }                                                                                                          \
            for (int i = 0; i < BLOCK; i++) {                                                                          \
                y[i] = gg_##name##_f32(x[i]);                                                                          \
            }                                                                                                          \
            _Pragma("omp simd") for (int i = 0; i < BLOCK; i++) {                                                      \
                z[i] = ref_##name((double)x[i]);                                                                       \
            }                                                                                                          \
            for (int i = 0; i < BLOCK; i++) {                                                                          \
                e[i] = error_f32(y[i], z[i]);                                                                          \
            }                                                                                                          \
            for (int i = 0; i < BLOCK; i++) {                                                                          \
                if (e[i] > r->max_error) { /* libm's vector functions are to 4 ulp and loose at edges: ask again */    \
                    double exact = scalar((double)x[i]);                                                               \
                    note(r, error_f32(y[i], exact), (double)x[i], 0.0, (double)y[i], exact);                           \
                }                                                                                                      \
            }                                                                                                          \
        }                                                                                                              \
        r->count += count;                                                                                             \
    }

#define RUN_TWO(name)                                                                                                \
    void run_##name##_f32(const float *x, const float *y, float *z, size_t n);                                         \
    void run_##name##_f32(const float *x, const float *y, float *z, size_t n)                                          \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            z[i] = gg_##name##_f32(x[i], y[i]);                                                                        \
        }                                                                                                              \
    }                                                                                                                  \
    void run_##name##_f64(const double *x, const double *y, double *z, size_t n);                                      \
    void run_##name##_f64(const double *x, const double *y, double *z, size_t n)                                       \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            z[i] = gg_##name##_f64(x[i], y[i]);                                                                        \
        }                                                                                                              \
    }

#define CHECK_TWO(name)                                                                                                \
    void check_##name##_f32(const float *x, const float *y, const float *z, size_t n, report *r);                      \
    void check_##name##_f32(const float *x, const float *y, const float *z, size_t n, report *r)                       \
    {                                                                                                                  \
        double (*volatile scalar)(double, double) = name;                                                              \
        for (size_t i = 0; i < n; i++) {                                                                               \
            double exact = scalar((double)x[i], (double)y[i]);                                                         \
            note(r, error_f32(z[i], exact), (double)x[i], (double)y[i], (double)z[i], exact);                          \
        }                                                                                                              \
        r->count += n;                                                                                                 \
    }

/* libm's functions in a plain loop, for comparing speed */
ALL_SAME(float, libmf_, f)
COMPOSED(float, libmf_, f)
ALL_SCALAR(float, libmf_)
#define RUN_LIBM(name)                                                                                                 \
    void libm_##name##_f32(const float *x, float *y, size_t n);                                                        \
    void libm_##name##_f32(const float *x, float *y, size_t n)                                                         \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            y[i] = libmf_##name(x[i]);                                                                                 \
        }                                                                                                              \
    }                                                                                                                  \
    void libm_##name##_f64(const double *x, double *y, size_t n);                                                      \
    void libm_##name##_f64(const double *x, double *y, size_t n)                                                       \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            y[i] = ref_##name(x[i]);                                                                                   \
        }                                                                                                              \
    }

#define RUN_CAST(name, source, S, target)                                                                              \
    void run_##name##_##S(const source *x, target *y, size_t n);                                                       \
    void run_##name##_##S(const source *x, target *y, size_t n)                                                        \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            y[i] = gg_##name##_##S(x[i]);                                                                              \
        }                                                                                                              \
    }
#define RUN_INTEGERS(name, T, S)                                                                                       \
    void run_##name##_##S(const T *x, const T *y, T *z, size_t n);                                                     \
    void run_##name##_##S(const T *x, const T *y, T *z, size_t n)                                                      \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            z[i] = gg_##name##_##S(x[i], y[i]);                                                                        \
        }                                                                                                              \
    }
#define BOTH_INTEGERS(name) RUN_INTEGERS(name, int32_t, i32) RUN_INTEGERS(name, int64_t, i64)

ONE_ARG(CHECK_ONE)
ONE_ARG(RUN_LIBM)
TWO_ARG(RUN_TWO)
TWO_ARG_CHECKED(CHECK_TWO)
INTEGER_TWO_ARG(BOTH_INTEGERS)
RUN_CAST(to_i32, float, f32, int32_t)
RUN_CAST(to_i64, float, f32, int64_t)
RUN_CAST(to_i32, double, f64, int32_t)
RUN_CAST(to_i64, double, f64, int64_t)

#ifdef QUAD
#include <quadmath.h>

static __float128 maximumq(__float128 a, __float128 b) { return a != a || a > b ? a : b; }
static __float128 minimumq(__float128 a, __float128 b) { return a != a || a < b ? a : b; }

static double error_f64(double result, __float128 exact)
{
    __float128 size = fabsq(exact), unit;
    int over = size >= ldexpq(1, 1024) - ldexpq(1, 970), exponent;
    int wrong = ((result != result) != (exact != exact)) | (over != (fabs(result) > DBL_MAX))
        | ((over | (result == 0.0)) & (!signbit(result) != !signbitq(exact)) & (exact == exact));
    if (wrong) {
        return WRONG;
    }
    if (exact != exact || over) {
        return 0.0;
    }
    frexpq(size, &exponent);
    unit = size < (__float128)DBL_MIN ? ldexpq(1, -1074) : ldexpq(1, exponent - 53);
    return (double)(fabsq((__float128)result - exact) / unit);
}

ALL_SAME(__float128, quad_, q)
COMPOSED(__float128, quad_, q)
ALL_SCALAR(__float128, quad_)

#define QUAD_ONE(name)                                                                                                 \
    void check_##name##_f64(const double *x, const double *y, size_t n, report *r);                                    \
    void check_##name##_f64(const double *x, const double *y, size_t n, report *r)                                     \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            __float128 exact = quad_##name((__float128)x[i]);                                                          \
            note(r, error_f64(y[i], exact), x[i], 0.0, y[i], (double)exact);                                           \
        }                                                                                                              \
        r->count += n;                                                                                                 \
    }
#define QUAD_TWO(name)                                                                                                 \
    void check_##name##_f64(const double *x, const double *y, const double *z, size_t n, report *r);                   \
    void check_##name##_f64(const double *x, const double *y, const double *z, size_t n, report *r)                    \
    {                                                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                                               \
            __float128 exact = name##q((__float128)x[i], (__float128)y[i]);                                            \
            note(r, error_f64(z[i], exact), x[i], y[i], z[i], (double)exact);                                          \
        }                                                                                                              \
        r->count += n;                                                                                                 \
    }
ONE_ARG(QUAD_ONE)
TWO_ARG_CHECKED(QUAD_TWO)
#endif

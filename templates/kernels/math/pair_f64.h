/* Unevaluated sums hi + lo of two doubles. The product's error is exact (Dekker 1971 without a fused multiply-add,
 * whose halves are rounded off in the bits so that contraction cannot spoil them). */
/* Where the processor itself has it for this type (bit 8 of __ARM_FP): a library's fma may round twice. */
#if defined(__FMA__) || defined(__FP_FAST_FMA) || (defined(__ARM_FEATURE_FMA) && (__ARM_FP & 8))
#define GG_FUSED_F64
#endif
typedef struct {
    double hi, lo;
} gg_pair_f64;

/* a + b exactly, for any a and b (Knuth, The Art of Computer Programming 2, 4.2.2). */
GG_INLINE gg_pair_f64 gg_two_sum_f64(double a, double b)
{
    gg_pair_f64 r;
    double t;
    r.hi = a + b;
    t = r.hi - a;
    r.lo = (a - (r.hi - t)) + (b - t);
    return r;
}

/* a + b exactly, for |a| >= |b| or a = 0. */
GG_INLINE gg_pair_f64 gg_fast_two_sum_f64(double a, double b)
{
    gg_pair_f64 r;
    r.hi = a + b;
    r.lo = b - (r.hi - a);
    return r;
}

/* a * b exactly, barring underflow and overflow. */
GG_INLINE gg_pair_f64 gg_two_prod_f64(double a, double b)
{
    gg_pair_f64 r;
    r.hi = a * b;
#ifdef GG_FUSED_F64
    r.lo = fma(a, b, -r.hi);
#else
    {
        double ah = gg_from_bits_f64((gg_bits_f64(a) + 0x4000000u) & UINT64_C(0xfffffffff8000000)), al = a - ah;
        double bh = gg_from_bits_f64((gg_bits_f64(b) + 0x4000000u) & UINT64_C(0xfffffffff8000000)), bl = b - bh;
        r.lo = (((ah * bh - r.hi) + ah * bl) + al * bh) + al * bl;
    }
#endif
    return r;
}

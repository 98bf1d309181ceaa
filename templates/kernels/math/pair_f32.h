/* Unevaluated sums hi + lo of two floats. The product's error is exact (Dekker 1971 without a fused multiply-add,
 * whose halves are cut off by a mask so that contraction cannot spoil them). */
/* Where the processor itself has it for this type (bit 4 of __ARM_FP): a library's fma may round twice. */
#if defined(__FMA__) || defined(__FP_FAST_FMAF) || (defined(__ARM_FEATURE_FMA) && (__ARM_FP & 4))
#define GG_FUSED_F32
#endif
typedef struct {
    float hi, lo;
} gg_pair_f32;

/* a + b exactly, for any a and b (Knuth, The Art of Computer Programming 2, 4.2.2). */
GG_INLINE gg_pair_f32 gg_two_sum_f32(float a, float b)
{
    gg_pair_f32 r;
    float t;
    r.hi = a + b;
    t = r.hi - a;
    r.lo = (a - (r.hi - t)) + (b - t);
    return r;
}

/* a + b exactly, for |a| >= |b| or a = 0. */
GG_INLINE gg_pair_f32 gg_fast_two_sum_f32(float a, float b)
{
    gg_pair_f32 r;
    r.hi = a + b;
    r.lo = b - (r.hi - a);
    return r;
}

/* a * b exactly, barring underflow and overflow. */
GG_INLINE gg_pair_f32 gg_two_prod_f32(float a, float b)
{
    gg_pair_f32 r;
    r.hi = a * b;
#ifdef GG_FUSED_F32
    r.lo = fmaf(a, b, -r.hi);
#else
    {
        float ah = gg_from_bits_f32(gg_bits_f32(a) & 0xfffff000u), al = a - ah;
        float bh = gg_from_bits_f32(gg_bits_f32(b) & 0xfffff000u), bl = b - bh;
        r.lo = (((ah * bh - r.hi) + ah * bl) + al * bh) + al * bl;
    }
#endif
    return r;
}

//: GG_FUSED_F32
/* Unevaluated sums hi + lo of two floats. The product's error is exact (Dekker 1971 without a fused multiply-add,
 * whose halves are cut off by a mask so that contraction cannot spoil them). */
/* Where the processor itself has it for this type (bit 4 of __ARM_FP): a library's fma may round twice. */
#if defined(__FMA__) || defined(__FP_FAST_FMAF) || (defined(__ARM_FEATURE_FMA) && (__ARM_FP & 4))
#define GG_FUSED_F32
#endif

//: GG_FUSED_F64
/* Unevaluated sums hi + lo of two doubles. The product's error is exact (Dekker 1971 without a fused multiply-add,
 * whose halves are rounded off in the bits so that contraction cannot spoil them). */
/* Where the processor itself has it for this type (bit 8 of __ARM_FP): a library's fma may round twice. */
#if defined(__FMA__) || defined(__FP_FAST_FMA) || (defined(__ARM_FEATURE_FMA) && (__ARM_FP & 8))
#define GG_FUSED_F64
#endif

//: gg_pair_{{ s }}
typedef struct {
    {{ T }} hi, lo;
} gg_pair_{{ s }};

//: gg_two_sum_{{ s }} < GG_INLINE, gg_pair_{{ s }}
/* a + b exactly, for any a and b (Knuth, The Art of Computer Programming 2, 4.2.2). */
GG_INLINE gg_pair_{{ s }} gg_two_sum_{{ s }}({{ T }} a, {{ T }} b)
{
    gg_pair_{{ s }} r;
    {{ T }} t;
    r.hi = a + b;
    t = r.hi - a;
    r.lo = (a - (r.hi - t)) + (b - t);
    return r;
}

//: gg_fast_two_sum_{{ s }} < GG_INLINE, gg_pair_{{ s }}
/* a + b exactly, for |a| >= |b| or a = 0. */
GG_INLINE gg_pair_{{ s }} gg_fast_two_sum_{{ s }}({{ T }} a, {{ T }} b)
{
    gg_pair_{{ s }} r;
    r.hi = a + b;
    r.lo = b - (r.hi - a);
    return r;
}

//: gg_two_prod_f32 < GG_INLINE, gg_pair_f32, GG_FUSED_F32, gg_from_bits_f32, gg_bits_f32
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

//: gg_two_prod_f64 < GG_INLINE, gg_pair_f64, GG_FUSED_F64, gg_from_bits_f64, gg_bits_f64
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

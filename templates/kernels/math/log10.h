//: gg_log10_f32 < GG_INLINE, gg_pair_f32, gg_split_f32, gg_log_tail_f32, gg_from_bits_f32, gg_bits_f32
/* log10(x) = k log10(2) + log(m)/log(10), x = 2^k m; log(m) in two parts, the first short enough that its product
 * with the first part of 1/log(10) is exact (the scheme of FreeBSD's e_log10.c). Measured: at most 0.66 ulp. */
GG_INLINE float gg_log10_f32(float x)
{
    gg_pair_f32 q = gg_split_f32(x);
    float f = q.hi - 1.0f, t = f / (2.0f + f), half = 0.5f * f * f, rest = t * (half + gg_log_tail_f32(t * t));
    float hi = gg_from_bits_f32(gg_bits_f32(f - half) & 0xfffff000u), lo = ((f - hi) - half) + rest;
    float top = q.lo * 0.3010254f, part = hi * 0.43432617f, y = top + part;
    y = y + (((top - y) + part) + (q.lo * 4.605039e-06f + ((lo + hi) * -3.168997e-05f + lo * 0.43432617f)));
    y = x == INFINITY ? x : y;
    y = x == 0.0f ? -INFINITY : y;
    return x >= 0.0f ? y : NAN;
}

//: gg_log10_f64 < GG_INLINE, gg_pair_f64, gg_split_f64, gg_log_tail_f64, gg_from_bits_f64, gg_bits_f64
/* log10(x) = k log10(2) + log(m)/log(10), x = 2^k m; log(m) in two parts, the first short enough that its product
 * with the first part of 1/log(10) is exact (the scheme of FreeBSD's e_log10.c). Measured: at most 0.61 ulp. */
GG_INLINE double gg_log10_f64(double x)
{
    gg_pair_f64 q = gg_split_f64(x);
    double f = q.hi - 1.0, t = f / (2.0 + f), half = 0.5 * f * f, rest = t * (half + gg_log_tail_f64(t * t));
    double hi = gg_from_bits_f64(gg_bits_f64(f - half) & UINT64_C(0xffffffff00000000)), lo = ((f - hi) - half) + rest;
    double top = q.lo * 0.3010299956640665, part = hi * 0.4342944622039795, y = top + part;
    lo = (lo + hi) * 1.9699272335463627e-08 + lo * 0.4342944622039795;
    y = y + (((top - y) + part) + (q.lo * -8.532344317057107e-14 + lo));
    y = x == HUGE_VAL ? x : y;
    y = x == 0.0 ? -HUGE_VAL : y;
    return x >= 0.0 ? y : (double)NAN;
}

//: gg_sigmoid_f32 < GG_INLINE, gg_bits_f32, gg_exp_poly_f32, gg_from_bits_f32
/* 1/(1 + e^-x) for x >= 0 and e^x/(1 + e^x) for x < 0, both through e = e^-|x| = 2^n (1 + q): no overflow, and
 * subnormal results right. Of the rounding error of 1 + e, which only the second form feels, q takes the part that is
 * right within a factor of 3/2. Measured: at most 1.76 ulp. */
GG_INLINE float gg_sigmoid_f32(float x)
{
    float a = fabsf(x) > 105.0f ? 105.0f : fabsf(x), s1, s2, q, e, d;
    float shifted = a * -1.44269504f + 12583166.0f, n = shifted - 12583166.0f;
    uint32_t u = gg_bits_f32(shifted), first = (u << 22) & 0x7f800000u; /* as in scaling, but the factors used twice */
    q = gg_exp_poly_f32(n * 0.000212194442f - (a + n * 0.693359375f));
    s1 = gg_from_bits_f32(first);
    s2 = gg_from_bits_f32((u << 23) - first);
    e = (s1 * q + s1) * s2;
    d = 1.0f + e;
    q = q - 0.75f * (e - (d - 1.0f));
    e = (s1 * q + s1) * s2;
    return (x < 0.0f ? e : 1.0f) / d;
}

//: gg_sigmoid_f64 < GG_INLINE, gg_exp_f64
/* 1/(1 + e^-x) for x >= 0 and e^x/(1 + e^x) for x < 0, both through e^-|x|: no overflow, and subnormal results
 * right. Measured: at most 2.22 ulp. */
GG_INLINE double gg_sigmoid_f64(double x)
{
    double e = gg_exp_f64(-fabs(x));
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

//: gg_exp_poly_f32 < GG_INLINE
/* e^x = 2^n e^r, n = round(x / ln 2), |r| <= ln(2)/2 with ln 2 in two parts (Cody & Waite 1980); e^r by a minimax
 * polynomial of degree 6 (relative error 2^-28). Adding 1.5 * 2^23 + 254 rounds to an integer and leaves it, biased for
 * the scaling, in the low bits. Overflow and underflow are chosen at the end, where two selections are cheaper than two
 * clamps that compilers turn into branches' worth of them. Measured: at most 1.02 ulp. */
/* e^r - 1, to the accuracy that adding 1 leaves. */
GG_INLINE float gg_exp_poly_f32(float r)
{
    float p = 0.0013820946f;
    p = p * r + 0.008368684f;
    p = p * r + 0.041668266f;
    p = p * r + 0.16666521f;
    p = p * r + 0.49999994f;
    return r * r * p + r;
}

//: gg_exp_poly_f64 < GG_INLINE
/* e^x = 2^n e^r, n = round(x / ln 2), |r| <= ln(2)/2 with ln 2 in two parts (Cody & Waite 1980); e^r by a minimax
 * polynomial of degree 11 (relative error 2^-57). Adding 1.5 * 2^52 + 2046 rounds to an integer and leaves it, biased
 * for the scaling, in the low bits. Overflow and underflow are chosen at the end, where two selections are cheaper than
 * two clamps that compilers turn into branches' worth of them. Measured: at most 1.01 ulp. */
/* e^r - 1, to the accuracy that adding 1 leaves. */
GG_INLINE double gg_exp_poly_f64(double r)
{
    double p = 2.505632839647677e-08;
    p = p * r + 2.762656071301809e-07;
    p = p * r + 2.7557401181779457e-06;
    p = p * r + 2.4801503938737465e-05;
    p = p * r + 0.00019841269724301465;
    p = p * r + 0.0013888888932714436;
    p = p * r + 0.00833333333338789;
    p = p * r + 0.04166666666657297;
    p = p * r + 0.1666666666666659;
    p = p * r + 0.5000000000000006;
    return r * r * p + r;
}

//: gg_expm1_poly_f32 < GG_INLINE
/* e^(r - t) - 1; t a small correction that is not lost to rounding r - t. */
GG_INLINE float gg_expm1_poly_f32(float r, float t)
{
    float d = r - t, p = 0.0013820946f;
    p = p * d + 0.008368684f;
    p = p * d + 0.041668266f;
    p = p * d + 0.16666521f;
    p = p * d + 0.49999994f;
    return r + (d * d * p - t);
}

//: gg_expm1_poly_f64 < GG_INLINE
/* e^(r - t) - 1; t a small correction that is not lost to rounding r - t. */
GG_INLINE double gg_expm1_poly_f64(double r, double t)
{
    double d = r - t, p = 2.505632839647677e-08;
    p = p * d + 2.762656071301809e-07;
    p = p * d + 2.7557401181779457e-06;
    p = p * d + 2.4801503938737465e-05;
    p = p * d + 0.00019841269724301465;
    p = p * d + 0.0013888888932714436;
    p = p * d + 0.00833333333338789;
    p = p * d + 0.04166666666657297;
    p = p * d + 0.1666666666666659;
    p = p * d + 0.5000000000000006;
    return r + (d * d * p - t);
}

//: gg_exp_ext_f32 < GG_INLINE, gg_expm1_poly_f32, gg_scale_f32, gg_bits_f32
/* e^(x + lo), lo a small correction; times 2^bias, bias in two's complement. */
GG_INLINE float gg_exp_ext_f32(float x, float lo, uint32_t bias)
{
    float shifted = x * 1.44269504f + 12583166.0f, n = shifted - 12583166.0f;
    float p = 1.0f + gg_expm1_poly_f32(x - n * 0.693359375f, n * -0.000212194442f - lo);
    float y = gg_scale_f32(p, gg_bits_f32(shifted) + bias);
    y = x < -105.0f ? 0.0f : y;
    return x > 90.0f ? INFINITY : y;
}

//: gg_exp_ext_f64 < GG_INLINE, gg_expm1_poly_f64, gg_scale_f64, gg_bits_f64
/* e^(x + lo), lo a small correction; times 2^bias, bias in two's complement. */
GG_INLINE double gg_exp_ext_f64(double x, double lo, uint64_t bias)
{
    double shifted = x * 1.4426950408889634 + 6755399441057790.0, n = shifted - 6755399441057790.0;
    double p = 1.0 + gg_expm1_poly_f64(x - n * 0.69314718036912381649017333984375, n * 1.9082149292705877e-10 - lo);
    double y = gg_scale_f64(p, gg_bits_f64(shifted) + bias);
    y = x < -746.0 ? 0.0 : y;
    return x > 711.0 ? HUGE_VAL : y;
}

//: gg_exp_f32 < GG_INLINE, gg_exp_poly_f32, gg_scale_f32, gg_bits_f32
GG_INLINE float gg_exp_f32(float x)
{
    float shifted = x * 1.44269504f + 12583166.0f, n = shifted - 12583166.0f;
    float p = 1.0f + gg_exp_poly_f32((x - n * 0.693359375f) - n * -0.000212194442f);
    float y = gg_scale_f32(p, gg_bits_f32(shifted));
    y = x < -105.0f ? 0.0f : y;
    return x > 90.0f ? INFINITY : y;
}

//: gg_exp_f64 < GG_INLINE, gg_scale_f64, gg_exp_poly_f64, gg_bits_f64
GG_INLINE double gg_exp_f64(double x)
{
    double shifted = x * 1.4426950408889634 + 6755399441057790.0, n = shifted - 6755399441057790.0;
    double r = (x - n * 0.69314718036912381649017333984375) - n * 1.9082149292705877e-10;
    double y = gg_scale_f64(1.0 + gg_exp_poly_f64(r), gg_bits_f64(shifted));
    y = x < -746.0 ? 0.0 : y;
    return x > 711.0 ? HUGE_VAL : y;
}

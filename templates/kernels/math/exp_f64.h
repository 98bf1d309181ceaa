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

/* e^(x + lo), lo a small correction; times 2^bias, bias in two's complement. */
GG_INLINE double gg_exp_ext_f64(double x, double lo, uint64_t bias)
{
    double shifted = x * 1.4426950408889634 + 6755399441057790.0, n = shifted - 6755399441057790.0;
    double p = 1.0 + gg_expm1_poly_f64(x - n * 0.69314718036912381649017333984375, n * 1.9082149292705877e-10 - lo);
    double y = gg_scale_f64(p, gg_bits_f64(shifted) + bias);
    y = x < -746.0 ? 0.0 : y;
    return x > 711.0 ? HUGE_VAL : y;
}

GG_INLINE double gg_exp_f64(double x)
{
    double shifted = x * 1.4426950408889634 + 6755399441057790.0, n = shifted - 6755399441057790.0;
    double r = (x - n * 0.69314718036912381649017333984375) - n * 1.9082149292705877e-10;
    double y = gg_scale_f64(1.0 + gg_exp_poly_f64(r), gg_bits_f64(shifted));
    y = x < -746.0 ? 0.0 : y;
    return x > 711.0 ? HUGE_VAL : y;
}

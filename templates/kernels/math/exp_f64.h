/* e^x = 2^n e^r, n = round(x / ln 2), |r| <= ln(2)/2 with ln 2 in two parts (Cody & Waite 1980); e^r by a minimax
 * polynomial of degree 11 (relative error 2^-57). Adding 1.5 * 2^52 rounds to an integer and leaves it in the low
 * bits. Measured: at most 0.89 ulp. */
/* e^(r - t) - 1, to the accuracy that adding 1 leaves; t a small correction that is not lost to rounding r - t. */
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
    double low = x < -746.0 ? -746.0 : x;
    double c = low > 711.0 ? 711.0 : low;
    double shifted = c * 1.4426950408889634 + 6755399441055744.0;
    double n = shifted - 6755399441055744.0;
    double p = 1.0 + gg_expm1_poly_f64(c - n * 0.69314718036912381649017333984375, n * 1.9082149292705877e-10 - lo);
    return gg_scale_f64(p, gg_bits_f64(shifted) - UINT64_C(0x4338000000000000) + bias);
}

GG_INLINE double gg_exp_f64(double x)
{
    double low = x < -746.0 ? -746.0 : x;
    double c = low > 711.0 ? 711.0 : low;
    double shifted = c * 1.4426950408889634 + 6755399441055744.0;
    double n = shifted - 6755399441055744.0;
    double p = 1.0 + gg_expm1_poly_f64(c - n * 0.69314718036912381649017333984375, n * 1.9082149292705877e-10);
    return gg_scale_f64(p, gg_bits_f64(shifted) - UINT64_C(0x4338000000000000));
}

/* e^x as in vector code, for code that is not a vector loop: a predicted branch in place of clamps and of scaling in
 * two steps, and the polynomial by Estrin's scheme, which waits less. */
GG_NOINLINE double gg_exp_far_scalar_f64(double x)
{
    return gg_exp_f64(x);
}

GG_INLINE double gg_exp_scalar_f64(double x)
{
    if (fabs(x) < 708.0) {
        double shifted = x * 1.4426950408889634 + 6755399441055744.0, n = shifted - 6755399441055744.0;
        double r = x - n * 0.69314718036912381649017333984375, t = n * 1.9082149292705877e-10, d = r - t;
        double z = d * d, w = z * z;
        double p = ((0.5000000000000006 + d * 0.1666666666666659) + z * (0.04166666666657297 + d * 0.00833333333338789))
            + w * (((0.0013888888932714436 + d * 0.00019841269724301465)
            + z * (2.4801503938737465e-05 + d * 2.7557401181779457e-06))
            + w * (2.762656071301809e-07 + d * 2.505632839647677e-08));
        return (1.0 + (r + (z * p - t))) * gg_from_bits_f64((gg_bits_f64(shifted) + 1023u) << 52);
    }
    return gg_exp_far_scalar_f64(x);
}

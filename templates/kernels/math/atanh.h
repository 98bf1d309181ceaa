//: gg_atanh_f32 < GG_INLINE, gg_log1p_finite_f32
/* |x| < 1/2: x + x^3 P(x^2), minimax, relative error 2^-29; else log1p(2|x|/(1 - |x|))/2. Measured: at most 1.04
 * ulp. Measured: at most 1.04 ulp. */
GG_INLINE float gg_atanh_f32(float x)
{
    float a = fabsf(x), z = x * x, p = 0.17635684f, y;
    y = 0.5f * gg_log1p_finite_f32((a + a) / (1.0f - a), 0.0f);
    y = a == 1.0f ? INFINITY : y;
    y = a <= 1.0f ? copysignf(y, x) : NAN;
    p = p * z + 0.05161949f;
    p = p * z + 0.11816006f;
    p = p * z + 0.14223826f;
    p = p * z + 0.20002452f;
    p = p * z + 0.33333302f;
    return a < 0.5f ? x + x * z * p : y;
}

//: gg_atanh_f64 < GG_INLINE, gg_log1p_finite_f64
/* log1p(2|x|/(1 - |x|))/2. Measured: at most 1.94 ulp. */
GG_INLINE double gg_atanh_f64(double x)
{
    double a = fabs(x), y = 0.5 * gg_log1p_finite_f64((a + a) / (1.0 - a), 0.0);
    y = a == 1.0 ? HUGE_VAL : y;
    y = a < 7.450580596923828e-09 ? a : y;
    return a <= 1.0 ? copysign(y, x) : (double)NAN;
}

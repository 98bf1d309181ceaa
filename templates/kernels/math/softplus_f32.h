/* log(1 + e^x) = max(x, 0) + log1p(e^-|x|). Measured: at most 1.60 ulp. */
GG_INLINE float gg_softplus_f32(float x)
{
    float y = gg_log1p_finite_f32(gg_exp_f32(-fabsf(x)), 0.0f);
    return x > 0.0f ? x + y : y;
}

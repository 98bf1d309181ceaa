/* e^|x|/2 + 1/(2 e^|x|), the first scaled before it can overflow. Measured: at most 1.39 ulp. */
GG_INLINE float gg_cosh_f32(float x)
{
    float e = gg_exp_ext_f32(fabsf(x), 0.0f, UINT32_MAX);
    return e + 0.25f / e;
}

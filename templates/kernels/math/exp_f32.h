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

/* e^(x + lo), lo a small correction; times 2^bias, bias in two's complement. */
GG_INLINE float gg_exp_ext_f32(float x, float lo, uint32_t bias)
{
    float shifted = x * 1.44269504f + 12583166.0f, n = shifted - 12583166.0f;
    float p = 1.0f + gg_expm1_poly_f32(x - n * 0.693359375f, n * -0.000212194442f - lo);
    float y = gg_scale_f32(p, gg_bits_f32(shifted) + bias);
    y = x < -105.0f ? 0.0f : y;
    return x > 90.0f ? INFINITY : y;
}

GG_INLINE float gg_exp_f32(float x)
{
    float shifted = x * 1.44269504f + 12583166.0f, n = shifted - 12583166.0f;
    float p = 1.0f + gg_exp_poly_f32((x - n * 0.693359375f) - n * -0.000212194442f);
    float y = gg_scale_f32(p, gg_bits_f32(shifted));
    y = x < -105.0f ? 0.0f : y;
    return x > 90.0f ? INFINITY : y;
}

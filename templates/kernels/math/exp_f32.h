/* e^x = 2^n e^r, n = round(x / ln 2), |r| <= ln(2)/2 with ln 2 in two parts (Cody & Waite 1980); e^r by a minimax
 * polynomial of degree 6 (relative error 2^-27). Adding 1.5 * 2^23 rounds to an integer and leaves it in the low
 * bits. Measured: at most 0.92 ulp. */
/* e^(r - t) - 1, to the accuracy that adding 1 leaves; t a small correction that is not lost to rounding r - t. */
GG_INLINE float gg_expm1_poly_f32(float r, float t)
{
    float d = r - t, p = 0.0013865569f;
    p = p * d + 0.008366728f;
    p = p * d + 0.041667495f;
    p = p * d + 0.16666542f;
    p = p * d + 0.49999997f;
    return r + (d * d * p - t);
}

/* e^(x + lo), lo a small correction; times 2^bias, bias in two's complement. */
GG_INLINE float gg_exp_ext_f32(float x, float lo, uint32_t bias)
{
    float low = x < -105.0f ? -105.0f : x;
    float c = low > 90.0f ? 90.0f : low;
    float shifted = c * 1.44269504f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float p = 1.0f + gg_expm1_poly_f32(c - n * 0.693359375f, n * -0.000212194442f - lo);
    return gg_scale_f32(p, gg_bits_f32(shifted) - 0x4b400000u + bias);
}

GG_INLINE float gg_exp_f32(float x)
{
    float low = x < -105.0f ? -105.0f : x;
    float c = low > 90.0f ? 90.0f : low;
    float shifted = c * 1.44269504f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float p = 1.0f + gg_expm1_poly_f32(c - n * 0.693359375f, n * -0.000212194442f);
    return gg_scale_f32(p, gg_bits_f32(shifted) - 0x4b400000u);
}

/* sin and cos of hi + lo, |hi| <= pi/4, as hi + lo: minimax polynomials in hi (relative errors 2^-27.9 and 2^-33)
 * and the first order in lo. */
GG_INLINE gg_pair_f32 gg_sin_pair_f32(float hi, float lo)
{
    float z = hi * hi;
    float p = -0.00019518285f;
    p = p * z + 0.008332189f;
    p = p * z + -0.16666655f;
    return gg_fast_two_sum_f32(hi, hi * z * p + lo * (1.0f - 0.5f * z));
}

GG_INLINE gg_pair_f32 gg_cos_pair_f32(float hi, float lo)
{
    float z = hi * hi, half = 0.5f * z, w = 1.0f - half;
    float p = 2.4432564e-05f;
    p = p * z + -0.0013887311f;
    p = p * z + 0.041666646f;
    return gg_fast_two_sum_f32(w, ((1.0f - w) - half) + (z * z * p - hi * lo));
}

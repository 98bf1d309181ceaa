//: gg_log_pair_f32 < GG_INLINE, gg_pair_f32, gg_split_f32, gg_two_prod_f32, gg_fast_two_sum_f32
/* log(x) as hi + lo to about 34 bits, for positive finite x: x = 2^k m, log(m) = 2 atanh(s), s = (m - 1)/(m + 1)
 * as a pair, and atanh(s) = s (1 + s^2/3 + s^4 R(s^2)), R minimax (relative error of atanh 2^-36), the first terms
 * in pairs. */
GG_INLINE gg_pair_f32 gg_log_pair_f32(float x)
{
    gg_pair_f32 split = gg_split_f32(x), d, s, z, w, p, sum;
    float f = split.hi - 1.0f, k = split.lo, inverse, r = 0.11709704f;
    d.hi = split.hi + 1.0f;
    d.lo = split.hi - (d.hi - 1.0f);
    inverse = 1.0f / d.hi;
    s.hi = f * inverse;
    p = gg_two_prod_f32(s.hi, d.hi);
    s.lo = (((f - p.hi) - p.lo) - s.hi * d.lo) * inverse;
    z = gg_two_prod_f32(s.hi, s.hi);
    z.lo += 2.0f * s.hi * s.lo;
    r = r * z.hi + 0.14273548f;
    r = r * z.hi + 0.20000076f;
    w = gg_two_prod_f32(z.hi, 0.33333334f); /* 1/3 */
    w = gg_fast_two_sum_f32(w.hi, w.lo + (z.hi * -9.934108e-09f + z.lo * 0.33333334f + z.hi * z.hi * r));
    p = gg_two_prod_f32(s.hi, w.hi);
    sum = gg_fast_two_sum_f32(s.hi, p.hi);
    s.lo = sum.lo + (p.lo + (s.hi * w.lo + s.lo * w.hi + s.lo));
    s.hi = sum.hi;
    sum = gg_fast_two_sum_f32(k * 0.693359375f, 2.0f * s.hi);
    return gg_fast_two_sum_f32(sum.hi, sum.lo + (k * -0.000212194442f + 2.0f * s.lo));
}

//: gg_log_pair_f64 < GG_INLINE, gg_pair_f64, gg_split_f64, gg_two_prod_f64, gg_fast_two_sum_f64
/* log(x) as hi + lo to about 64 bits, for positive finite x: x = 2^k m, log(m) = 2 atanh(s), s = (m - 1)/(m + 1)
 * as a pair, and atanh(s) = s (1 + s^2/3 + s^4 R(s^2)), R minimax (relative error of atanh 2^-66), the first terms
 * in pairs. */
GG_INLINE gg_pair_f64 gg_log_pair_f64(double x)
{
    gg_pair_f64 split = gg_split_f64(x), d, s, z, w, p, sum;
    double f = split.hi - 1.0, k = split.lo, inverse, r = 0.06598249792935222;
    d.hi = split.hi + 1.0;
    d.lo = split.hi - (d.hi - 1.0);
    inverse = 1.0 / d.hi;
    s.hi = f * inverse;
    p = gg_two_prod_f64(s.hi, d.hi);
    s.lo = (((f - p.hi) - p.lo) - s.hi * d.lo) * inverse;
    z = gg_two_prod_f64(s.hi, s.hi);
    z.lo += 2.0 * s.hi * s.lo;
    r = r * z.hi + 0.06628401069171598;
    r = r * z.hi + 0.07693378937340495;
    r = r * z.hi + 0.09090892179110294;
    r = r * z.hi + 0.11111111259995006;
    r = r * z.hi + 0.142857142850497;
    r = r * z.hi + 0.20000000000001128;
    w = gg_two_prod_f64(z.hi, 0.3333333333333333); /* 1/3 */
    w = gg_fast_two_sum_f64(w.hi, w.lo + (z.hi * 1.850371707708594e-17 + z.lo * 0.3333333333333333 + z.hi * z.hi * r));
    p = gg_two_prod_f64(s.hi, w.hi);
    sum = gg_fast_two_sum_f64(s.hi, p.hi);
    s.lo = sum.lo + (p.lo + (s.hi * w.lo + s.lo * w.hi + s.lo));
    s.hi = sum.hi;
    sum = gg_fast_two_sum_f64(k * 0.69314718036912381649017333984375, 2.0 * s.hi);
    return gg_fast_two_sum_f64(sum.hi, sum.lo + (k * 1.9082149292705877e-10 + 2.0 * s.lo));
}

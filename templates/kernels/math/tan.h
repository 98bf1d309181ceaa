//: gg_tan_f32 < GG_INLINE, gg_angle_f32, gg_trig_reduce_f32, gg_pair_f32, gg_sin_pair_f32, gg_cos_pair_f32, gg_two_prod_f32, gg_from_bits_f32, gg_bits_f32
/* tan(x) = sin/cos of the reduced angle, or -cos/sin in the odd quadrants; the rounding errors of sin, cos and the
 * quotient are carried along. tan(x) = x for |x| < 2^-12. Measured: at most 1.13 ulp. */
GG_INLINE float gg_tan_f32(float x)
{
    gg_angle_f32 r = gg_trig_reduce_f32(x);
    gg_pair_f32 s = gg_sin_pair_f32(r.hi, r.lo), c = gg_cos_pair_f32(r.hi, r.lo), p;
    int odd = (r.q & 1u) != 0u;
    float n = odd ? -c.hi : s.hi, nlo = odd ? -c.lo : s.lo;
    float d = odd ? s.hi : c.hi, dlo = odd ? s.lo : c.lo;
    float inverse = 1.0f / d, quotient = n * inverse, y;
    p = gg_two_prod_f32(quotient, d);
    y = quotient + (((n - p.hi) - p.lo) + (nlo - quotient * dlo)) * inverse;
    y = gg_from_bits_f32(gg_bits_f32(y) ^ (gg_bits_f32(x) & 0x80000000u));
    return fabsf(x) < 0.000244140625f ? x : y;
}

//: gg_tan_f64 < GG_INLINE, gg_angle_f64, gg_trig_reduce_f64, gg_sin_pair_f64, gg_cos_pair_f64
/* tan(x) = sin/cos of the reduced angle, or -cos/sin in the odd quadrants, the rounding errors of sin and cos
 * carried along; tan(x) = x for |x| < 2^-27. Measured: at most 2.22 ulp. */
GG_INLINE double gg_tan_f64(double x)
{
    gg_angle_f64 r = gg_trig_reduce_f64(x);
    double s = gg_sin_pair_f64(r.hi, r.lo).hi, c = gg_cos_pair_f64(r.hi, r.lo).hi;
    int odd = (r.q & 1u) != 0u;
    double y = copysign(1.0, x) * ((odd ? -c : s) / (odd ? s : c));
    return fabs(x) < 7.450580596923828e-09 ? x : y;
}

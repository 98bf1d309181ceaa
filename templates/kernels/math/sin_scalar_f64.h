/* sin(x) as in vector code, with a branch in place of both reductions; sin(x) = x for |x| < 2^-27. */
GG_INLINE double gg_sin_scalar_f64(double x)
{
    gg_angle_f64 r = gg_trig_reduce_scalar_f64(x);
    double y = gg_choose_f64(0u - (r.q & 1u), gg_sin_near_f64(r), gg_cos_near_f64(r), (r.q & 2u) << 62);
    return fabs(x) < 7.450580596923828e-09 ? x : y;
}

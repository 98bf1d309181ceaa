/* cos(x) as in vector code, with a branch in place of both reductions. */
GG_INLINE double gg_cos_scalar_f64(double x)
{
    gg_angle_f64 r = gg_trig_reduce_scalar_f64(x);
    return gg_choose_f64(0u - (r.q & 1u), gg_cos_near_f64(r), gg_sin_near_f64(r), ((r.q + 1u) & 2u) << 62);
}

/* tan(x) as in vector code, with a branch in place of both reductions. */
GG_INLINE double gg_tan_scalar_f64(double x)
{
    gg_angle_f64 r = gg_trig_reduce_scalar_f64(x);
    uint64_t odd = 0u - (r.q & 1u);
    double s = gg_sin_near_f64(r), c = gg_cos_near_f64(r);
    double y = gg_choose_f64(odd, s, c, odd << 63) / gg_choose_f64(odd, c, s, 0u);
    return fabs(x) < 7.450580596923828e-09 ? x : y;
}

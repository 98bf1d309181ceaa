/* sin(x) and cos(x) by one reduction. */
GG_INLINE void gg_sincos_scalar_f64(double x, double *sine, double *cosine)
{
    gg_angle_f64 r = gg_trig_reduce_scalar_f64(x);
    uint64_t odd = 0u - (r.q & 1u);
    double s = gg_sin_near_f64(r), c = gg_cos_near_f64(r), y = gg_choose_f64(odd, s, c, (r.q & 2u) << 62);
    *sine = fabs(x) < 7.450580596923828e-09 ? x : y;
    *cosine = gg_choose_f64(odd, c, s, ((r.q + 1u) & 2u) << 62);
}

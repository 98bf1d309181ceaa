/* t / (t + 2) with t = e^(2|x|) - 1, which is exact enough for small |x|; beyond 22 the result is 1. Measured: at
 * most 2.52 ulp. Measured: at most 2.52 ulp. */
GG_INLINE double gg_tanh_f64(double x)
{
    double a = fabs(x) > 22.0 ? 22.0 : fabs(x);
    double t = gg_expm1_f64(a + a);
    return copysign(x != x ? x : t / (t + 2.0), x);
}

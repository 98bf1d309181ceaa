/* log1p(2|x|/(1 - |x|))/2. Measured: at most 1.94 ulp. */
GG_INLINE double gg_atanh_f64(double x)
{
    double a = fabs(x), y = 0.5 * gg_log1p_finite_f64((a + a) / (1.0 - a), 0.0);
    y = a == 1.0 ? HUGE_VAL : y;
    y = a < 7.450580596923828e-09 ? a : y;
    return a <= 1.0 ? copysign(y, x) : (double)NAN;
}

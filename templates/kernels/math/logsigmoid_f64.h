/* log(1/(1 + e^-x)) = min(x, 0) - log1p(e^-|x|). Measured: at most 1.57 ulp. */
GG_INLINE double gg_logsigmoid_f64(double x)
{
    double y = gg_log1p_finite_f64(gg_exp_f64(-fabs(x)), 0.0);
    return x < 0.0 ? x - y : -y;
}

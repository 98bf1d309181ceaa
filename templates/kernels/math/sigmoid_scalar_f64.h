/* The logistic function as in vector code, by the exponential of one number at a time. */
GG_INLINE double gg_sigmoid_scalar_f64(double x)
{
    double e = gg_exp_scalar_f64(-fabs(x));
    return (x < 0.0 ? e : 1.0) / (1.0 + e);
}

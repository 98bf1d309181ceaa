/* Up to an integer: an instruction where there is one, else from the nearest integer. */
GG_INLINE double gg_ceil_f64(double x)
{
#if defined(__SSE4_1__) || defined(__aarch64__) || (defined(__ARM_FEATURE_DIRECTED_ROUNDING) && (__ARM_FP & 8))
    return ceil(x);
#else
    double t = gg_rint_f64(x);
    return copysign(t < x ? t + 1.0 : t, x);
#endif
}

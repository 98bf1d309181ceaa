/* Towards zero to an integer: an instruction where there is one, else from the nearest integer. */
GG_INLINE double gg_trunc_f64(double x)
{
#if defined(__SSE4_1__) || defined(__aarch64__) || (defined(__ARM_FEATURE_DIRECTED_ROUNDING) && (__ARM_FP & 8))
    return trunc(x);
#else
    double t = gg_rint_f64(x);
    return copysign(fabs(t) > fabs(x) ? t - copysign(1.0, x) : t, x);
#endif
}

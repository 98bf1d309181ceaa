/* To the nearest integer, ties to even: an instruction where there is one, else by adding and subtracting 2^52. */
GG_INLINE double gg_rint_f64(double x)
{
#if defined(__SSE4_1__) || defined(__aarch64__) || (defined(__ARM_FEATURE_DIRECTED_ROUNDING) && (__ARM_FP & 8))
    return rint(x);
#else
    double a = fabs(x), up = a + 4503599627370496.0, t = up - 4503599627370496.0;
    return a < 4503599627370496.0 ? copysign(t, x) : x;
#endif
}

/* Towards zero to an integer: an instruction where there is one, else from the nearest integer. */
GG_INLINE float gg_trunc_f32(float x)
{
#if defined(__SSE4_1__) || defined(__aarch64__) || (defined(__ARM_FEATURE_DIRECTED_ROUNDING) && (__ARM_FP & 4))
    return truncf(x);
#else
    float t = gg_rint_f32(x);
    return copysignf(fabsf(t) > fabsf(x) ? t - copysignf(1.0f, x) : t, x);
#endif
}

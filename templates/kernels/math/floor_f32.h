/* Down to an integer: an instruction where there is one, else from the nearest integer. */
GG_INLINE float gg_floor_f32(float x)
{
#if defined(__SSE4_1__) || defined(__aarch64__) || (defined(__ARM_FEATURE_DIRECTED_ROUNDING) && (__ARM_FP & 4))
    return floorf(x);
#else
    float t = gg_rint_f32(x);
    return copysignf(t > x ? t - 1.0f : t, x);
#endif
}

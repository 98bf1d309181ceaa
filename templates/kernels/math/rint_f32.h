/* To the nearest integer, ties to even: an instruction where there is one, else by adding and subtracting 2^23. */
GG_INLINE float gg_rint_f32(float x)
{
#if defined(__SSE4_1__) || defined(__aarch64__) || (defined(__ARM_FEATURE_DIRECTED_ROUNDING) && (__ARM_FP & 4))
    return rintf(x);
#else
    float a = fabsf(x), up = a + 8388608.0f, t = up - 8388608.0f;
    return a < 8388608.0f ? copysignf(t, x) : x;
#endif
}

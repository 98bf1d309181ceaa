//= bytes: 4 | 8
//: gg_ceil_{{ s }} < GG_INLINE, gg_rint_{{ s }}
/* Up to an integer: an instruction where there is one, else from the nearest integer. */
GG_INLINE {{ T }} gg_ceil_{{ s }}({{ T }} x)
{
#if defined(__SSE4_1__) || defined(__aarch64__) || (defined(__ARM_FEATURE_DIRECTED_ROUNDING) && (__ARM_FP & {{ bytes }}))
    return ceil{{ f }}(x);
#else
    {{ T }} t = gg_rint_{{ s }}(x);
    return copysign{{ f }}(t < x ? t + 1.0{{ f }} : t, x);
#endif
}

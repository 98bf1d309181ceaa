//= bytes: 4 | 8
//: gg_trunc_{{ s }} < GG_INLINE, gg_rint_{{ s }}
/* Towards zero to an integer: an instruction where there is one, else from the nearest integer. */
GG_INLINE {{ T }} gg_trunc_{{ s }}({{ T }} x)
{
#if defined(__SSE4_1__) || defined(__aarch64__) || (defined(__ARM_FEATURE_DIRECTED_ROUNDING) && (__ARM_FP & {{ bytes }}))
    return trunc{{ f }}(x);
#else
    {{ T }} t = gg_rint_{{ s }}(x);
    return copysign{{ f }}(fabs{{ f }}(t) > fabs{{ f }}(x) ? t - copysign{{ f }}(1.0{{ f }}, x) : t, x);
#endif
}

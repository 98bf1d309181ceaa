//= bytes: 4 | 8
//: gg_floor_{{ s }} < GG_INLINE, gg_rint_{{ s }}
/* Down to an integer: an instruction where there is one, else from the nearest integer. */
GG_INLINE {{ T }} gg_floor_{{ s }}({{ T }} x)
{
#if defined(__SSE4_1__) || defined(__aarch64__) || (defined(__ARM_FEATURE_DIRECTED_ROUNDING) && (__ARM_FP & {{ bytes }}))
    return floor{{ f }}(x);
#else
    {{ T }} t = gg_rint_{{ s }}(x);
    return copysign{{ f }}(t > x ? t - 1.0{{ f }} : t, x);
#endif
}

//= digits: 23. | 52.
//= bytes: 4 | 8
//= whole: 8388608.0f | 4503599627370496.0
//: gg_rint_{{ s }} < GG_INLINE
/* To the nearest integer, ties to even: an instruction where there is one, else by adding and subtracting 2^{{ digits }} */
GG_INLINE {{ T }} gg_rint_{{ s }}({{ T }} x)
{
#if defined(__SSE4_1__) || defined(__aarch64__) || (defined(__ARM_FEATURE_DIRECTED_ROUNDING) && (__ARM_FP & {{ bytes }}))
    return rint{{ f }}(x);
#else
    {{ T }} a = fabs{{ f }}(x), up = a + {{ whole }}, t = up - {{ whole }};
    return a < {{ whole }} ? copysign{{ f }}(t, x) : x;
#endif
}

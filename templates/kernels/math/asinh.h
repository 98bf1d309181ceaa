//= ulp: 1.68 | 1.53
//= large: 268435456.0f | 36028797018963968.0
//= ln_2: 0.6931472f | 0.6931471805599453
//= infinity: INFINITY | HUGE_VAL
//: gg_asinh_{{ s }} < GG_INLINE, gg_pair_{{ s }}, gg_two_sum_{{ s }}, gg_log1p_finite_{{ s }}
/* log1p(a + a^2/(1 + sqrt(1 + a^2))), a = |x|, the sum in two parts; log(a) + log(2) for large a. Measured: at most
 * {{ ulp }} ulp. Measured: at most {{ ulp }} ulp. */
GG_INLINE {{ T }} gg_asinh_{{ s }}({{ T }} x)
{
    {{ T }} a = fabs{{ f }}(x), square = a * a, y;
    gg_pair_{{ s }} u = gg_two_sum_{{ s }}(a, square / (1.0{{ f }} + sqrt{{ f }}(1.0{{ f }} + square)));
    int large = a > {{ large }};
    y = gg_log1p_finite_{{ s }}(large ? a : u.hi, large ? 0.0{{ f }} : u.lo) + (large ? {{ ln_2 }} : 0.0{{ f }});
    return copysign{{ f }}(a < {{ infinity }} ? y : a, x);
}

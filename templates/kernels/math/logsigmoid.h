//= ulp: 1.60 | 1.57
//: gg_logsigmoid_{{ s }} < GG_INLINE, gg_log1p_finite_{{ s }}, gg_exp_{{ s }}
/* log(1/(1 + e^-x)) = min(x, 0) - log1p(e^-|x|). Measured: at most {{ ulp }} ulp. */
GG_INLINE {{ T }} gg_logsigmoid_{{ s }}({{ T }} x)
{
    {{ T }} y = gg_log1p_finite_{{ s }}(gg_exp_{{ s }}(-fabs{{ f }}(x)), 0.0{{ f }});
    return x < 0.0{{ f }} ? x - y : -y;
}

//= ulp: 1.39 | 1.31
//= all_ones: UINT32_MAX | UINT64_MAX
//: gg_cosh_{{ s }} < GG_INLINE, gg_exp_ext_{{ s }}
/* e^|x|/2 + 1/(2 e^|x|), the first scaled before it can overflow. Measured: at most {{ ulp }} ulp. */
GG_INLINE {{ T }} gg_cosh_{{ s }}({{ T }} x)
{
    {{ T }} e = gg_exp_ext_{{ s }}(fabs{{ f }}(x), 0.0{{ f }}, {{ all_ones }});
    return e + 0.25{{ f }} / e;
}

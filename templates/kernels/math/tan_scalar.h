//= last: 31 | 63
//= tiny: 0.000244140625f | 7.450580596923828e-09
//: gg_tan_scalar_{{ s }} < GG_INLINE, gg_angle_{{ s }}, gg_trig_reduce_scalar_{{ s }}, gg_sin_near_{{ s }}, gg_cos_near_{{ s }}, gg_choose_{{ s }}
/* tan(x) as in vector code, with a branch in place of both reductions. */
GG_INLINE {{ T }} gg_tan_scalar_{{ s }}({{ T }} x)
{
    gg_angle_{{ s }} r = gg_trig_reduce_scalar_{{ s }}(x);
    {{ U }} odd = 0u - (r.q & 1u);
    {{ T }} s = gg_sin_near_{{ s }}(r), c = gg_cos_near_{{ s }}(r);
    {{ T }} y = gg_choose_{{ s }}(odd, s, c, odd << {{ last }}) / gg_choose_{{ s }}(odd, c, s, 0u);
    return fabs{{ f }}(x) < {{ tiny }} ? x : y;
}

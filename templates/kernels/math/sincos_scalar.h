//= sign_shift: 30 | 62
//= tiny: 0.000244140625f | 7.450580596923828e-09
//: gg_sincos_scalar_{{ s }} < GG_INLINE, gg_angle_{{ s }}, gg_trig_reduce_scalar_{{ s }}, gg_sin_near_{{ s }}, gg_cos_near_{{ s }}, gg_choose_{{ s }}
/* sin(x) and cos(x) by one reduction. */
GG_INLINE void gg_sincos_scalar_{{ s }}({{ T }} x, {{ T }} *sine, {{ T }} *cosine)
{
    gg_angle_{{ s }} r = gg_trig_reduce_scalar_{{ s }}(x);
    {{ U }} odd = 0u - (r.q & 1u);
    {{ T }} s = gg_sin_near_{{ s }}(r), c = gg_cos_near_{{ s }}(r), y = gg_choose_{{ s }}(odd, s, c, (r.q & 2u) << {{ sign_shift }});
    *sine = fabs{{ f }}(x) < {{ tiny }} ? x : y;
    *cosine = gg_choose_{{ s }}(odd, c, s, ((r.q + 1u) & 2u) << {{ sign_shift }});
}

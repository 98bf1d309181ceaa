//= tiny_digits: 12. | 27.
//= sign_shift: 30 | 62
//= tiny: 0.000244140625f | 7.450580596923828e-09
//: gg_sin_scalar_{{ s }} < GG_INLINE, gg_angle_{{ s }}, gg_trig_reduce_scalar_{{ s }}, gg_choose_{{ s }}, gg_sin_near_{{ s }}, gg_cos_near_{{ s }}
/* sin(x) as in vector code, with a branch in place of both reductions; sin(x) = x for |x| < 2^-{{ tiny_digits }} */
GG_INLINE {{ T }} gg_sin_scalar_{{ s }}({{ T }} x)
{
    gg_angle_{{ s }} r = gg_trig_reduce_scalar_{{ s }}(x);
    {{ T }} y = gg_choose_{{ s }}(0u - (r.q & 1u), gg_sin_near_{{ s }}(r), gg_cos_near_{{ s }}(r), (r.q & 2u) << {{ sign_shift }});
    return fabs{{ f }}(x) < {{ tiny }} ? x : y;
}

//= sign_shift: 30 | 62
//: gg_cos_scalar_{{ s }} < GG_INLINE, gg_angle_{{ s }}, gg_trig_reduce_scalar_{{ s }}, gg_choose_{{ s }}, gg_cos_near_{{ s }}, gg_sin_near_{{ s }}
/* cos(x) as in vector code, with a branch in place of both reductions. */
GG_INLINE {{ T }} gg_cos_scalar_{{ s }}({{ T }} x)
{
    gg_angle_{{ s }} r = gg_trig_reduce_scalar_{{ s }}(x);
    return gg_choose_{{ s }}(0u - (r.q & 1u), gg_cos_near_{{ s }}(r), gg_sin_near_{{ s }}(r), ((r.q + 1u) & 2u) << {{ sign_shift }});
}

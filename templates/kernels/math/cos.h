//= ulp: 0.84 | 0.81
//= sign_shift: 30 | 62
//: gg_cos_{{ s }} < GG_INLINE, gg_angle_{{ s }}, gg_trig_reduce_{{ s }}, gg_sin_pair_{{ s }}, gg_cos_pair_{{ s }}, gg_from_bits_{{ s }}, gg_bits_{{ s }}
/* cos(x) = +-cos or +-sin of the reduced angle, by the quadrant. Measured: at most {{ ulp }} ulp. */
GG_INLINE {{ T }} gg_cos_{{ s }}({{ T }} x)
{
    gg_angle_{{ s }} r = gg_trig_reduce_{{ s }}(x);
    {{ T }} s = gg_sin_pair_{{ s }}(r.hi, r.lo).hi, c = gg_cos_pair_{{ s }}(r.hi, r.lo).hi;
    {{ T }} m = (r.q & 1u) != 0u ? s : c;
    return gg_from_bits_{{ s }}(gg_bits_{{ s }}(m) ^ (((r.q + 1u) & 2u) << {{ sign_shift }}));
}

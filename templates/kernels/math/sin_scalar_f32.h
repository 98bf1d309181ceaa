/* sin(x) as in vector code, with a branch in place of both reductions; sin(x) = x for |x| < 2^-12. */
GG_INLINE float gg_sin_scalar_f32(float x)
{
    gg_angle_f32 r = gg_trig_reduce_scalar_f32(x);
    float y = gg_choose_f32(0u - (r.q & 1u), gg_sin_near_f32(r), gg_cos_near_f32(r), (r.q & 2u) << 30);
    return fabsf(x) < 0.000244140625f ? x : y;
}

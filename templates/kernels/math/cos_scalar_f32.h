/* cos(x) as in vector code, with a branch in place of both reductions. */
GG_INLINE float gg_cos_scalar_f32(float x)
{
    gg_angle_f32 r = gg_trig_reduce_scalar_f32(x);
    return gg_choose_f32(0u - (r.q & 1u), gg_cos_near_f32(r), gg_sin_near_f32(r), ((r.q + 1u) & 2u) << 30);
}

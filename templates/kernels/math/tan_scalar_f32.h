/* tan(x) as in vector code, with a branch in place of both reductions. */
GG_INLINE float gg_tan_scalar_f32(float x)
{
    gg_angle_f32 r = gg_trig_reduce_scalar_f32(x);
    uint32_t odd = 0u - (r.q & 1u);
    float s = gg_sin_near_f32(r), c = gg_cos_near_f32(r);
    float y = gg_choose_f32(odd, s, c, odd << 31) / gg_choose_f32(odd, c, s, 0u);
    return fabsf(x) < 0.000244140625f ? x : y;
}

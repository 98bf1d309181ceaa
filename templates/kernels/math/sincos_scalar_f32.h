/* sin(x) and cos(x) by one reduction. */
GG_INLINE void gg_sincos_scalar_f32(float x, float *sine, float *cosine)
{
    gg_angle_f32 r = gg_trig_reduce_scalar_f32(x);
    uint32_t odd = 0u - (r.q & 1u);
    float s = gg_sin_near_f32(r), c = gg_cos_near_f32(r), y = gg_choose_f32(odd, s, c, (r.q & 2u) << 30);
    *sine = fabsf(x) < 0.000244140625f ? x : y;
    *cosine = gg_choose_f32(odd, c, s, ((r.q + 1u) & 2u) << 30);
}

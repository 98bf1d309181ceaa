/* -1, 0 or 1; 0 for nan, as torch.sign has it. */
GG_INLINE float gg_sign_f32(float x)
{
    return (x > 0.0f ? 1.0f : 0.0f) - (x < 0.0f ? 1.0f : 0.0f);
}

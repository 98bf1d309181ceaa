/* Python's and torch's remainder: the sign of y. */
GG_INLINE float gg_remainder_f32(float x, float y)
{
    float m = gg_fmod_f32(x, y);
    return ((m != 0.0f) & ((m < 0.0f) != (y < 0.0f))) ? m + y : m;
}

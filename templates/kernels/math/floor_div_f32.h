/* Python's and torch's x // y: not floor(x / y), which rounding can carry to the next integer; x / y for y = 0. */
GG_INLINE float gg_floor_div_f32(float x, float y)
{
    float m = gg_fmod_f32(x, y), d = (x - m) / y, w;
    d = ((m != 0.0f) & ((m < 0.0f) != (y < 0.0f))) ? d - 1.0f : d;
    w = gg_floor_f32(d);
    w = d - w > 0.5f ? w + 1.0f : w;
    w = d == 0.0f ? copysignf(0.0f, x / y) : w;
    return y == 0.0f ? x / y : w;
}

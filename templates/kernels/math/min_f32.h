/* nan if either is nan; b if they are equal. */
GG_INLINE float gg_min_f32(float a, float b)
{
    return ((a < b) | (a != a)) ? a : b;
}

/* nan if either is nan; b if they are equal. */
GG_INLINE float gg_max_f32(float a, float b)
{
    return ((a > b) | (a != a)) ? a : b;
}

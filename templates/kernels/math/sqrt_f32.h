/* The square root is one instruction, correctly rounded. */
GG_INLINE float gg_sqrt_f32(float x)
{
    return sqrtf(x);
}

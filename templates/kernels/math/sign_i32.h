/* -1, 0 or 1. */
GG_INLINE int32_t gg_sign_i32(int32_t a)
{
    return (a > 0) - (a < 0);
}

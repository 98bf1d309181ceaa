/* -1, 0 or 1. */
GG_INLINE int64_t gg_sign_i64(int64_t a)
{
    return (a > 0) - (a < 0);
}

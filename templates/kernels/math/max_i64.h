GG_INLINE int64_t gg_max_i64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Quotient towards minus infinity, as in Python; 0 for b = 0. */
GG_INLINE int64_t gg_floor_div_i64(int64_t a, int64_t b)
{
    gg_quotient_i64 q = gg_divide_i64(a, b);
    return q.quotient - ((q.remainder != 0) & ((q.remainder < 0) != (b < 0)));
}

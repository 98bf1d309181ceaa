/* Quotient towards zero; 0 for b = 0. */
GG_INLINE int32_t gg_trunc_div_i32(int32_t a, int32_t b)
{
    gg_quotient_i32 q = gg_divide_i32(a, b);
    return q.quotient;
}

//: gg_trunc_div_{{ i }} < GG_INLINE, gg_quotient_{{ i }}, gg_divide_{{ i }}
/* Quotient towards zero; 0 for b = 0. */
GG_INLINE {{ T }} gg_trunc_div_{{ i }}({{ T }} a, {{ T }} b)
{
    gg_quotient_{{ i }} q = gg_divide_{{ i }}(a, b);
    return q.quotient;
}

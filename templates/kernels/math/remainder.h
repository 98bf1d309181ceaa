//: gg_remainder_{{ s }} < GG_INLINE, gg_fmod_{{ s }}
/* Python's and torch's remainder: the sign of y. */
GG_INLINE {{ T }} gg_remainder_{{ s }}({{ T }} x, {{ T }} y)
{
    {{ T }} m = gg_fmod_{{ s }}(x, y);
    return ((m != 0.0{{ f }}) & ((m < 0.0{{ f }}) != (y < 0.0{{ f }}))) ? m + y : m;
}

//: gg_remainder_{{ i }} < GG_INLINE, gg_quotient_{{ i }}, gg_divide_{{ i }}
/* Remainder with the sign of b, as in Python; 0 for b = 0. */
GG_INLINE {{ T }} gg_remainder_{{ i }}({{ T }} a, {{ T }} b)
{
    gg_quotient_{{ i }} q = gg_divide_{{ i }}(a, b);
    return ((q.remainder != 0) & ((q.remainder < 0) != (b < 0))) ? q.remainder + b : q.remainder;
}

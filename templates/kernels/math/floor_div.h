//: gg_floor_div_{{ s }} < GG_INLINE, gg_fmod_{{ s }}, gg_floor_{{ s }}
/* Python's and torch's x // y: not floor(x / y), which rounding can carry to the next integer; x / y for y = 0. */
GG_INLINE {{ T }} gg_floor_div_{{ s }}({{ T }} x, {{ T }} y)
{
    {{ T }} m = gg_fmod_{{ s }}(x, y), d = (x - m) / y, w;
    d = ((m != 0.0{{ f }}) & ((m < 0.0{{ f }}) != (y < 0.0{{ f }}))) ? d - 1.0{{ f }} : d;
    w = gg_floor_{{ s }}(d);
    w = d - w > 0.5{{ f }} ? w + 1.0{{ f }} : w;
    w = d == 0.0{{ f }} ? copysign{{ f }}(0.0{{ f }}, x / y) : w;
    return y == 0.0{{ f }} ? x / y : w;
}

//: gg_floor_div_{{ i }} < GG_INLINE, gg_quotient_{{ i }}, gg_divide_{{ i }}
/* Quotient towards minus infinity, as in Python; 0 for b = 0. */
GG_INLINE {{ T }} gg_floor_div_{{ i }}({{ T }} a, {{ T }} b)
{
    gg_quotient_{{ i }} q = gg_divide_{{ i }}(a, b);
    return q.quotient - ((q.remainder != 0) & ((q.remainder < 0) != (b < 0)));
}

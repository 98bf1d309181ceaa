//= bits: 22 | 51
//= whole: 4194304.0f | 2251799813685248.0
//= huge: 8.50705917e+37f | 4.49423283715579e+307
//: gg_fmod_{{ s }} < GG_INLINE, gg_pair_{{ s }}, gg_two_prod_{{ s }}, gg_trunc_{{ s }}
/* x - trunc(x/y) y exactly. A quotient below 2^{{ bits }} needs one division and an exact product; libm does the rest.
 * (Its call keeps a loop from vectorising.) */
GG_INLINE {{ T }} gg_fmod_{{ s }}({{ T }} x, {{ T }} y)
{
    {{ T }} a = fabs{{ f }}(x), b = fabs{{ f }}(y), q = a / b, r;
    gg_pair_{{ s }} p;
    if ((q < {{ whole }}) & (a < {{ huge }}) & (b < {{ huge }})) {
        p = gg_two_prod_{{ s }}(gg_trunc_{{ s }}(q), b);
        r = (a - p.hi) - p.lo;
        return copysign{{ f }}(r < 0.0{{ f }} ? r + b : r, x);
    }
    return fmod{{ f }}(x, y);
}

//: gg_fmod_{{ i }} < GG_INLINE, gg_quotient_{{ i }}, gg_divide_{{ i }}
/* Remainder with the sign of a; 0 for b = 0. */
GG_INLINE {{ T }} gg_fmod_{{ i }}({{ T }} a, {{ T }} b)
{
    gg_quotient_{{ i }} q = gg_divide_{{ i }}(a, b);
    return q.remainder;
}

//: gg_maximum_{{ s }} < GG_INLINE
/* nan if either is nan; b if they are equal.  | is no branch: the loop around it vectorises. */
GG_INLINE {{ T }} gg_maximum_{{ s }}({{ T }} a, {{ T }} b)
{
    return ((a > b) | (a != a)) ? a : b;
}

//: gg_minimum_{{ s }} < GG_INLINE
/* nan if either is nan; b if they are equal. */
GG_INLINE {{ T }} gg_minimum_{{ s }}({{ T }} a, {{ T }} b)
{
    return ((a < b) | (a != a)) ? a : b;
}

//: gg_trunc_div_{{ s }}
static inline {{ T }} gg_trunc_div_{{ s }}({{ T }} a, {{ T }} b)
{
    return trunc{{ f }}(a / b);
}

//: gg_isnan_{{ s }}
static inline int gg_isnan_{{ s }}({{ T }} a)
{
    return a != a;
}

//: gg_isinf_f32
static inline int gg_isinf_f32(float a)
{
    return fabsf(a) == INFINITY;
}

//: gg_isinf_f64
static inline int gg_isinf_f64(double a)
{
    return fabs(a) == (double)INFINITY;
}

//: gg_isfinite_f32
static inline int gg_isfinite_f32(float a)
{
    return fabsf(a) < INFINITY;
}

//: gg_isfinite_f64
static inline int gg_isfinite_f64(double a)
{
    return fabs(a) < (double)INFINITY;
}

//: gg_lgamma_{{ s }}
static inline {{ T }} gg_lgamma_{{ s }}({{ T }} a)
{
    return lgamma{{ f }}(a);
}

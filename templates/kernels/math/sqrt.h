//: gg_sqrt_{{ s }} < GG_INLINE
/* The square root is one instruction, correctly rounded. */
GG_INLINE {{ T }} gg_sqrt_{{ s }}({{ T }} x)
{
    return sqrt{{ f }}(x);
}

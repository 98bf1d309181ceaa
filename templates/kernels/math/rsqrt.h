//: gg_rsqrt_{{ s }} < GG_INLINE
/* Two correctly rounded operations; 1/sqrt(-0) is -infinity. Measured: at most 1.49 ulp. */
GG_INLINE {{ T }} gg_rsqrt_{{ s }}({{ T }} x)
{
    return 1.0{{ f }} / sqrt{{ f }}(x);
}

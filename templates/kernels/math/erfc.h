//: gg_erfc_f32 < GG_INLINE, gg_erfc_tail_f32
/* |x| < 1/2: 1 - erf(x), erf by x + x P(x^2), minimax (relative error 2^-29); else the tail, and erfc(-x) = 2 -
 * erfc(x). Measured: at most 1.27 ulp. */
GG_INLINE float gg_erfc_f32(float x)
{
    float z = x * x, tail = gg_erfc_tail_f32(fabsf(x)), p = 0.004729829f;
    float y = x < 0.0f ? 2.0f - tail : tail;
    p = p * z + -0.026763814f;
    p = p * z + 0.11282946f;
    p = p * z + -0.37612617f;
    p = p * z + 0.128379167f;
    return fabsf(x) < 0.5f ? 1.0f - (x + x * p) : y;
}

//: gg_erfc_f64 < GG_INLINE, gg_erfc_tail_f64
/* |x| < 1/2: 1 - erf(x), erf by x + x P(x^2), minimax (relative error 2^-57); else the tail, and erfc(-x) = 2 -
 * erfc(x). Measured: at most 3.40 ulp. */
GG_INLINE double gg_erfc_f64(double x)
{
    double z = x * x, tail = gg_erfc_tail_f64(fabs(x)), p = 1.473626154340788e-06;
    double y = x < 0.0 ? 2.0 - tail : tail;
    p = p * z + -1.4846967400994986e-05;
    p = p * z + 0.00012053384695159728;
    p = p * z + -0.0008548298920932786;
    p = p * z + 0.005223977388686955;
    p = p * z + -0.026866170634080495;
    p = p * z + 0.11283791670930156;
    p = p * z + -0.3761263890318356;
    p = p * z + 0.12837916709551257;
    return fabs(x) < 0.5 ? 1.0 - (x + x * p) : y;
}

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

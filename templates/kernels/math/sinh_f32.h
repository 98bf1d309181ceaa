/* |x| < 1: x + x^3 P(x^2), minimax, relative error 2^-31; else e^|x|/2 - 1/(2 e^|x|). Measured: at most 1.62 ulp. */
GG_INLINE float gg_sinh_f32(float x)
{
    float e = gg_exp_ext_f32(fabsf(x), 0.0f, UINT32_MAX), z = x * x;
    float large = copysignf(e - 0.25f / e, x), p = 2.789984e-06f;
    p = p * z + 0.00019841666f;
    p = p * z + 0.008333315f;
    p = p * z + 0.16666667f;
    return fabsf(x) < 1.0f ? x + x * z * p : large;
}

//: gg_sinh_f32 < GG_INLINE, gg_exp_ext_f32
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

//: gg_sinh_f64 < GG_INLINE, gg_exp_ext_f64
/* |x| < 1: x + x^3 P(x^2), minimax, relative error 2^-61; else e^|x|/2 - 1/(2 e^|x|). Measured: at most 1.59 ulp. */
GG_INLINE double gg_sinh_f64(double x)
{
    double e = gg_exp_ext_f64(fabs(x), 0.0, UINT64_MAX), z = x * x;
    double large = copysign(e - 0.25 / e, x), p = 7.765922744786494e-13;
    p = p * z + 1.6056999787590128e-10;
    p = p * z + 2.5052126863862458e-08;
    p = p * z + 2.7557319130344088e-06;
    p = p * z + 0.0001984126984153126;
    p = p * z + 0.00833333333333297;
    p = p * z + 0.16666666666666669;
    return fabs(x) < 1.0 ? x + x * z * p : large;
}

//: gg_asin_f32 < GG_INLINE
/* |x| < 1/2: x + x^3 P(x^2), minimax, relative error 2^-27; else pi/2 - 2 asin(sqrt((1 - |x|)/2)). Measured: at
 * most 1.19 ulp. Measured: at most 1.19 ulp. */
GG_INLINE float gg_asin_f32(float x)
{
    float a = fabsf(x), z = a < 0.5f ? a * a : ((1.0f - a) * 0.5f), s = a < 0.5f ? a : sqrtf(z), p = 0.042157013f, y;
    p = p * z + 0.024185503f;
    p = p * z + 0.04546902f;
    p = p * z + 0.0749531f;
    p = p * z + 0.16666752f;
    p = s * z * p;
    y = 1.5707964f - 2.0f * s;
    y = y + (((1.5707964f - y) - 2.0f * s) - (2.0f * p - -4.371139e-08f));
    return copysignf(a < 0.5f ? s + p : y, x);
}

//: gg_asin_f64 < GG_INLINE
/* |x| < 1/2: x + x^3 P(x^2), minimax, relative error 2^-56; else pi/2 - 2 asin(sqrt((1 - |x|)/2)). Measured: at
 * most 1.20 ulp. Measured: at most 1.20 ulp. */
GG_INLINE double gg_asin_f64(double x)
{
    double a = fabs(x), z = a < 0.5 ? a * a : ((1.0 - a) * 0.5), s = a < 0.5 ? a : sqrt(z), p = 0.03191252849702112, y;
    p = p * z + -0.016224659548438252;
    p = p * z + 0.01952854650514719;
    p = p * z + 0.0065278628477992455;
    p = p * z + 0.012169240313613137;
    p = p * z + 0.013885230606394317;
    p = p * z + 0.01735970531598465;
    p = p * z + 0.02237175800875863;
    p = p * z + 0.030381959138980525;
    p = p * z + 0.044642856828270135;
    p = p * z + 0.07500000000337102;
    p = p * z + 0.16666666666665408;
    p = s * z * p;
    y = 1.5707963267948966 - 2.0 * s;
    y = y + (((1.5707963267948966 - y) - 2.0 * s) - (2.0 * p - 6.123233995736766e-17));
    return copysign(a < 0.5 ? s + p : y, x);
}

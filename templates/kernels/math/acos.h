//: gg_acos_f32 < GG_INLINE
/* pi/2 - asin(x) for |x| < 1/2, else 2 asin(sqrt((1 - |x|)/2)), subtracted from pi if x < 0; the polynomial of
 * asin. Measured: at most 1.16 ulp. */
GG_INLINE float gg_acos_f32(float x)
{
    float a = fabsf(x), z = a < 0.5f ? a * a : ((1.0f - a) * 0.5f), s = a < 0.5f ? x : sqrtf(z), p = 0.042157013f, y;
    p = p * z + 0.024185503f;
    p = p * z + 0.04546902f;
    p = p * z + 0.0749531f;
    p = p * z + 0.16666752f;
    p = s * z * p;
    y = x < 0.0f ? (3.1415927f - 2.0f * s) - (2.0f * p - -8.742278e-08f) : 2.0f * (s + p);
    return a < 0.5f ? 1.5707964f - (s - (-4.371139e-08f - p)) : y;
}

//: gg_acos_f64 < GG_INLINE
/* pi/2 - asin(x) for |x| < 1/2, else 2 asin(sqrt((1 - |x|)/2)), subtracted from pi if x < 0; the polynomial of
 * asin. Measured: at most 1.19 ulp. */
GG_INLINE double gg_acos_f64(double x)
{
    double a = fabs(x), z = a < 0.5 ? a * a : ((1.0 - a) * 0.5), s = a < 0.5 ? x : sqrt(z), p = 0.03191252849702112, y;
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
    y = x < 0.0 ? (3.141592653589793 - 2.0 * s) - (2.0 * p - 1.2246467991473532e-16) : 2.0 * (s + p);
    return a < 0.5 ? 1.5707963267948966 - (s - (6.123233995736766e-17 - p)) : y;
}

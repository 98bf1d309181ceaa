//: gg_erf_f32 < GG_INLINE, gg_exp_f32
/* |x| < 0.95: x + x P(x^2), P minimax (relative error 2^-30); else 1 - e^-h with h = -log(erfc|x|) by a polynomial
 * of degree 6 on [0.9, 4] (error of e^-h: 2^-28). Beyond 4 the result is 1. Measured: at most 1.14 ulp. */
GG_INLINE float gg_erf_f32(float x)
{
    float a = fabsf(x) > 4.0f ? 4.0f : fabsf(x), z = x * x;
    float h = -0.000197181550f, p = 8.211745e-05f, large;
    h = h * a + 0.00305560604f;
    h = h * a + -0.0222770814f;
    h = h * a + 0.104037344f;
    h = h * a + 0.637059748f;
    h = h * a + 1.12774956f;
    h = h * a + 0.000177496331f;
    large = copysignf(1.0f - gg_exp_f32(-h), x);
    p = p * z + -0.0008105098f;
    p = p * z + 0.0051977187f;
    p = p * z + -0.026858065f;
    p = p * z + 0.11283671f;
    p = p * z + -0.37612632f;
    p = p * z + 0.128379167f;
    return a < 0.95f ? x + x * p : large;
}

//: gg_erf_f64 < GG_INLINE, gg_erfc_tail_f64
/* |x| < 1: x + x P(x^2), P minimax (relative error 2^-56); else 1 - erfc(|x|). Measured: at most 1.17 ulp. */
GG_INLINE double gg_erf_f64(double x)
{
    double a = fabs(x), z = x * x, p = 6.683030766302347e-11;
    double large = copysign(1.0 - gg_erfc_tail_f64(a), x);
    p = p * z + -1.1829509212431825e-09;
    p = p * z + 1.4786264738928388e-08;
    p = p * z + -1.6370595645946312e-07;
    p = p * z + 1.6463083045841479e-06;
    p = p * z + -1.4925738251937505e-05;
    p = p * z + 0.00012055337767440446;
    p = p * z + -0.0008548327189331384;
    p = p * z + 0.005223977629091198;
    p = p * z + -0.026866170645619147;
    p = p * z + 0.11283791670958741;
    p = p * z + -0.37612638903183876;
    p = p * z + 0.12837916709551257;
    return a < 1.0 ? x + x * p : large;
}

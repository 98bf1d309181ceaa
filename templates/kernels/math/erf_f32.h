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

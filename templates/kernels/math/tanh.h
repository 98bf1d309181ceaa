//: gg_tanh_f32 < GG_INLINE, gg_exp_poly_f32, gg_from_bits_f32, gg_bits_f32
/* |x| < 0.55: x + x^3 P(x^2), minimax, relative error 2^-29; else 1 - 2/(e^(2|x|) + 1), where nothing cancels; 1 from
 * 9.1 on. Measured: at most 1.34 ulp. */
GG_INLINE float gg_tanh_f32(float x)
{
    float a = fabsf(x), z = x * x;
    float shifted = a * 2.88539008f + 12583039.0f, n = shifted - 12583039.0f;
    float q = gg_exp_poly_f32((2.0f * a - n * 0.693359375f) - n * -0.000212194442f);
    float s = gg_from_bits_f32(gg_bits_f32(shifted) << 23); /* 2^n: the low bits are n + 127 */
    float y = 1.0f - 2.0f / (s * q + (s + 1.0f));
    float p = -0.006263359f;
    p = p * z + 0.021063004f;
    p = p * z + -0.05384986f;
    p = p * z + 0.13332558f;
    p = p * z + -0.33333316f;
    y = a < 0.55f ? a + a * z * p : y;
    return copysignf(a > 9.1f ? 1.0f : y, x);
}

//: gg_tanh_f64 < GG_INLINE, gg_from_bits_f64, gg_bits_f64, gg_expm1_near_f64
/* -t/(t + 2) with t = e^(-2|x|) - 1 = 2^n (e^r - 1) + (2^n - 1), reduced as in exp; e^r - 1 by the polynomial of expm1.
 * From 22 on the result is 1. Measured: at most 2.52 ulp. */
GG_INLINE double gg_tanh_f64(double x)
{
    double a = fabs(x);
    double shifted = a * -2.8853900817779268 + 6755399441056767.0, n = shifted - 6755399441056767.0;
    double r = (-2.0 * a - n * 0.69314718036912381649017333984375) - n * 1.9082149292705877e-10;
    double s = gg_from_bits_f64(gg_bits_f64(shifted) << 52); /* 2^n: the low bits are n + 1023 */
    double t = s * gg_expm1_near_f64(r) + (s - 1.0), y = t / (t + 2.0);
    return copysign(a > 22.0 ? 1.0 : y, x);
}

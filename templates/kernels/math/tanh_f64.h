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

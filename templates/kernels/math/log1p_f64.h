/* log(1 + x + lo), lo a small correction: 1 + x = u + c exactly, u = 2^k m, and f = (m - 1) + 2^-k (c + lo), so
 * that f = x where k = 0 and nothing is lost to the rounding of 1 + x. Right for -1 < x < infinity, but for the
 * sign of -0. Measured: at most 1.32 ulp. */
GG_INLINE double gg_log1p_finite_f64(double x, double lo)
{
    gg_pair_f64 u = gg_two_sum_f64(1.0, x);
    uint64_t i = gg_bits_f64(u.hi) + (UINT64_C(0x3ff0000000000000) - UINT64_C(0x3fe6a09e667f3bcd));
    uint64_t e = i >> 52;
    double k = gg_from_bits_f64(e | UINT64_C(0x4330000000000000)) - (4503599627370496.0 + 1023.0);
    double f = gg_from_bits_f64((i & UINT64_C(0x000fffffffffffff)) + UINT64_C(0x3fe6a09e667f3bcd)) - 1.0;
    double shrink = gg_from_bits_f64(((2046u - e) & (((e + 1u) >> 11) - 1u)) << 52); /* e = 2047: 0 */
    return gg_log_sum_f64(k, f + (u.lo + lo) * shrink);
}

GG_INLINE double gg_log1p_f64(double x)
{
    double y = gg_log1p_finite_f64(x, 0.0);
    y = x == HUGE_VAL ? x : y;
    y = x == -1.0 ? -HUGE_VAL : y;
    y = x == 0.0 ? x : y;
    return x >= -1.0 ? y : (double)NAN;
}

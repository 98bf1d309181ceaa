/* |x|^y = e^(y log|x|), log and product in pairs; then what C99 (F.9.4.4) and IEEE 754 say of zeros, infinities,
 * nan, and negative x: a sign for an odd y, nan for a y that is not an integer. Measured: at most 1.15 ulp. */
GG_INLINE double gg_pow_f64(double x, double y)
{
    double a = fabs(x), b = fabs(y), half = b * 0.5;
    gg_pair_f64 l = gg_log_pair_f64(a), t = gg_two_prod_f64(y, l.hi);
    double up = b + 4503599627370496.0, whole = up - 4503599627370496.0;
    double half_up = half + 4503599627370496.0, half_whole = half_up - 4503599627370496.0;
    int integer = (b >= 4503599627370496.0) | (whole == b);
    int odd = integer & (b < 9007199254740992.0) & (half_whole != half);
    double low = fabs(t.hi) < 2000.0 ? t.lo + y * l.lo : 0.0;
    double r = gg_exp_ext_f64(t.hi, low, 0u);
    double flat = y < 0.0 ? HUGE_VAL : 0.0; /* 0^y */
    uint64_t sign = odd ? gg_bits_f64(x) & UINT64_C(0x8000000000000000) : 0u;
    r = a == 0.0 ? flat : r;
    r = a == HUGE_VAL ? (y < 0.0 ? 0.0 : HUGE_VAL) : r;
    r = a == 1.0 ? 1.0 : r;
    r = gg_from_bits_f64(gg_bits_f64(r) | sign);
    r = ((x < 0.0) & (x > -HUGE_VAL) & (integer == 0)) ? (double)NAN : r;
    r = ((x != x) | (y != y)) ? (double)NAN : r;
    return ((y == 0.0) | (x == 1.0)) ? 1.0 : r;
}

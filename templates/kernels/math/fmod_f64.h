/* x - trunc(x/y) y exactly. A quotient below 2^51 needs one division and an exact product; libm does the rest.
 * (Its call keeps a loop from vectorising.) */
GG_INLINE double gg_fmod_f64(double x, double y)
{
    double a = fabs(x), b = fabs(y), q = a / b, r;
    gg_pair_f64 p;
    if ((q < 2251799813685248.0) & (a < 4.49423283715579e+307) & (b < 4.49423283715579e+307)) {
        p = gg_two_prod_f64(gg_trunc_f64(q), b);
        r = (a - p.hi) - p.lo;
        return copysign(r < 0.0 ? r + b : r, x);
    }
    return fmod(x, y);
}

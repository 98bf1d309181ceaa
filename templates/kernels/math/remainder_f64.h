/* Python's and torch's remainder: the sign of y. */
GG_INLINE double gg_remainder_f64(double x, double y)
{
    double m = gg_fmod_f64(x, y);
    return ((m != 0.0) & ((m < 0.0) != (y < 0.0))) ? m + y : m;
}

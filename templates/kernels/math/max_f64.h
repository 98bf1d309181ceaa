/* nan if either is nan; b if they are equal. */
GG_INLINE double gg_max_f64(double a, double b)
{
    return ((a > b) | (a != a)) ? a : b;
}

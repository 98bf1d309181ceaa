/* The square root is one instruction, correctly rounded. */
GG_INLINE double gg_sqrt_f64(double x)
{
    return sqrt(x);
}

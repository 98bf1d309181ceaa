/* Python's and torch's x // y: not floor(x / y), which rounding can carry to the next integer; x / y for y = 0. */
GG_INLINE double gg_floor_div_f64(double x, double y)
{
    double m = gg_fmod_f64(x, y), d = (x - m) / y, w;
    d = ((m != 0.0) & ((m < 0.0) != (y < 0.0))) ? d - 1.0 : d;
    w = gg_floor_f64(d);
    w = d - w > 0.5 ? w + 1.0 : w;
    w = d == 0.0 ? copysign(0.0, x / y) : w;
    return y == 0.0 ? x / y : w;
}

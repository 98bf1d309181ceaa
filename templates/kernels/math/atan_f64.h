/* |x| <= tan(pi/8): x + x^3 P(x^2), minimax, relative error 2^-59; above by atan(x) = pi/4 + atan((x - 1)/(x + 1))
 * and, beyond tan(3 pi/8), atan(x) = pi/2 + atan(-1/x). Measured: at most 1.80 ulp. */
GG_INLINE double gg_atan_f64(double x)
{
    double a = fabs(x), p = -0.01790878342619539;
    int far = a > 2.414213562373095, near = a > 0.41421356237309503;
    double n = far ? -1.0 : (near ? a - 1.0 : a), d = far ? a : (near ? a + 1.0 : 1.0);
    double base = far ? 1.5707963267948966 : (near ? 0.7853981633974483 : 0.0);
    double low = far ? 6.123233995736766e-17 : (near ? 3.061616997868383e-17 : 0.0);
    double t = n / d, z = t * t;
    p = p * z + 0.038065833609229535;
    p = p * z + -0.0503934849678743;
    p = p * z + 0.05847897710337764;
    p = p * z + -0.06663105046707299;
    p = p * z + 0.07692060292843655;
    p = p * z + -0.09090897762034506;
    p = p * z + 0.11111110783640755;
    p = p * z + -0.14285714280202147;
    p = p * z + 0.1999999999995369;
    p = p * z + -0.333333333333332;
    return copysign(base + (t + (t * z * p + low)), x);
}

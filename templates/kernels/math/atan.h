//: gg_atan_f32 < GG_INLINE
/* |x| <= tan(pi/8): x + x^3 P(x^2), minimax, relative error 2^-30; above by atan(x) = pi/4 + atan((x - 1)/(x + 1))
 * and, beyond tan(3 pi/8), atan(x) = pi/2 + atan(-1/x). The rounding of x - 1 and x + 1 is taken out of the
 * quotient. Measured: at most 1.15 ulp. */
GG_INLINE float gg_atan_f32(float x)
{
    float a = fabsf(x), p = -0.060908936f, more = a + 1.0f, less = a - 1.0f;
    int far = a > 2.4142137f, near = a > 0.41421357f;
    float n = far ? -1.0f : (near ? less : a), d = far ? a : (near ? more : 1.0f);
    float base = far ? 1.5707964f : (near ? 0.7853982f : 0.0f);
    float low = far ? -4.371139e-08f : (near ? -2.1855694e-08f : 0.0f);
    float t = n / d, z = t * t, lost = (a - (less + 1.0f)) - t * (more < 2.0f ? a - (more - 1.0f) : 1.0f - (more - a));
    p = p * z + 0.10599487f;
    p = p * z + -0.1424443f;
    p = p * z + 0.1999853f;
    p = p * z + -0.33333316f;
    low = low + ((near & (far == 0)) ? lost / more : 0.0f);
    return copysignf(base + (t + (t * z * p + low)), x);
}

//: gg_atan_f64 < GG_INLINE
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

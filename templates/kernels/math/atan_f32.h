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

/* |x| <= tan(pi/8): x + x^3 P(x^2), minimax, relative error 2^-30; above by atan(x) = pi/4 + atan((x - 1)/(x + 1))
 * and, beyond tan(3 pi/8), atan(x) = pi/2 + atan(-1/x). */
GG_INLINE float gg_atan_f32(float x)
{
    float a = fabsf(x), p = -0.060908936f;
    float n = a > 2.4142137f ? -1.0f : (a > 0.41421357f ? a - 1.0f : a), d = a > 2.4142137f ? a : (a > 0.41421357f ? a + 1.0f : 1.0f);
    float base = a > 2.4142137f ? 1.5707964f : (a > 0.41421357f ? 0.7853982f : 0.0f);
    float low = a > 2.4142137f ? -4.371139e-08f : (a > 0.41421357f ? -2.1855694e-08f : 0.0f);
    float t = n / d, z = t * t;
    p = p * z + 0.10599487f;
    p = p * z + -0.1424443f;
    p = p * z + 0.1999853f;
    p = p * z + -0.33333316f;
    return copysignf(base + (t + (t * z * p + low)), x);
}

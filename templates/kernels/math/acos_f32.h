/* pi/2 - asin(x) for |x| < 1/2, else 2 asin(sqrt((1 - |x|)/2)), subtracted from pi if x < 0; the polynomial of
 * asin. Measured: at most 1.16 ulp. */
GG_INLINE float gg_acos_f32(float x)
{
    float a = fabsf(x), z = a < 0.5f ? a * a : ((1.0f - a) * 0.5f), s = a < 0.5f ? x : sqrtf(z), p = 0.042157013f, y;
    p = p * z + 0.024185503f;
    p = p * z + 0.04546902f;
    p = p * z + 0.0749531f;
    p = p * z + 0.16666752f;
    p = s * z * p;
    y = x < 0.0f ? (3.1415927f - 2.0f * s) - (2.0f * p - -8.742278e-08f) : 2.0f * (s + p);
    return a < 0.5f ? 1.5707964f - (s - (-4.371139e-08f - p)) : y;
}

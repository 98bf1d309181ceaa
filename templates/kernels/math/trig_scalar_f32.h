/* Trigonometry of one number at a time, for code that is not a vector loop: a predicted branch takes Cody & Waite's
 * reduction (1980), x - q pi/2 with pi/2 in parts, for small |x|, and Payne & Hanek's beyond. */
GG_NOINLINE gg_angle_f32 gg_trig_far_scalar_f32(float x)
{
    gg_angle_f32 angle = gg_trig_reduce_f32(x);
    uint32_t negative = gg_bits_f32(x) >> 31;
    uint32_t sign = negative << 31;
    angle.hi = gg_from_bits_f32(gg_bits_f32(angle.hi) ^ sign);
    angle.lo = gg_from_bits_f32(gg_bits_f32(angle.lo) ^ sign);
    angle.q = (angle.q ^ (0u - negative)) + negative;
    return angle;
}

GG_INLINE gg_angle_f32 gg_trig_reduce_scalar_f32(float x)
{
    gg_angle_f32 angle;
#ifdef GG_FUSED_F32
    if (fabsf(x) < 8192.0f) {
        /* the first difference is exact: a multiple of the last place of pi/2, and below 1 */
        float shifted = x * 0.636619747f + 12582912.0f, q = shifted - 12582912.0f;
        float first = fmaf(q, -1.57079637f, x), part = q * -4.37113883e-08f;
        float lost = fmaf(q, -4.37113883e-08f, -part);
        gg_pair_f32 s = gg_two_sum_f32(first, -part);
        angle.hi = s.hi;
        angle.lo = s.lo - (lost + q * -1.71512451e-15f);
#else
    if (fabsf(x) < 512.0f) {
        /* parts of 15 bits: their products with q are exact */
        float shifted = x * 0.636619747f + 12582912.0f, q = shifted - 12582912.0f;
        float first = x - q * 1.57073975f, part = q * 5.65797091e-05f;
        gg_pair_f32 s = gg_two_sum_f32(first, -part);
        s = gg_two_sum_f32(s.hi, s.lo - q * 9.92088189e-10f);
        angle.hi = s.hi;
        angle.lo = s.lo - q * 5.39030295e-15f;
#endif
        angle.q = gg_bits_f32(shifted);
        return angle;
    }
    return gg_trig_far_scalar_f32(x);
}

/* sin and cos of the reduced angle, to first order in lo; the polynomials are those of the vector code. */
GG_INLINE float gg_sin_near_f32(gg_angle_f32 r)
{
    float x = r.hi, z = x * x;
    float p = -0.16666655f + z * (0.008332189f + z * -0.00019518285f);
    return x + (x * z * p + r.lo * (1.0f - 0.5f * z));
}

GG_INLINE float gg_cos_near_f32(gg_angle_f32 r)
{
    float x = r.hi, z = x * x, half = 0.5f * z, big = 1.0f - half;
    float p = 0.041666646f + z * (-0.0013887311f + z * 2.4432564e-05f);
    return big + (((1.0f - big) - half) + (z * z * p - x * r.lo));
}

/* b where the mask is all ones, a where it is 0: as bits, because a branch on the quadrant is not predictable */
GG_INLINE float gg_choose_f32(uint32_t mask, float a, float b, uint32_t sign)
{
    return gg_from_bits_f32(((gg_bits_f32(a) & ~mask) | (gg_bits_f32(b) & mask)) ^ sign);
}

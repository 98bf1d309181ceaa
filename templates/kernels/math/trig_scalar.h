//: gg_trig_far_scalar_f32 < GG_NOINLINE, gg_angle_f32, gg_trig_reduce_f32, gg_bits_f32, gg_from_bits_f32
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

//: gg_trig_far_scalar_f64 < GG_NOINLINE, gg_angle_f64, gg_trig_far_f64, gg_bits_f64, gg_from_bits_f64
/* Trigonometry of one number at a time, for code that is not a vector loop: a predicted branch takes Cody & Waite's
 * reduction (1980), x - q pi/2 with pi/2 in parts, below 2^20, and Payne & Hanek's from there on. */
GG_NOINLINE gg_angle_f64 gg_trig_far_scalar_f64(double x)
{
    gg_angle_f64 angle = gg_trig_far_f64(fabs(x));
    uint64_t negative = gg_bits_f64(x) >> 63;
    uint64_t sign = negative << 63;
    angle.hi = gg_from_bits_f64(gg_bits_f64(angle.hi) ^ sign);
    angle.lo = gg_from_bits_f64(gg_bits_f64(angle.lo) ^ sign);
    angle.q = (angle.q ^ (0u - negative)) + negative;
    return angle;
}

//: gg_trig_reduce_scalar_f32 < GG_INLINE, gg_angle_f32, GG_FUSED_F32, gg_pair_f32, gg_two_sum_f32, gg_bits_f32, gg_trig_far_scalar_f32
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

//: gg_trig_reduce_scalar_f64 < GG_INLINE, gg_angle_f64, GG_FUSED_F64, gg_pair_f64, gg_two_sum_f64, gg_bits_f64, gg_trig_far_scalar_f64
GG_INLINE gg_angle_f64 gg_trig_reduce_scalar_f64(double x)
{
    gg_angle_f64 angle;
    if (fabs(x) < 1048576.0) {
        double shifted = x * 0.6366197723675814 + 6755399441055744.0, q = shifted - 6755399441055744.0;
#ifdef GG_FUSED_F64
        /* the first difference is exact: a multiple of the last place of pi/2, and below 1 */
        double first = fma(q, -1.5707963267948966, x), part = q * 6.123233995736766e-17;
        double lost = fma(q, 6.123233995736766e-17, -part);
        gg_pair_f64 s = gg_two_sum_f64(first, -part);
        angle.hi = s.hi;
        angle.lo = s.lo - (lost + q * -1.4973849048591698e-33);
#else
        /* parts of 33 bits: their products with q are exact */
        double first = x - q * 1.57079632673412561417, part = q * 6.07710050630396597660e-11;
        gg_pair_f64 s = gg_two_sum_f64(first, -part);
        s = gg_two_sum_f64(s.hi, s.lo - q * 2.02226624871116645580e-21);
        angle.hi = s.hi;
        angle.lo = s.lo - q * 8.47842766036889956997e-32;
#endif
        angle.q = gg_bits_f64(shifted);
        return angle;
    }
    return gg_trig_far_scalar_f64(x);
}

//: gg_sin_near_f32 < GG_INLINE, gg_angle_f32
/* sin and cos of the reduced angle, to first order in lo; the polynomials are those of the vector code. */
GG_INLINE float gg_sin_near_f32(gg_angle_f32 r)
{
    float x = r.hi, z = x * x;
    float p = -0.16666655f + z * (0.008332189f + z * -0.00019518285f);
    return x + (x * z * p + r.lo * (1.0f - 0.5f * z));
}

//: gg_sin_near_f64 < GG_INLINE, gg_angle_f64
/* sin and cos of the reduced angle, to first order in lo; the polynomials are those of the vector code, by Estrin's
 * scheme, which waits less. */
GG_INLINE double gg_sin_near_f64(gg_angle_f64 r)
{
    double x = r.hi, z = x * x, w = z * z;
    double p = (-0.1666666666666663 + z * 0.008333333333321919)
        + w * ((-0.0001984126982945851 + z * 2.755731358226442e-06)
        + w * (-2.5050742320642017e-08 + z * 1.589594363745134e-10));
    return x + (x * z * p + r.lo * (1.0 - 0.5 * z));
}

//: gg_cos_near_f32 < GG_INLINE, gg_angle_f32
GG_INLINE float gg_cos_near_f32(gg_angle_f32 r)
{
    float x = r.hi, z = x * x, half = 0.5f * z, big = 1.0f - half;
    float p = 0.041666646f + z * (-0.0013887311f + z * 2.4432564e-05f);
    return big + (((1.0f - big) - half) + (z * z * p - x * r.lo));
}

//: gg_cos_near_f64 < GG_INLINE, gg_angle_f64
GG_INLINE double gg_cos_near_f64(gg_angle_f64 r)
{
    double x = r.hi, z = x * x, w = z * z, half = 0.5 * z, big = 1.0 - half;
    double p = (0.041666666666666595 + z * -0.0013888888888873344)
        + w * ((2.480158728900347e-05 + z * -2.7557314217299276e-07)
        + w * (2.087570540410226e-09 + z * -1.1358748095206087e-11));
    return big + (((1.0 - big) - half) + (w * p - x * r.lo));
}

//: gg_choose_{{ s }} < GG_INLINE, gg_from_bits_{{ s }}, gg_bits_{{ s }}
/* b where the mask is all ones, a where it is 0: as bits, because a branch on the quadrant is not predictable */
GG_INLINE {{ T }} gg_choose_{{ s }}({{ U }} mask, {{ T }} a, {{ T }} b, {{ U }} sign)
{
    return gg_from_bits_{{ s }}(((gg_bits_{{ s }}(a) & ~mask) | (gg_bits_{{ s }}(b) & mask)) ^ sign);
}

//: gg_atan2_f32 < GG_INLINE, gg_bits_f32
/* atan2(y, x) = m pi/4 +- atan(t), t from the smaller and the larger of |x| and |y| as in atan, m a whole number;
 * pi/4 is cut so that m times its first part is exact. C99 (F.9.1.4) at zeros and infinities. Measured: at most
 * 1.45 ulp. Measured: at most 1.45 ulp. */
GG_INLINE float gg_atan2_f32(float y, float x)
{
    float ax = fabsf(x), ay = fabsf(y);
    float scale = ((ax > 4.25352959e+37f) | (ay > 4.25352959e+37f)) ? 0.25f : 1.0f;
    float n = (ax < ay ? ax : ay) * scale, d = (ax < ay ? ay : ax) * scale, m, sign, t, z, lost, p = -0.060908936f;
    int near = (n > 0.41421357f * d) | ((n == d) & (d > 0.0f));
    int negative = (gg_bits_f32(x) & 0x80000000u) != 0u;
    t = (near ? n - d : n) / (near ? n + d : d);
    lost = near ? ((n - ((n - d) + d)) - t * (n - ((n + d) - d))) / (n + d) : 0.0f;
    lost = ((n == d) | (d == 0.0f)) ? 0.0f : lost;
    t = ((n == d) | (d == 0.0f)) ? 0.0f : t; /* also 0/0 and infinity/infinity */
    z = t * t;
    p = p * z + 0.10599487f;
    p = p * z + -0.1424443f;
    p = p * z + 0.1999853f;
    p = p * z + -0.33333316f;
    t = t + (t * z * p + lost);
    m = near ? 1.0f : 0.0f;
    m = ax < ay ? 2.0f - m : m;
    m = negative ? 4.0f - m : m;
    sign = (ax < ay) != negative ? -1.0f : 1.0f;
    t = m * 0.785398f + (sign * t + m * 1.5695824e-07f);
    t = ((x != x) | (y != y)) ? NAN : t;
    return copysignf(t, y);
}

//: gg_atan2_f64 < GG_INLINE, gg_bits_f64
/* atan2(y, x) = m pi/4 +- atan(t), t from the smaller and the larger of |x| and |y| as in atan, m a whole number;
 * pi/4 is cut so that m times its first part is exact. C99 (F.9.1.4) at zeros and infinities. Measured: at most
 * 2.28 ulp. Measured: at most 2.28 ulp. */
GG_INLINE double gg_atan2_f64(double y, double x)
{
    double ax = fabs(x), ay = fabs(y);
    double scale = ((ax > 2.2471164185778949e+307) | (ay > 2.2471164185778949e+307)) ? 0.25 : 1.0;
    double n = (ax < ay ? ax : ay) * scale, d = (ax < ay ? ay : ax) * scale, m, sign, t, z, p = -0.01790878342619539;
    int near = (n > 0.41421356237309503 * d) | ((n == d) & (d > 0.0));
    int negative = (gg_bits_f64(x) & UINT64_C(0x8000000000000000)) != 0u;
    t = (near ? n - d : n) / (near ? n + d : d);
    t = ((n == d) | (d == 0.0)) ? 0.0 : t; /* also 0/0 and infinity/infinity */
    z = t * t;
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
    t = t + t * z * p;
    m = near ? 1.0 : 0.0;
    m = ax < ay ? 2.0 - m : m;
    m = negative ? 4.0 - m : m;
    sign = (ax < ay) != negative ? -1.0 : 1.0;
    t = m * 0.7853981633974483 + (sign * t + m * 3.061616997868383e-17);
    t = ((x != x) | (y != y)) ? (double)NAN : t;
    return copysign(t, y);
}

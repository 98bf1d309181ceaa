//: gg_expm1_near_f64 < GG_INLINE
/* e^x - 1 = 2^n (e^r - 1) + (2^n - 1), reduced as in exp; e^r - 1 by a minimax polynomial of degree 12 (relative
 * error 2^-61). Half the result is formed and doubled, so that n = 1024 does not overflow early. Measured: at most
 * 1.81 ulp. */
/* e^r - 1 for |r| <= ln(2)/2. */
GG_INLINE double gg_expm1_near_f64(double r)
{
    double p = 2.089000466220646e-09;
    p = p * r + 2.510931505787903e-08;
    p = p * r + 2.755735180616789e-07;
    p = p * r + 2.7557243473119208e-06;
    p = p * r + 2.48015872382285e-05;
    p = p * r + 0.00019841269886793528;
    p = p * r + 0.0013888888888923681;
    p = p * r + 0.008333333333321393;
    p = p * r + 0.04166666666666661;
    p = p * r + 0.16666666666666677;
    p = p * r + 0.5;
    return r + r * r * p;
}

//: gg_expm1_f32 < GG_INLINE, gg_from_bits_f32, gg_bits_f32
/* e^x - 1 = 2^n (e^r - 1) + (2^n - 1), reduced as in exp; e^r - 1 by a minimax polynomial of degree 7 (relative
 * error 2^-31). Half the result is formed and doubled, so that n = 128 does not overflow early. Measured: at most
 * 1.44 ulp. Measured: at most 1.44 ulp. */
GG_INLINE float gg_expm1_f32(float x)
{
    float low = x < -20.0f ? -20.0f : x;
    float c = low > 89.0f ? 89.0f : low;
    float shifted = c * 1.44269504f + 12582912.0f;
    float n = shifted - 12582912.0f;
    float r = (c - n * 0.693359375f) - n * -0.000212194442f;
    float t = gg_from_bits_f32((gg_bits_f32(shifted) - 0x4b400000u + 126u) << 23); /* 2^(n-1) */
    float p = 0.00019743729f, y;
    p = p * r + 0.0013933744f;
    p = p * r + 0.008333567f;
    p = p * r + 0.041666478f;
    p = p * r + 0.16666666f;
    p = p * r + 0.5f;
    y = (t * (r + r * r * p) + (t - 0.5f)) * 2.0f;
    return fabsf(x) < 2.98023224e-8f ? x : y;
}

//: gg_expm1_f64 < GG_INLINE, gg_from_bits_f64, gg_bits_f64, gg_expm1_near_f64
GG_INLINE double gg_expm1_f64(double x)
{
    double low = x < -40.0 ? -40.0 : x;
    double c = low > 710.0 ? 710.0 : low;
    double shifted = c * 1.4426950408889634 + 6755399441055744.0;
    double n = shifted - 6755399441055744.0;
    double r = (c - n * 0.69314718036912381649017333984375) - n * 1.9082149292705877e-10;
    double t = gg_from_bits_f64((gg_bits_f64(shifted) - UINT64_C(0x4338000000000000) + 1022u) << 52); /* 2^(n-1) */
    double y = (t * gg_expm1_near_f64(r) + (t - 0.5)) * 2.0;
    return fabs(x) < 5.551115123125783e-17 ? x : y;
}

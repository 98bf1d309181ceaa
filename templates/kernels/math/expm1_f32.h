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

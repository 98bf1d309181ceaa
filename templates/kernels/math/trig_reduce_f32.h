/* |x| = (q + y) pi/2 with |y| <= 1/2, for every finite x: Payne & Hanek's reduction (1983) in integers. For |x| >=
 * 1/2, |x| = m 2^(8k - 24) with an integer m < 2^31; word0..word2 at k are 2^(8k - 24) 2/pi modulo 4, to 94 bits
 * after the point, and the 62 bits after the point of their product with m are exact to 2^-61. Returned: q, and y
 * pi/2 as hi + lo. */
typedef struct {
    float hi, lo;
    uint32_t q;
} gg_angle_f32;

GG_INLINE gg_angle_f32 gg_trig_reduce_f32(float x)
{
    float a = fabsf(x);
#ifdef __AVX2__
    /* gathering from a table costs more than choosing among constants and shifting */
    uint32_t above = (gg_bits_f32(a) >> 23) - 127u, below = above >> 31, t = above & (below - 1u), by = t & 31u;
    float v = gg_from_bits_f32((gg_bits_f32(a) & 0x007fffffu) | ((151u - below) << 23));
    uint32_t u0 = (t & 64u) != 0u ? 0x91054a7fu : 0x00000028u;
    uint32_t u1 = (t & 64u) != 0u ? 0x09d5f47du : 0xbe60db93u;
    uint32_t u2 = (t & 64u) != 0u ? 0x4d377036u : 0x91054a7fu;
    uint32_t u3 = (t & 64u) != 0u ? 0xd8a5664fu : 0x09d5f47du;
    uint32_t u4 = (t & 64u) != 0u ? 0x10e4107fu : 0x4d377036u;
    uint32_t v0 = (t & 32u) != 0u ? u1 : u0;
    uint32_t v1 = (t & 32u) != 0u ? u2 : u1;
    uint32_t v2 = (t & 32u) != 0u ? u3 : u2;
    uint32_t v3 = (t & 32u) != 0u ? u4 : u3;
    uint32_t w0 = (v0 << by) | ((v1 >> 1) >> (31u - by));
    uint32_t w1 = (v1 << by) | ((v2 >> 1) >> (31u - by));
    uint32_t w2 = (v2 << by) | ((v3 >> 1) >> (31u - by));
#else
    static const uint32_t word0[17] = {
        0x00000028u, 0x000028beu, 0x0028be60u, 0x28be60dbu, 0xbe60db93u, 0x60db9391u, 0xdb939105u, 0x9391054au,
        0x91054a7fu, 0x054a7f09u, 0x4a7f09d5u, 0x7f09d5f4u, 0x09d5f47du, 0xd5f47d4du, 0xf47d4d37u, 0x7d4d3770u,
        0x4d377036u
    };
    static const uint32_t word1[17] = {
        0xbe60db93u, 0x60db9391u, 0xdb939105u, 0x9391054au, 0x91054a7fu, 0x054a7f09u, 0x4a7f09d5u, 0x7f09d5f4u,
        0x09d5f47du, 0xd5f47d4du, 0xf47d4d37u, 0x7d4d3770u, 0x4d377036u, 0x377036d8u, 0x7036d8a5u, 0x36d8a566u,
        0xd8a5664fu
    };
    static const uint32_t word2[17] = {
        0x91054a7fu, 0x054a7f09u, 0x4a7f09d5u, 0x7f09d5f4u, 0x09d5f47du, 0xd5f47d4du, 0xf47d4d37u, 0x7d4d3770u,
        0x4d377036u, 0x377036d8u, 0x7036d8a5u, 0x36d8a566u, 0xd8a5664fu, 0xa5664f10u, 0x664f10e4u, 0x4f10e410u,
        0x10e4107fu
    };
    uint32_t above = (gg_bits_f32(a) >> 23) - 126u, t = above & ((above >> 31) - 1u), k = t >> 3;
    float v = gg_from_bits_f32((gg_bits_f32(a) & 0x007fffffu) | ((150u + (t & 7u)) << 23));
    uint32_t w0 = word0[k], w1 = word1[k], w2 = word2[k];
#endif
    uint32_t m = (uint32_t)(int32_t)v;
    uint64_t turns = ((uint64_t)(m * w0) << 32) + (uint64_t)m * w1 + (((uint64_t)m * w2) >> 32)
        + UINT64_C(0x2000000000000000);
    float top = (float)(int32_t)((turns >> 38) & 0xffffffu) - 8388608.0f;
    float middle = (float)(int32_t)((turns >> 14) & 0xffffffu);
    float bottom = (float)(int32_t)(turns & 0x3fffu);
    gg_pair_f32 s = gg_fast_two_sum_f32(top * 5.96046448e-08f, middle * 3.55271368e-15f);
    gg_pair_f32 y = gg_fast_two_sum_f32(s.hi, s.lo + bottom * 2.16840434e-19f);
    gg_pair_f32 r = gg_two_prod_f32(y.hi, 1.5707964f);
    gg_angle_f32 angle;
    float lo = r.lo + (y.hi * -4.371139e-08f + y.lo * 1.5707964f);
    float hi = a < 0.5f ? a : r.hi;
    angle.hi = a < INFINITY ? hi : NAN;
    angle.lo = a < 0.5f ? 0.0f : lo;
    angle.q = a < 0.5f ? 0u : (uint32_t)(turns >> 62);
    return angle;
}

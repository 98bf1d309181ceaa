//: gg_angle_f32
/* |x| = (q + y) pi/2 with |y| <= 1/2, for every finite x: Payne & Hanek's reduction (1983) in integers. For |x| >=
 * 1/2, |x| = m 2^(8k - 24) with an integer m < 2^31; word0..word2 at k are 2^(8k - 24) 2/pi modulo 4, to 94 bits
 * after the point, and the 62 bits after the point of their product with m are exact to 2^-61. Returned: q, and y
 * pi/2 as hi + lo. */
typedef struct {
    float hi, lo;
    uint32_t q;
} gg_angle_f32;

//: gg_angle_f64
/* |x| = q pi/2 + hi + lo with |hi| <= pi/4, a little more by rounding, for every finite x. */
typedef struct {
    double hi, lo;
    uint64_t q;
} gg_angle_f64;

//: gg_trig_far_f64 < GG_INLINE, gg_angle_f64, gg_bits_f64, gg_from_bits_f64, gg_pair_f64, gg_two_prod_f64, gg_two_sum_f64, gg_fast_two_sum_f64
/* a = 2^32k v, where v is an integer below 2^84 if k > 0; part0 + ... + part3 at k are 2^32k 2/pi modulo 4 to 212
 * bits, so v times them is a 2/pi modulo 4 (Payne & Hanek 1983, in double arithmetic). Whole turns are taken off
 * by adding and subtracting 1.5 * 2^92 and 1.5 * 2^52; products and sums on the way are exact. */
GG_INLINE gg_angle_f64 gg_trig_far_f64(double a)
{
    static const double part0[31] = {
        0.6366197723675814, -1.694273640870821, 1.9849753272621515, 1.9578379245607584, 0.8569730280980947,
        1.2354059373013278, 1.9934294027905102, -0.12994734157915236, 1.7153996364816557, -1.7410000041070035,
        0.02455418790652278, -1.9616459540574243, 0.9926440186547213, 0.6920418289742053, -1.0917631412896922,
        1.1825449776166452, 0.9125433058255776, -1.2954178896674697, 1.2248815431988307, 1.5129886839099682,
        0.6113948551337428, -0.257916913571561, -0.8751130104373971, -0.13272714243868552, -0.06568804118975029,
        -0.648278407886016, -0.5733872169732485, -0.8445581366984021, -0.6903343557802376, -1.381348956968254,
        1.457637475785212
    };
    static const double part1[31] = {
        -3.935735335036497e-17, 1.0852635185510961e-16, -3.1178565966641257e-17, 7.769584704001829e-17,
        3.577510976413712e-18, 5.0950457647316266e-17, 7.468610146763042e-17, 3.158226718119009e-18,
        3.989997103266016e-17, -1.5068331020551784e-17, 1.5716943815562158e-18, -6.783354033487134e-17,
        -1.0467525454342137e-17, -2.8341991027430526e-17, 6.271635464139531e-17, 2.098179600458306e-18,
        -2.421972770216662e-17, 8.638451221074821e-17, -8.388410436886892e-17, -6.302354304316678e-18,
        3.2051665461021856e-18, -7.195152808990792e-21, 8.638007821401913e-19, -6.3235158433261986e-18,
        1.7036400926609164e-18, -1.6525656610109604e-17, 2.3815024694267182e-17, -8.314819587895112e-18,
        3.021983908099415e-17, -7.242896184037602e-17, 2.0558554398611556e-17
    };
    static const double part2[31] = {
        -2.1442872565786008e-33, -5.665244373482231e-33, 6.863064799465887e-34, 3.34906530821634e-33,
        -4.409950693639701e-35, 8.532979878662327e-34, 2.6623537174486554e-33, -1.5729866384287356e-34,
        -2.778971522716871e-33, -4.0090031461978995e-34, -6.677128753021848e-35, 4.257792839986927e-34,
        6.293270923234803e-34, -6.859988001438987e-34, 6.0653663707502085e-33, -3.1428272666860984e-35,
        6.213798655161652e-34, 8.4225269935799e-34, -1.3178845532633915e-33, 1.1435170039797679e-34,
        -7.81940772565019e-35, -3.4279848075403856e-37, -1.4201656791519197e-35, -2.897853492980069e-34,
        7.309546151776133e-36, 1.2032554679689714e-33, -1.6417372469441525e-35, -5.207463049859117e-35,
        1.144635385947028e-33, 1.391760450615745e-33, 4.9571308478526475e-34
    };
    static const double part3[31] = {
        1.6107127853188224e-49, -4.495785048513143e-51, -3.385108475271734e-51, -1.9473147087135764e-49,
        8.125176617421835e-52, 1.6800657131910823e-50, 2.624290316405018e-50, -5.033166681025912e-51,
        1.314003515760171e-49, 2.27415815770192e-50, -3.390363894770571e-51, 2.568817226516546e-50,
        -3.1076181173778906e-50, -1.7186745576996058e-50, -3.3322666471961407e-49, 1.3820409653673834e-51,
        -5.416972084971054e-51, 8.545114584385982e-50, 8.024134531623681e-50, -2.1813463004889347e-51,
        -5.236674178479329e-51, -1.570929526316849e-53, -5.52949567595393e-52, -1.9393449229477956e-51,
        -3.349855763064181e-52, -2.8985615296438144e-50, -2.7204478015414685e-52, 2.7482121952990456e-51,
        2.758975873299845e-50, -5.350359402069822e-50, -1.196861860890493e-51
    };
    uint64_t above = (gg_bits_f64(a) >> 52) - 1075u;
    uint64_t k = (above & ((above >> 63) - 1u)) >> 5; /* 0 below 2^52 */
    double v = gg_from_bits_f64(gg_bits_f64(a) - (k << 57));
    gg_pair_f64 p0 = gg_two_prod_f64(v, part0[k]), p1 = gg_two_prod_f64(v, part1[k]);
    gg_pair_f64 p2 = gg_two_prod_f64(v, part2[k]), b = gg_two_sum_f64(p0.lo, p1.hi), c, d, f, g, y, r;
    double turns = p0.hi + 7427703637421442588672950272.0;
    double whole = p0.hi - (turns - 7427703637421442588672950272.0);
    double q0 = whole + 6755399441055744.0, q1 = b.hi + 6755399441055744.0, q2;
    gg_angle_f64 angle;
    c = gg_two_sum_f64(whole - (q0 - 6755399441055744.0), b.hi - (q1 - 6755399441055744.0));
    q2 = c.hi + 6755399441055744.0;
    d = gg_two_sum_f64(c.hi - (q2 - 6755399441055744.0), b.lo);
    f = gg_two_sum_f64(d.hi, p1.lo);
    g = gg_two_sum_f64(f.hi, p2.hi);
    y = gg_fast_two_sum_f64(g.hi, ((c.lo + d.lo) + (f.lo + g.lo)) + (p2.lo + v * part3[k]));
    r = gg_two_prod_f64(y.hi, 1.5707963267948966);
    angle.hi = a < HUGE_VAL ? r.hi : (double)NAN;
    angle.lo = r.lo + (y.hi * 6.123233995736766e-17 + y.lo * 1.5707963267948966);
    angle.q = gg_bits_f64(q0) + gg_bits_f64(q1) + gg_bits_f64(q2);
    return angle;
}

//: gg_trig_reduce_f32 < GG_INLINE, gg_angle_f32, gg_bits_f32, gg_from_bits_f32, gg_pair_f32, gg_fast_two_sum_f32, gg_two_prod_f32
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

//: gg_trig_reduce_f64 < GG_INLINE, gg_angle_f64, GG_FUSED_F64, gg_pair_f64, gg_two_prod_f64, gg_two_sum_f64, gg_fast_two_sum_f64, gg_bits_f64, gg_trig_far_f64
/* With a fused multiply-add one way serves every argument, and loops vectorise. Without one exact products are
 * dear, and a branch to Cody & Waite's three parts of pi/2 (1980) is faster than vector code. */
GG_INLINE gg_angle_f64 gg_trig_reduce_f64(double x)
{
    double a = fabs(x);
#ifndef GG_FUSED_F64
    if (a < 1073741824.0) {
        double shifted = a * 0.6366197723675814 + 6755399441055744.0, q = shifted - 6755399441055744.0;
        gg_pair_f64 p = gg_two_prod_f64(q, 1.5707963267948966), w = gg_two_prod_f64(q, 6.123233995736766e-17);
        gg_pair_f64 s = gg_two_sum_f64((a - p.hi) - p.lo, -w.hi);
        gg_angle_f64 angle;
        s = gg_fast_two_sum_f64(s.hi, s.lo - (w.lo + q * -1.4973849048591698e-33));
        angle.hi = s.hi;
        angle.lo = s.lo;
        angle.q = gg_bits_f64(shifted);
        return angle;
    }
#endif
    return gg_trig_far_f64(a);
}

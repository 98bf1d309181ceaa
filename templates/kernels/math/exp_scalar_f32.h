/* e^x as in vector code, for code that is not a vector loop: a predicted branch in place of clamps and of scaling in
 * two steps, and the polynomial by Estrin's scheme, which waits less. */
GG_NOINLINE float gg_exp_far_scalar_f32(float x)
{
    return gg_exp_f32(x);
}

GG_INLINE float gg_exp_scalar_f32(float x)
{
    if (fabsf(x) < 87.0f) {
        float shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
        float r = x - n * 0.693359375f, t = n * -0.000212194442f, d = r - t, z = d * d;
        float p = (0.49999997f + d * 0.16666542f) + z * ((0.041667495f + d * 0.008366728f) + z * 0.0013865569f);
        return (1.0f + (r + (z * p - t))) * gg_from_bits_f32((gg_bits_f32(shifted) + 127u) << 23);
    }
    return gg_exp_far_scalar_f32(x);
}

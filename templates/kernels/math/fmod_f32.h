/* x - trunc(x/y) y exactly. A quotient below 2^22 needs one division and an exact product; libm does the rest.
 * (Its call keeps a loop from vectorising.) */
GG_INLINE float gg_fmod_f32(float x, float y)
{
    float a = fabsf(x), b = fabsf(y), q = a / b, r;
    gg_pair_f32 p;
    if ((q < 4194304.0f) & (a < 8.50705917e+37f) & (b < 8.50705917e+37f)) {
        p = gg_two_prod_f32(gg_trunc_f32(q), b);
        r = (a - p.hi) - p.lo;
        return copysignf(r < 0.0f ? r + b : r, x);
    }
    return fmodf(x, y);
}

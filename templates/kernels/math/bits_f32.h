/* The IEEE 754 bits of a float and back: the copy compiles to nothing, and is legal in C and in C++. */
GG_INLINE uint32_t gg_bits_f32(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

GG_INLINE float gg_from_bits_f32(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

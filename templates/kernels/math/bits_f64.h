/* The IEEE 754 bits of a double and back: the copy compiles to nothing, and is legal in C and in C++. */
GG_INLINE uint64_t gg_bits_f64(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

GG_INLINE double gg_from_bits_f64(uint64_t u)
{
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

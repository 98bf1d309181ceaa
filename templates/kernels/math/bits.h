//: gg_bits_{{ s }} < GG_INLINE
/* The IEEE 754 bits of a {{ T }} and back: the copy compiles to nothing, and is legal in C and in C++. */
GG_INLINE {{ U }} gg_bits_{{ s }}({{ T }} x)
{
    {{ U }} u;
    memcpy(&u, &x, sizeof u);
    return u;
}

//: gg_from_bits_{{ s }} < GG_INLINE
GG_INLINE {{ T }} gg_from_bits_{{ s }}({{ U }} u)
{
    {{ T }} x;
    memcpy(&x, &u, sizeof x);
    return x;
}

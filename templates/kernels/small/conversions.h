//: gg_to_i32_{{ s }} < GG_INLINE
/* Towards zero; nan and what does not fit become the smallest integer, as the instruction of x86 has it. */
GG_INLINE int32_t gg_to_i32_{{ s }}({{ T }} x)
{
    return (int32_t)(((x >= -2147483648.0{{ f }}) & (x < 2147483648.0{{ f }})) ? x : -2147483648.0{{ f }});
}

//: gg_to_i64_{{ s }} < GG_INLINE
/* Towards zero; nan and what does not fit become the smallest integer. */
GG_INLINE int64_t gg_to_i64_{{ s }}({{ T }} x)
{
    return (int64_t)(((x >= -9223372036854775808.0{{ f }}) & (x < 9223372036854775808.0{{ f }})) ? x
        : -9223372036854775808.0{{ f }});
}

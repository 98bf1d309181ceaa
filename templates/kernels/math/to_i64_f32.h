/* Towards zero; nan and what does not fit become the smallest integer, as the instruction of x86 has it. */
GG_INLINE int64_t gg_to_i64_f32(float x)
{
    return (int64_t)(((x >= -9223372036854775808.0f) & (x < 9223372036854775808.0f)) ? x : -9223372036854775808.0f);
}

/* Towards zero; nan and what does not fit become the smallest integer, as the instruction of x86 has it. */
GG_INLINE int64_t gg_to_i64_f64(double x)
{
    return (int64_t)(((x >= -9223372036854775808.0) & (x < 9223372036854775808.0)) ? x : -9223372036854775808.0);
}

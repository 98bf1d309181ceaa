/* a / b towards zero with its remainder, for every a and b: 0 and 0 for b = 0, and the smallest integer over -1
 * wraps to itself, where the machine's instruction would trap. */
typedef struct {
    int64_t quotient, remainder;
} gg_quotient_i64;

GG_INLINE gg_quotient_i64 gg_divide_i64(int64_t a, int64_t b)
{
    int64_t safe = ((b == 0) | (b == -1)) ? 1 : b;
    gg_quotient_i64 r;
    r.quotient = b == -1 ? (int64_t)((uint64_t)0 - (uint64_t)a) : a / safe;
    r.quotient = b == 0 ? 0 : r.quotient;
    r.remainder = a % safe;
    return r;
}

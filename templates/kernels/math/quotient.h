//: gg_quotient_{{ i }}
/* a / b towards zero with its remainder, for every a and b: 0 and 0 for b = 0, and the smallest integer over -1
 * wraps to itself, where the machine's instruction would trap. */
typedef struct {
    {{ T }} quotient, remainder;
} gg_quotient_{{ i }};

//: gg_divide_{{ i }} < GG_INLINE, gg_quotient_{{ i }}
GG_INLINE gg_quotient_{{ i }} gg_divide_{{ i }}({{ T }} a, {{ T }} b)
{
    {{ T }} safe = ((b == 0) | (b == -1)) ? 1 : b;
    gg_quotient_{{ i }} r;
    r.quotient = b == -1 ? ({{ T }})(({{ U }})0 - ({{ U }})a) : a / safe;
    r.quotient = b == 0 ? 0 : r.quotient;
    r.remainder = a % safe;
    return r;
}

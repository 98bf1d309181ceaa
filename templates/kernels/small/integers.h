//= bits: 32 | 64
//= last: 31 | 63
//: gg_add_{{ i }}
static inline {{ T }} gg_add_{{ i }}({{ T }} a, {{ T }} b)
{
    return ({{ T }})(({{ U }})a + ({{ U }})b);
}

//: gg_sub_{{ i }}
static inline {{ T }} gg_sub_{{ i }}({{ T }} a, {{ T }} b)
{
    return ({{ T }})(({{ U }})a - ({{ U }})b);
}

//: gg_mul_{{ i }}
static inline {{ T }} gg_mul_{{ i }}({{ T }} a, {{ T }} b)
{
    return ({{ T }})(({{ U }})a * ({{ U }})b);
}

//: gg_bit_and_{{ i }}
static inline {{ T }} gg_bit_and_{{ i }}({{ T }} a, {{ T }} b)
{
    return ({{ T }})(a & b);
}

//: gg_bit_or_{{ i }}
static inline {{ T }} gg_bit_or_{{ i }}({{ T }} a, {{ T }} b)
{
    return ({{ T }})(a | b);
}

//: gg_bit_xor_{{ i }}
static inline {{ T }} gg_bit_xor_{{ i }}({{ T }} a, {{ T }} b)
{
    return ({{ T }})(a ^ b);
}

//: gg_neg_{{ i }}
static inline {{ T }} gg_neg_{{ i }}({{ T }} a)
{
    return ({{ T }})(0u - ({{ U }})a);
}

//: gg_abs_{{ i }}
static inline {{ T }} gg_abs_{{ i }}({{ T }} a)
{
    return a < 0 ? ({{ T }})(0u - ({{ U }})a) : a;
}

//: gg_maximum_{{ i }}
static inline {{ T }} gg_maximum_{{ i }}({{ T }} a, {{ T }} b)
{
    return a > b ? a : b;
}

//: gg_minimum_{{ i }}
static inline {{ T }} gg_minimum_{{ i }}({{ T }} a, {{ T }} b)
{
    return a < b ? a : b;
}

//: gg_fmax_{{ i }}
static inline {{ T }} gg_fmax_{{ i }}({{ T }} a, {{ T }} b)
{
    return a > b ? a : b;
}

//: gg_fmin_{{ i }}
static inline {{ T }} gg_fmin_{{ i }}({{ T }} a, {{ T }} b)
{
    return a < b ? a : b;
}

//: gg_shift_left_{{ i }}
static inline {{ T }} gg_shift_left_{{ i }}({{ T }} a, {{ T }} b)
{
    return b < 0 || b >= {{ bits }} ? 0 : ({{ T }})(({{ U }})a << b);
}

//: gg_shift_right_{{ i }}
static inline {{ T }} gg_shift_right_{{ i }}({{ T }} a, {{ T }} b)
{
    const {{ T }} n = b < 0 || b > {{ last }} ? {{ last }} : b;
    return ({{ T }})(a < 0 ? ~(~a >> n) : a >> n);
}

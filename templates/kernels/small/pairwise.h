//: gg_pairwise_{{ s }}
/* Pairwise summation: level[b] is a sum of 2^b terms where bit b of the count is set. */
typedef struct {
    uint64_t count;
    {{ T }} level[64];
} gg_pairwise_{{ s }};

//: gg_pairwise_{{ s }}_add < gg_pairwise_{{ s }}
static inline void gg_pairwise_{{ s }}_add(gg_pairwise_{{ s }} *s, {{ T }} x)
{
    int b = 0;
    for (uint64_t count = s->count++; (count & 1u) != 0u; count >>= 1) x += s->level[b++];
    s->level[b] = x;
}

//: gg_pairwise_{{ s }}_total < gg_pairwise_{{ s }}
static inline {{ T }} gg_pairwise_{{ s }}_total(const gg_pairwise_{{ s }} *s)
{
    {{ T }} x = 0.0{{ f }};
    for (int b = 0; b < 64; ++b) {
        if ((s->count >> b & 1u) != 0u) x += s->level[b];
    }
    return x;
}

//: gg_cascade_{{ s }}
/* A sum in three levels, for machines with little memory: 64 terms are one of the next level. */
typedef struct {
    unsigned count;
    {{ T }} level[3];
} gg_cascade_{{ s }};

//: gg_cascade_{{ s }}_add < gg_cascade_{{ s }}
static inline void gg_cascade_{{ s }}_add(gg_cascade_{{ s }} *s, {{ T }} x)
{
    s->level[0] += x;
    if ((++s->count & 63u) == 0u) {
        s->level[1] += s->level[0];
        s->level[0] = 0.0{{ f }};
        if ((s->count & 4095u) == 0u) {
            s->level[2] += s->level[1];
            s->level[1] = 0.0{{ f }};
        }
    }
}

//: gg_cascade_{{ s }}_total < gg_cascade_{{ s }}
static inline {{ T }} gg_cascade_{{ s }}_total(const gg_cascade_{{ s }} *s)
{
    return s->level[2] + (s->level[1] + s->level[0]);
}

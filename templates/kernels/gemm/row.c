//: gg_sum_{{ s }}, gg_part_{{ s }}, gg_row_block_{{ s }}, gg_row_times_{{ s }}, GG_VL, GG_LOAD, GG_STORE, GG_SUMS, GG_ZERO, GG_STEP, GG_REST, GG_WRITE < GG_VECTOR_BYTES, GG_ALWAYS_INLINE, GG_KERNEL
/* Vectors of {{ T }} along the result of a matrix times a vector: in a register, and in memory. */
#ifdef GG_VECTOR_BYTES
typedef {{ T }} gg_sum_{{ s }} __attribute__((vector_size(GG_VECTOR_BYTES)));
typedef {{ T }} gg_part_{{ s }} __attribute__((vector_size(GG_VECTOR_BYTES), aligned({{ size }}), may_alias));
#else
typedef {{ T }} gg_sum_{{ s }}, gg_part_{{ s }};
#endif
#define GG_VL ((ptrdiff_t)(sizeof(gg_sum_{{ s }}) / sizeof({{ T }})))
#define GG_LOAD(p) (*(const gg_part_{{ s }} *)(p))
#define GG_STORE(p, v) (*(gg_part_{{ s }} *)(p) = (v))

/* c[j] = or (add) += sum_p x[p] b[p,j] for so many vectors of c.  vectors is a literal where it is called.  Sum i is of
 * vector i % vectors and of every term whose number modulo chains is i / vectors: eight sums hide the latency of one. */
#define GG_SUMS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define GG_ZERO(i) gg_sum_{{ s }} s##i = zero;
#define GG_STEP(i) s##i += GG_LOAD(b + i / vectors * bs_k + i % vectors * GG_VL) * x[i / vectors];
#define GG_REST(i) if (i < vectors) s##i += GG_LOAD(b + i * GG_VL) * x[0];
#define GG_WRITE(i, sum) \
    if (i < vectors) { \
        gg_sum_{{ s }} v = sum; \
        if (add) v += GG_LOAD(c + i * GG_VL); \
        GG_STORE(c + i * GG_VL, v); \
    }
GG_ALWAYS_INLINE void gg_row_block_{{ s }}(const int vectors, ptrdiff_t k, const {{ T }} *x, const {{ T }} *b, ptrdiff_t bs_k,
    {{ T }} *c, int add)
{
    const int chains = 8 / vectors;
    gg_sum_{{ s }} zero;
    memset(&zero, 0, sizeof zero);
    {
        GG_SUMS(GG_ZERO)
        for (; k >= chains; k -= chains, x += chains, b += chains * bs_k) { GG_SUMS(GG_STEP) }
        for (; k > 0; --k, ++x, b += bs_k) { GG_SUMS(GG_REST) }
        if (vectors == 1) s0 = ((s0 + s1) + (s2 + s3)) + ((s4 + s5) + (s6 + s7));
        if (vectors == 2) { s0 = (s0 + s2) + (s4 + s6); s1 = (s1 + s3) + (s5 + s7); }
        if (vectors == 4) { s0 += s4; s1 += s5; s2 += s6; s3 += s7; }
        GG_WRITE(0, s0) GG_WRITE(1, s1) GG_WRITE(2, s2) GG_WRITE(3, s3)
        GG_WRITE(4, s4) GG_WRITE(5, s5) GG_WRITE(6, s6) GG_WRITE(7, s7)
    }
}

/* A vector times a matrix, c[j] = or (add) += sum_p x[p] b[p,j] for j < n, p < k: x, c and the rows of b contiguous, n a
 * whole number of vectors of 64 bytes. */
GG_KERNEL void gg_row_times_{{ s }}(ptrdiff_t n, ptrdiff_t k, const {{ T }} *x, const {{ T }} *b, ptrdiff_t bs_k,
    {{ T }} *c, int add)
{
    for (; n >= 8 * GG_VL; n -= 8 * GG_VL, b += 8 * GG_VL, c += 8 * GG_VL) gg_row_block_{{ s }}(8, k, x, b, bs_k, c, add);
    if (n >= 4 * GG_VL) {
        gg_row_block_{{ s }}(4, k, x, b, bs_k, c, add);
        n -= 4 * GG_VL, b += 4 * GG_VL, c += 4 * GG_VL;
    }
    if (n >= 2 * GG_VL) {
        gg_row_block_{{ s }}(2, k, x, b, bs_k, c, add);
        n -= 2 * GG_VL, b += 2 * GG_VL, c += 2 * GG_VL;
    }
    if (n >= GG_VL) gg_row_block_{{ s }}(1, k, x, b, bs_k, c, add);
}
#undef GG_VL
#undef GG_LOAD
#undef GG_STORE
#undef GG_SUMS
#undef GG_ZERO
#undef GG_STEP
#undef GG_REST
#undef GG_WRITE

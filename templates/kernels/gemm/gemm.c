//: gg_vec_{{ s }}, gg_mem_{{ s }}, gg_quad_{{ s }}, gg_tile_{{ s }}, gg_tiles_{{ s }}, gg_pack_{{ s }}, gg_row_{{ s }}, gg_outer_{{ s }}, gg_dots_{{ s }}, gg_block_{{ s }}, gg_gemm_{{ s }}, GG_VL, GG_QL, GG_LOAD, GG_LOADQ, GG_STORE, GG_STOREQ, GG_ROWS, GG_ZERO, GG_STEP, GG_WRITE, GG_TILE, GG_MIX < GG_VECTOR_BYTES, GG_ALWAYS_INLINE, GG_KERNEL, GG_TILE_ROWS, GG_PREFETCH
/* Vectors of {{ T }}: in a register (vec), in memory with the alignment of one element (mem), and of 16 bytes (quad). */
#ifdef GG_VECTOR_BYTES
typedef {{ T }} gg_vec_{{ s }} __attribute__((vector_size(GG_VECTOR_BYTES)));
typedef {{ T }} gg_mem_{{ s }} __attribute__((vector_size(GG_VECTOR_BYTES), aligned({{ size }}), may_alias));
typedef {{ T }} gg_quad_{{ s }} __attribute__((vector_size(16), aligned({{ size }}), may_alias));
#else
typedef {{ T }} gg_vec_{{ s }}, gg_mem_{{ s }}, gg_quad_{{ s }};
#endif
#define GG_VL ((ptrdiff_t)(sizeof(gg_vec_{{ s }}) / sizeof({{ T }})))
#define GG_QL ((ptrdiff_t)(sizeof(gg_quad_{{ s }}) / sizeof({{ T }})))
#define GG_LOAD(p) (*(const gg_mem_{{ s }} *)(p))
#define GG_LOADQ(p) (*(const gg_quad_{{ s }} *)(p))
#define GG_STORE(p, v) (*(gg_mem_{{ s }} *)(p) = (v))
#define GG_STOREQ(p, v) (*(gg_quad_{{ s }} *)(p) = (v))

/* One register tile, c[i,j] = or += sum_p a[i,p] b[p,j]; row i is the vectors l<i> and r<i>.  rows and vectors are
 * literals where it is called: the compiler drops the other rows and keeps the sums in registers. */
#define GG_ROWS(X) \
    X(0, a0[0]) X(1, a0[as_m]) X(2, a0[2 * as_m]) X(3, a3[0]) X(4, a3[as_m]) X(5, a3[2 * as_m]) \
    X(6, a6[0]) X(7, a6[as_m]) X(8, a6[2 * as_m]) X(9, a9[0]) X(10, a9[as_m]) X(11, a9[2 * as_m])
#define GG_ZERO(i, a_i) gg_vec_{{ s }} l##i = zero, r##i = zero;
#define GG_STEP(i, a_i) if (rows > i) { const {{ T }} x = a_i; l##i += b0 * x; if (vectors > 1) r##i += b1 * x; }
#define GG_WRITE(i, a_i) \
    if (rows > i) { \
        {{ T }} *const ci = c + i * cs_m; \
        if (add) { l##i += GG_LOAD(ci); if (vectors > 1) r##i += GG_LOAD(ci + GG_VL); } \
        GG_STORE(ci, l##i); if (vectors > 1) GG_STORE(ci + GG_VL, r##i); \
    }
GG_ALWAYS_INLINE void gg_tile_{{ s }}(const int rows, const int vectors, ptrdiff_t k, const {{ T }} *a, ptrdiff_t as_m,
    ptrdiff_t as_k, const {{ T }} *b, ptrdiff_t bs_k, {{ T }} *c, ptrdiff_t cs_m, int add)
{
    const {{ T }} *a0 = a, *a3 = rows > 3 ? a + 3 * as_m : a;
    const {{ T }} *a6 = rows > 6 ? a + 6 * as_m : a, *a9 = rows > 9 ? a + 9 * as_m : a;
    gg_vec_{{ s }} zero;
    memset(&zero, 0, sizeof zero);
    {
        GG_ROWS(GG_ZERO)
        for (; k > 0; --k) {
            const gg_vec_{{ s }} b0 = GG_LOAD(b), b1 = GG_LOAD(vectors > 1 ? b + GG_VL : b);
            GG_ROWS(GG_STEP)
            a0 += as_k; a3 += as_k; a6 += as_k; a9 += as_k; b += bs_k;
        }
        GG_ROWS(GG_WRITE)
    }
}

/* The largest tile of at most `rows` rows; returns its rows. */
#define GG_TILE(h) \
    if (rows >= h) { \
        if (wide) gg_tile_{{ s }}(h, 2, k, a, as_m, as_k, b, bs_k, c, cs_m, add); \
        else gg_tile_{{ s }}(h, 1, k, a, as_m, as_k, b, bs_k, c, cs_m, add); \
        return h; \
    }
GG_KERNEL ptrdiff_t gg_tiles_{{ s }}(ptrdiff_t rows, int wide, ptrdiff_t k, const {{ T }} *a, ptrdiff_t as_m, ptrdiff_t as_k,
    const {{ T }} *b, ptrdiff_t bs_k, {{ T }} *c, ptrdiff_t cs_m, int add)
{
    GG_TILE(GG_TILE_ROWS) GG_TILE(4) GG_TILE(2) GG_TILE(1)
    return 1;
}

/* Packing: to[p * width + l] = from[l,p] for l < lanes, zero up to width. */
GG_KERNEL void gg_pack_{{ s }}(ptrdiff_t width, ptrdiff_t lanes, ptrdiff_t k, const {{ T }} *from, ptrdiff_t s_l,
    ptrdiff_t s_k, {{ T }} *to)
{
    ptrdiff_t p, l, done_l = 0, done_k = 0; /* the rest goes one by one */
    if (s_l == 1) {
        done_l = lanes;
        done_k = k;
        for (p = 0; p < k; ++p) {
            const {{ T }} *f = from + p * s_k;
            {{ T }} *t = to + p * width;
            for (l = 0; l + GG_VL <= lanes; l += GG_VL) GG_STORE(t + l, GG_LOAD(f + l));
            for (; l + GG_QL <= lanes; l += GG_QL) GG_STOREQ(t + l, GG_LOADQ(f + l));
            for (; l < lanes; ++l) t[l] = f[l];
        }
    }
#if defined(GG_VECTOR_BYTES) && (defined(__clang__) || __GNUC__ >= 12)
#define GG_MIX __builtin_shufflevector
    else if (s_k == 1) { /* squares of quads, transposed in registers */
        done_l = lanes - lanes % GG_QL;
        done_k = k - k % GG_QL;
        for (l = 0; l < done_l; l += GG_QL)
            for (p = 0; p < done_k; p += GG_QL) {
                const {{ T }} *f = from + l * s_l + p;
                {{ T }} *t = to + p * width + l;
                const gg_quad_{{ s }} a = GG_LOADQ(f), b = GG_LOADQ(f + s_l);
{% if size == "4" %}
                const gg_quad_{{ s }} c = GG_LOADQ(f + 2 * s_l), d = GG_LOADQ(f + 3 * s_l);
                const gg_quad_{{ s }} ab = GG_MIX(a, b, 0, 4, 1, 5), cd = GG_MIX(c, d, 0, 4, 1, 5);
                const gg_quad_{{ s }} ef = GG_MIX(a, b, 2, 6, 3, 7), gh = GG_MIX(c, d, 2, 6, 3, 7);
                GG_STOREQ(t, GG_MIX(ab, cd, 0, 1, 4, 5));
                GG_STOREQ(t + width, GG_MIX(ab, cd, 2, 3, 6, 7));
                GG_STOREQ(t + 2 * width, GG_MIX(ef, gh, 0, 1, 4, 5));
                GG_STOREQ(t + 3 * width, GG_MIX(ef, gh, 2, 3, 6, 7));
{% else %}
                GG_STOREQ(t, GG_MIX(a, b, 0, 2));
                GG_STOREQ(t + width, GG_MIX(a, b, 1, 3));
{% endif %}
            }
    }
#undef GG_MIX
#endif
    for (l = 0; l < width; ++l)
        for (p = l < done_l ? done_k : 0; p < k; ++p) to[p * width + l] = l < lanes ? from[l * s_l + p * s_k] : 0;
}

/* One row, c[j] = or += sum_p a[p] b[p,j], rows of b contiguous: four of them at a time onto a block of sums. */
GG_KERNEL void gg_row_{{ s }}(ptrdiff_t n, ptrdiff_t k, const {{ T }} *a, ptrdiff_t as_k, const {{ T }} *b, ptrdiff_t bs_k,
    {{ T }} *c, ptrdiff_t cs_n, int add)
{
    {{ T }} sums[32 * sizeof(gg_vec_{{ s }}) / sizeof({{ T }})];
    ptrdiff_t p, j, w;
    for (; n > 0; n -= w, b += w, c += w * cs_n) {
        w = n < 32 * GG_VL ? n : 32 * GG_VL;
        for (j = 0; j < w; ++j) sums[j] = 0;
        for (p = 0; p + 4 <= k; p += 4) {
            const {{ T }} x0 = a[p * as_k], x1 = a[(p + 1) * as_k], x2 = a[(p + 2) * as_k], x3 = a[(p + 3) * as_k];
            const {{ T }} *b0 = b + p * bs_k, *b1 = b0 + bs_k, *b2 = b1 + bs_k, *b3 = b2 + bs_k;
            for (j = 0; j + GG_VL <= w; j += GG_VL)
                GG_STORE(sums + j, GG_LOAD(sums + j) + ((GG_LOAD(b0 + j) * x0 + GG_LOAD(b1 + j) * x1)
                    + (GG_LOAD(b2 + j) * x2 + GG_LOAD(b3 + j) * x3)));
            for (; j < w; ++j) sums[j] += (b0[j] * x0 + b1[j] * x1) + (b2[j] * x2 + b3[j] * x3);
        }
        for (; p < k; ++p)
            for (j = 0; j < w; ++j) sums[j] += b[p * bs_k + j] * a[p * as_k];
        for (j = 0; j < w; ++j) c[j * cs_n] = add ? c[j * cs_n] + sums[j] : sums[j];
    }
}

/* Outer product, c[i,j] = or += a[i] b[j], rows of c contiguous. */
GG_KERNEL void gg_outer_{{ s }}(ptrdiff_t m, ptrdiff_t n, const {{ T }} *a, ptrdiff_t as_m, const {{ T }} *b, {{ T }} *c,
    ptrdiff_t cs_m, int add)
{
    ptrdiff_t j;
    for (; m > 0; --m, a += as_m, c += cs_m) {
        for (j = 0; j + GG_VL <= n; j += GG_VL) {
            gg_vec_{{ s }} v = GG_LOAD(b + j) * *a;
            if (add) v += GG_LOAD(c + j);
            GG_STORE(c + j, v);
        }
        for (; j < n; ++j) c[j] = add ? c[j] + b[j] * *a : b[j] * *a;
    }
}

/* c[i,j] = or += sum_p a[i,p] b[p,j], rows of a and columns of b contiguous: four dot products at a time. */
GG_KERNEL void gg_dots_{{ s }}(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const {{ T }} *a, ptrdiff_t as_m, const {{ T }} *b,
    ptrdiff_t bs_n, {{ T }} *c, ptrdiff_t cs_m, ptrdiff_t cs_n, int add)
{
    ptrdiff_t i, j, l, p, q;
    for (j = 0; j < n; j += 4)
        for (i = 0; i < m; ++i) {
            const {{ T }} *x = a + i * as_m, *y0 = b + j * bs_n, *y1 = n - j > 1 ? y0 + bs_n : y0;
            const {{ T }} *y2 = n - j > 2 ? y1 + bs_n : y0, *y3 = n - j > 3 ? y2 + bs_n : y0;
            {{ T }} sums[4 * sizeof(gg_vec_{{ s }}) / sizeof({{ T }})];
            gg_vec_{{ s }} s0, s1, s2, s3;
            memset(&s0, 0, sizeof s0);
            s1 = s2 = s3 = s0;
            for (p = 0; p + GG_VL <= k; p += GG_VL) {
                const gg_vec_{{ s }} v = GG_LOAD(x + p);
                s0 += v * GG_LOAD(y0 + p);
                s1 += v * GG_LOAD(y1 + p);
                s2 += v * GG_LOAD(y2 + p);
                s3 += v * GG_LOAD(y3 + p);
            }
            GG_STORE(sums, s0);
            GG_STORE(sums + GG_VL, s1);
            GG_STORE(sums + 2 * GG_VL, s2);
            GG_STORE(sums + 3 * GG_VL, s3);
            for (l = 0; l < 4 && l < n - j; ++l) {
                {{ T }} *const to = c + i * cs_m + (j + l) * cs_n, *const t = sums + l * GG_VL, rest = 0;
                for (q = p; q < k; ++q) rest += x[q] * y0[l * bs_n + q];
                for (q = GG_QL; q < GG_VL; q += GG_QL) GG_STOREQ(t, GG_LOADQ(t) + GG_LOADQ(t + q));
                for (q = 0; q < GG_QL; ++q) rest += t[q];
                *to = add ? *to + rest : rest;
            }
        }
}

/* One block, m and k small enough for its packed a to stay in cache; a_room is NULL where a is read in place. */
static void gg_block_{{ s }}(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const {{ T }} *a, ptrdiff_t as_m, ptrdiff_t as_k,
    const {{ T }} *b, ptrdiff_t bs_k, ptrdiff_t bs_n, {{ T }} *c, ptrdiff_t cs_m, ptrdiff_t cs_n, int add, int pack_b,
    {{ T }} *b_room, {{ T }} *a_room)
{
    const ptrdiff_t mr = GG_TILE_ROWS, nr = 2 * GG_VL;
    {{ T }} edge[GG_TILE_ROWS * 2 * sizeof(gg_vec_{{ s }}) / sizeof({{ T }})];
    ptrdiff_t i, j, l, r, h;
    if (a_room)
        for (i = 0; i < m; i += mr)
            gg_pack_{{ s }}(mr, m - i < mr ? m - i : mr, k, a + i * as_m, as_m, as_k, a_room + i * k);
    for (j = 0; j < n; j += nr) {
        const ptrdiff_t w = n - j < nr ? n - j : nr, width = w > GG_VL ? nr : GG_VL;
        const int copy_b = pack_b || w < width, direct = w == width && cs_n == 1;
        if (copy_b) gg_pack_{{ s }}(width, w, k, b + j * bs_n, bs_n, bs_k, b_room);
        for (i = 0; i < m; i += h) {
            {{ T }} *const to = c + i * cs_m + j * cs_n;
            if (a_room)
                for (r = 0; r < mr && i + r < m; ++r) {
                    GG_PREFETCH(to + r * cs_m);
                    GG_PREFETCH(to + r * cs_m + GG_VL);
                }
            h = gg_tiles_{{ s }}(m - i, width == nr, k, a_room ? a_room + (i - i % mr) * k + i % mr : a + i * as_m,
                a_room ? 1 : as_m, a_room ? mr : as_k, copy_b ? b_room : b + j, copy_b ? width : bs_k,
                direct ? to : edge, direct ? cs_m : width, direct && add);
            for (r = 0; r < h && !direct; ++r)
                for (l = 0; l < w; ++l) {
                    {{ T }} *const t = to + r * cs_m + l * cs_n;
                    *t = add ? *t + edge[r * width + l] : edge[r * width + l];
                }
        }
    }
}

/*
 * c[i,j] = or (add) += sum_p a[i,p] b[p,j] for i < m, j < n, p < k; every operand has two strides, counted in elements.
 * The sum runs in blocks of at most {{ depth }} terms, each added to c when complete, and in these over blocks of {{ rows }} rows.
 * (Goto & van de Geijn, Anatomy of High-Performance Matrix Multiplication, ACM TOMS 34(3), 2008.)  work: room to pack.
 */
static void gg_gemm_{{ s }}(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const {{ T }} *a, ptrdiff_t as_m, ptrdiff_t as_k,
    const {{ T }} *b, ptrdiff_t bs_k, ptrdiff_t bs_n, {{ T }} *c, ptrdiff_t cs_m, ptrdiff_t cs_n, int add, void *work)
{
    const ptrdiff_t few = k < 32 ? 1 : k < 256 ? 4 : 12;
    const int dotted = as_k == 1 && bs_k == 1;
    {{ T }} *const room = ({{ T }} *)work;
    ptrdiff_t i, p, t, kc, mc;
    int row, dots, pack_a, pack_b;
    if (m <= 0 || n <= 0 || (k <= 0 && add)) return;
    /* Vectors run along n: where m is the contiguous or the longer side, compute the transpose c' = b' a'. */
    if (n == 1 || (m > 1 && cs_m == 1 && cs_n != 1) || (n < m && ((as_m == 1 && n < GG_VL) || (dotted && n <= few)))) {
        const {{ T }} *const swap = a;
        a = b; b = swap;
        t = m; m = n; n = t;
        t = as_m; as_m = bs_n; bs_n = t;
        t = as_k; as_k = bs_k; bs_k = t;
        t = cs_m; cs_m = cs_n; cs_n = t;
    }
    if (k == 1 && bs_n == 1 && cs_n == 1) {
        gg_outer_{{ s }}(m, n, a, as_m, b, c, cs_m, add);
        return;
    }
    row = m == 1 && bs_n == 1;
    dots = !row && dotted && m <= few;
    pack_a = n > {{ wide }} && k > {{ short }} && m * k > {{ large }};
    pack_b = bs_n != 1 || (m > {{ many }} && n * k > {{ large }});
    kc = dots ? {{ depth }} * GG_VL : {{ depth }};
    t = (k + kc - 1) / kc;
    kc = t > 1 ? (k + t - 1) / t : k; /* equal blocks */
    /* Where sums are short, c is most of the traffic: go through it by few rows at a time, in order. */
    mc = n <= 256 || k > (pack_b ? 8 : {{ short }}) ? {{ rows }} : pack_b ? 2 * GG_TILE_ROWS : GG_TILE_ROWS;
    p = 0;
    do { /* at least once: an empty sum is 0 */
        const ptrdiff_t kb = k - p < kc ? k - p : kc;
        const {{ T }} *const ap = a + p * as_k, *const bp = b + p * bs_k;
        if (row) gg_row_{{ s }}(n, kb, ap, as_k, bp, bs_k, c, cs_n, add);
        else if (dots) gg_dots_{{ s }}(m, n, kb, ap, as_m, bp, bs_n, c, cs_m, cs_n, add);
        else
            for (i = 0; i < m; i += mc)
                gg_block_{{ s }}(m - i < mc ? m - i : mc, n, kb, ap + i * as_m, as_m, as_k, bp, bs_k, bs_n, c + i * cs_m,
                    cs_m, cs_n, add, pack_b, room, pack_a ? room + kc * 2 * GG_VL : NULL);
        p += kc;
        add = 1;
    } while (p < k);
}
#undef GG_VL
#undef GG_QL
#undef GG_LOAD
#undef GG_LOADQ
#undef GG_STORE
#undef GG_STOREQ
#undef GG_ROWS
#undef GG_ZERO
#undef GG_STEP
#undef GG_WRITE
#undef GG_TILE

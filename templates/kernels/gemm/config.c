//: GG_VECTOR_BYTES, GG_TILE_ROWS, GG_KERNEL, GG_ALWAYS_INLINE, GG_PREFETCH
/*
 * Matrix products.  With GCC or Clang on a CPU with SIMD registers the kernels compute in vectors of GG_VECTOR_BYTES;
 * any other compiler, or GRADGEN_NO_VECTOR_EXT, gets the same code with "vectors" of one element.  A register tile is
 * GG_TILE_ROWS rows by two vectors of the result: as many sums as the register file holds.
 */
#if defined(__GNUC__) && !defined(GRADGEN_NO_VECTOR_EXT)
#if defined(__AVX512F__)
#define GG_VECTOR_BYTES 64
#define GG_TILE_ROWS 12
#elif defined(__AVX__)
#define GG_VECTOR_BYTES 32
#elif defined(__aarch64__) || defined(__VSX__)
#define GG_VECTOR_BYTES 16
#define GG_TILE_ROWS 12
#elif defined(__SSE2__) || defined(__wasm_simd128__)
#define GG_VECTOR_BYTES 16
#endif
#endif
#ifndef GG_TILE_ROWS
#define GG_TILE_ROWS 6
#endif
/* Kernels stay functions of their own, one copy each, however many products with literal sizes call them. */
#if defined(__clang__)
#define GG_KERNEL static __attribute__((noinline))
#elif defined(__GNUC__)
#define GG_KERNEL static __attribute__((noinline, noclone))
#else
#define GG_KERNEL static
#endif
#if defined(__GNUC__)
#define GG_ALWAYS_INLINE static inline __attribute__((always_inline))
#define GG_PREFETCH(p) __builtin_prefetch(p, 1)
#else
#define GG_ALWAYS_INLINE static inline
#define GG_PREFETCH(p) ((void)(p))
#endif

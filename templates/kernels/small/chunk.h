//: GG_CHUNK
/* A part of a parallel loop: the same machine code with and without OpenMP. */
#ifndef GG_CHUNK
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 8
#define GG_CHUNK static __attribute__((noipa))
#elif defined(__GNUC__)
#define GG_CHUNK static __attribute__((noinline))
#else
#define GG_CHUNK static
#endif
#endif

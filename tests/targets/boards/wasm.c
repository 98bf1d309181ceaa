/* WebAssembly under WASI; the clock is the fuel that the runtime has burnt: one unit an instruction. */
#define BOARD_SOURCE
#include "board.h"

__attribute__((import_module("board"), import_name("clock"))) uint32_t burnt(void);

uint32_t board_clock(void)
{
    return burnt();
}

void board_begin(void)
{
}

void board_end(void)
{
}

/* main on every machine: runs the program and says what it returned, which not every emulator passes on. */
#define BOARD_SOURCE
#include "board.h"

#include <stdio.h>

int main(void)
{
    board_begin();
    const int status = program_main();
    printf("exit %d\n", status);
    board_end();
    return status;
}

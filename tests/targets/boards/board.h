/* What a program of these tests is given on every machine.  Its own main is called by the board's. */
#ifndef BOARD_H
#define BOARD_H

#include <stdint.h>

int program_main(void);

void board_begin(void);
uint32_t board_clock(void); /* counts up in the machine's unit, modulo 2^32 */
void board_end(void);

#ifndef BOARD_SOURCE
#  define main program_main
#endif
#endif

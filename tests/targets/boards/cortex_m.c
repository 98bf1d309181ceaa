/* MPS2 boards under QEMU: text through semihosting, and a clock that counts instructions.
 * With `-icount shift=6` an instruction takes 64 ns, and the 32-bit timer at 25 MHz counts 8 ticks in 5 instructions: exact. */
#define BOARD_SOURCE
#include "board.h"

#define TIMER_CONTROL (*(volatile uint32_t *)0x40000000)
#define TIMER_VALUE (*(volatile uint32_t *)0x40000004)
#define TIMER_RELOAD (*(volatile uint32_t *)0x40000008)
#define CPACR (*(volatile uint32_t *)0xE000ED88)

extern uint32_t board_stack[];
void _start(void); /* of the library's start-up for semihosting */
void board_boot(void);
void board_fault(void);

/* Ends the emulator with a status that is none of a program's. */
void board_fault(void)
{
    __asm volatile("movs r0, #0x18\n ldr r1, =0x20023\n bkpt 0xab");
    for (;;) {
    }
}

void board_boot(void)
{
#if defined(__ARM_FP)
    CPACR |= 0xFu << 20;
    __asm volatile("dsb\n isb");
#endif
    _start();
}

__attribute__((section(".vectors"), used)) static void *const vectors[] = {
    board_stack, (void *)board_boot, (void *)board_fault, (void *)board_fault, (void *)board_fault, (void *)board_fault,
    (void *)board_fault,
};

uint32_t board_clock(void)
{
    return (uint32_t)(((uint64_t)(UINT32_MAX - TIMER_VALUE) * 5 + 4) / 8);
}

void board_begin(void)
{
    TIMER_RELOAD = UINT32_MAX;
    TIMER_VALUE = UINT32_MAX;
    TIMER_CONTROL = 1;
}

void board_end(void)
{
}

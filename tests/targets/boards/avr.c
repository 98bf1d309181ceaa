/* ATmega1284P: text through the first UART, and a clock of cycles (timer 1 and its overflows). */
#define BOARD_SOURCE
#include "board.h"

#include <avr/interrupt.h>
#include <avr/io.h>
#include <avr/sleep.h>
#include <stdio.h>

static volatile uint16_t overflows;

ISR(TIMER1_OVF_vect)
{
    overflows++;
}

static int put(char c, FILE *stream)
{
    (void)stream;
    while ((UCSR0A & (1 << UDRE0)) == 0) {
    }
    UDR0 = (uint8_t)c;
    return 0;
}

static FILE console = FDEV_SETUP_STREAM(put, NULL, _FDEV_SETUP_WRITE);

uint32_t board_clock(void)
{
    uint16_t high, low;
    do {
        high = overflows;
        low = TCNT1;
    } while (high != overflows);
    return (uint32_t)high << 16 | low;
}

void board_begin(void)
{
    UBRR0 = 0;
    UCSR0B = 1 << TXEN0;
    stdout = &console;
    TCCR1B = 1;
    TIMSK1 = 1;
    sei();
}

void board_end(void)
{
    cli();
    sleep_mode(); /* with interrupts off: the emulator ends */
}

/* A long search that can be told to stop, as a C library might offer it. */

#include <stdint.h>

/* The longest chain found: its start, and how many steps it takes to 1. */
struct collatz_chain {
    uint64_t start;
    uint64_t steps;
};

/* Looks for the longest Collatz chain among those that start at `from` or above and below `to`, and
 * gives how many starts it has tried. Before each it reads `*stop`, and returns if that is not 0: so it
 * goes on for one chain at most, which is a microsecond.
 *
 * Another thread may write `*stop` meanwhile: it is read atomically. */
uint64_t collatz_longest(uint64_t from, uint64_t to, const uint32_t *stop,
                         struct collatz_chain *longest)
{
    uint64_t start = from;
    for (; start < to && __atomic_load_n(stop, __ATOMIC_ACQUIRE) == 0; start++) {
        uint64_t steps = 0;
        for (uint64_t n = start; n > 1; steps++)
            n = n % 2 == 0 ? n / 2 : 3 * n + 1;
        if (steps > longest->steps || longest->start == 0) {
            longest->start = start;
            longest->steps = steps;
        }
    }
    return start - from;
}

/* Reads a ring to its end: each record must be what the test's writer makes of its number. */
#include <stdio.h>
#include <stdlib.h>

#include "tapeline_ring.h"

int main(int argc, char **argv) {
    struct tapeline_ring ring;
    struct tapeline_record record;
    uint64_t count = 0, lost = 0, last = 0;
    if (argc != 2) return 2;
    if (tapeline_ring_open(&ring, argv[1]) != 0) {
        perror(ring.what);
        return 1;
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        switch (tapeline_ring_next(&ring, &record)) {
        case TAPELINE_NOTHING:
            break;
        case TAPELINE_LOST:
            lost += ring.lost;
            break;
        case TAPELINE_ENDED:
            tapeline_ring_close(&ring);
            printf("%llu read, %llu lost, last %llu\n", (unsigned long long)count,
                   (unsigned long long)lost, (unsigned long long)last);
            return 0;
        case TAPELINE_RECORD: {
            char want[33];
            uint64_t n = record.seq;
            snprintf(want, sizeof want, "260105-%012llu-0003-00-0000", (unsigned long long)n);
            if (n <= last || memcmp(record.order_id, want, 32) != 0 || record.kind != 'D' ||
                record.side != 'S' || record.price_e9 != (int64_t)n * 3 || record.qty != (int64_t)n ||
                record.msg_seq != n || memcmp(record.symbol, "ABC     ", 8) != 0 ||
                record.filled != TAPELINE_NOT_SAID) {
                printf("record %llu behind %llu: %.32s\n", (unsigned long long)n,
                       (unsigned long long)last, record.order_id);
                return 1;
            }
            last = n;
            count++;
            break;
        }
        }
    }
}

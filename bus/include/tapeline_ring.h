/* Orders, and what is said of them, from a ring in shared memory: layout 1.
 *
 *     struct tapeline_ring ring;
 *     if (tapeline_ring_open(&ring, "RUN/orders/shard-0.ring") != 0) { perror(ring.what); return 1; }
 *     struct tapeline_record record;
 *     for (;;) switch (tapeline_ring_next(&ring, &record)) {
 *         case TAPELINE_RECORD:  use(&record);              break;
 *         case TAPELINE_LOST:    note(ring.lost);           break;
 *         case TAPELINE_NOTHING: rest();                    break;
 *         case TAPELINE_ENDED:   tapeline_ring_close(&ring); return 0;
 *     }
 *
 * The writer never waits for a reader. Who is overrun is told how many records it lost, and goes on
 * with the oldest that is there. Needs a compiler with the __atomic builtins (GCC, Clang), and POSIX.
 */
#ifndef TAPELINE_RING_H
#define TAPELINE_RING_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define TAPELINE_RING_LAYOUT 1
/* What stands for a number that was not said. */
#define TAPELINE_NOT_SAID INT64_MIN

enum {
    TAPELINE_MAY_BE_REPEATED = 1, /* it may have been sent before */
    TAPELINE_NAME_CUT = 2         /* the order's name was longer than 32 bytes */
};

struct tapeline_record {
    uint64_t seq;   /* from 1 on, without a gap */
    uint64_t check;
    int64_t sent_ns;  /* SendingTime and TransactTime, since 1970, UTC */
    int64_t event_ns;
    char kind;      /* 'D' order, 'F' cancel, '8' report, '9' cancel reject */
    char side;      /* 'B', 'S', or 0 */
    char exec_type; /* FIX 150 of a report, or 0 */
    char status;    /* FIX 39 of a report, or 0 */
    uint8_t flags;
    char time_in_force; /* FIX 59 of an order, or 0 */
    uint8_t zeros[2];
    int64_t price_e9; /* units of 1e-9 */
    int64_t qty;      /* the symbol's units */
    int64_t last_price_e9;
    int64_t last_qty;
    int64_t filled;
    char symbol[8];    /* padded with spaces */
    char order_id[32]; /* padded with zeros */
    uint64_t msg_seq;
};

_Static_assert(sizeof(struct tapeline_record) == 128, "a record is 128 bytes");

struct tapeline_ring {
    const uint64_t *words;
    size_t bytes;
    uint64_t room;
    uint64_t next; /* the number of the record that is read next */
    uint64_t lost; /* how many were lost, after TAPELINE_LOST */
    const char *what; /* what could not be done, after an error */
};

enum tapeline_next { TAPELINE_NOTHING, TAPELINE_RECORD, TAPELINE_LOST, TAPELINE_ENDED };

/* 0, or -1 with errno and ring->what. Begins with the oldest record that is there. */
static inline int tapeline_ring_open(struct tapeline_ring *ring, const char *path) {
    memset(ring, 0, sizeof *ring);
    ring->what = path;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return -1;
    struct stat about;
    void *map = MAP_FAILED;
    if (fstat(fd, &about) == 0 && about.st_size >= 4096)
        map = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED) return -1;
    const uint64_t *words = (const uint64_t *)map;
    uint64_t magic, room = words[3];
    memcpy(&magic, "TAPERING", sizeof magic);
    if (__atomic_load_n(&words[0], __ATOMIC_ACQUIRE) != magic || words[1] != TAPELINE_RING_LAYOUT ||
        words[2] != sizeof(struct tapeline_record) || words[4] != 4096 || room == 0 ||
        (room & (room - 1)) != 0 || room > ((uint64_t)about.st_size - 4096) / 128) {
        munmap(map, (size_t)about.st_size);
        ring->what = "not a ring of this layout";
        errno = EINVAL;
        return -1;
    }
    uint64_t head = __atomic_load_n(&words[8], __ATOMIC_ACQUIRE);
    ring->words = words;
    ring->bytes = (size_t)about.st_size;
    ring->room = room;
    ring->next = (head > room ? head - room : 0) + 1;
    return 0;
}

static inline void tapeline_ring_close(struct tapeline_ring *ring) {
    if (ring->words) munmap((void *)(uintptr_t)ring->words, ring->bytes);
    ring->words = NULL;
}

static inline enum tapeline_next tapeline_ring_next(struct tapeline_ring *ring,
                                                    struct tapeline_record *record) {
    const uint64_t *words = ring->words;
    uint64_t head = __atomic_load_n(&words[8], __ATOMIC_ACQUIRE);
    if (ring->next > head) {
        if (__atomic_load_n(&words[16], __ATOMIC_ACQUIRE) != 2) return TAPELINE_NOTHING;
        head = __atomic_load_n(&words[8], __ATOMIC_ACQUIRE);
        if (ring->next > head) return TAPELINE_ENDED;
    }
    if (head - ring->next < ring->room) {
        const uint64_t *slot = words + 512 + ((ring->next - 1) & (ring->room - 1)) * 16;
        uint64_t copy[16], check = UINT64_C(0xcbf29ce484222325);
        uint64_t before = __atomic_load_n(&slot[0], __ATOMIC_ACQUIRE);
        for (int i = 0; i < 16; i++) copy[i] = __atomic_load_n(&slot[i], __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        uint64_t after = __atomic_load_n(&slot[0], __ATOMIC_RELAXED);
        for (int i = 0; i < 16; i++)
            if (i != 1) check = (check ^ copy[i]) * UINT64_C(0x100000001b3);
        if (before == ring->next && after == before && copy[0] == before && copy[1] == check) {
            memcpy(record, copy, sizeof *record);
            ring->next++;
            return TAPELINE_RECORD;
        }
    }
    head = __atomic_load_n(&words[8], __ATOMIC_ACQUIRE);
    uint64_t oldest = head + 2 > ring->room ? head + 2 - ring->room : 0;
    if (oldest <= ring->next) oldest = ring->next + 1;
    ring->lost = oldest - ring->next;
    ring->next = oldest;
    return TAPELINE_LOST;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retention.h - how much of a stream's log is kept: by age, bytes and messages. Whole segments, the oldest first,
 * never the one that is written, never one that somebody still needs (a pin). The decision is pure; retention_apply
 * removes what was decided.
 *
 * Bytes are what a segment takes of the disk: the one that is written all that was allocated for it, one that is sealed
 * what it holds, since it gave back the rest. One that a worker's death left behind gives that back when the next one
 * counts (recover_give_back); where it could not it counts in full.
 */
#ifndef BUSD_RETENTION_H
#define BUSD_RETENTION_H

#include "log_file.h"

struct retention_limits {
	uint64_t age_ns; /* 0: no limit, each of them */
	uint64_t bytes;
	uint64_t messages;
};

struct retention_segment {
	uint64_t base_seq, end_seq; /* end: the next one's base; of the newest: not known here */
	uint64_t messages; /* less than the numbers, where a hole follows; of the newest: 0 */
	uint64_t last_ns; /* no message in it is younger, nor in those before; of the newest: not known here */
	uint64_t bytes; /* that it takes of the disk */
	uint64_t base_pos;
	uint64_t named; /* the number in its file's name */
	bool sealed;    /* will be, by its writer, who gives back what it does not hold */
};

/* Who needs messages from `seq` on: a reader in the past, a durable subscription that wants them kept. */
#define RETENTION_PINS 1024
struct retention {
	struct retention_limits limits;
	struct retention_segment *segments; /* oldest first; the last is the one that is written */
	size_t count, room;
	uint64_t pins[RETENTION_PINS];   /* seq + 1; 0: free */
	unsigned pin_count;              /* places in use, free ones between them included */
	uint64_t removed, removed_bytes; /* segments */
	uint64_t held; /* segments that the limits would have removed, and a pin kept, when last asked */
};

void retention_free(struct retention *r);
/* A segment came to count: the one before ends there. sealed: it will be, when its time has come. 0, -ENOMEM */
int retention_add(struct retention *r, const struct log_made *made, bool sealed);
/* The segment that begins with base_seq takes so many bytes from now on. */
void retention_set_bytes(struct retention *r, uint64_t base_seq, uint64_t bytes);

/* A place, or -ENOSPC. The pin moves with retention_move, goes with retention_unpin. */
int retention_pin(struct retention *r, uint64_t seq);
void retention_move(struct retention *r, int pin, uint64_t seq);
void retention_unpin(struct retention *r, int pin);

/*
 * How many of the oldest segments are to go; end_seq: of the log, the number behind the last message that is kept for
 * sure. Pure, but for r->held.
 */
size_t retention_due(struct retention *r, uint64_t end_seq, uint64_t now_ns);
/*
 * Removes so many of the oldest, one after another, until one cannot be: 0, or -errno of that one, which stays in the
 * list. A file that is not there any more is taken for removed, and so is one whose header says that it is another segment:
 * that stays.
 */
int retention_apply(struct retention *r, struct io *io, int dir, size_t count);

#endif

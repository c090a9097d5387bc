/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spill.h - what the sequencer may do, as far as the disk decides it: which numbers it may give (limit), and
 * which messages must stay in the ring (gate: all at or above durable_seq).
 *
 * Where the stream was made to drop what finds no room, the sequencer drops it; that is counted here, and each source's newest
 * run of them stands on the board.
 *
 * A stream in memory has no limit, and its gate follows the head at once. Of one on disk both are moved by its
 * writer (spill_disk.h), in a thread of its own: the gate after fdatasync and only then (policy none: once the
 * page cache has them), behind the board's `durable` of each source and durable_seq.
 */
#ifndef BUSD_SPILL_H
#define BUSD_SPILL_H

#include "format/ring_layout.h"
#include "ring/gate.h"

struct spill {
	/* the gate as the ring's writer looks at it: cursor is durable_seq, private to busd */
	struct cursor_entry gate;
	_Atomic uint64_t limit; /* no message gets this number, or one above it, yet */
	bool disk;
	bool drops; /* what finds no room is dropped: constant while it is sequenced */
	uint64_t full_at, full_since; /* the gate at which there was no room first, and when */
	_Atomic uint32_t stuck;       /* the disk is full, or reports errors */
	_Atomic uint64_t dropped;     /* messages */
	int event_fd;                 /* of a writer: it is read where the writer sleeps */
	_Atomic uint32_t sleeps;
	_Atomic uint64_t offered; /* all below stand in the ring. R-offered */
	_Atomic uint32_t moved;   /* durable has: who waits for it is to be woken */
};

/* For a stream in memory, whose ring has number ring_id. */
void spill_open(struct spill *spill, uint64_t ring_id, uint64_t durable_seq);
/* It is on disk: messages from gate_seq on are not, and no number is given yet. Before it is sequenced. */
void spill_hold(struct spill *spill, uint64_t gate_seq, uint64_t head, int event_fd);

/* Its writer has gone, and the stream ends: nothing is kept from now on. */
void spill_release(struct spill *spill);

/* The member that gates the ring. */
struct ring_member spill_member(const struct spill *spill);

/* By the sequencer, after commits: all below head stands in the ring. Never waits. */
void spill_committed(struct spill *spill, uint64_t head);

/*
 * There is no room, or no number may be given: is what comes dropped? Once the disk has taken nothing for SPILL_PATIENCE_NS:
 * a burst that is more than the ring holds is waited for, and so is a writer that only begins.
 */
#define SPILL_PATIENCE_NS UINT64_C(1000000000)
bool spill_drops(struct spill *spill, bool may_number);

/* By the sequencer: n messages more. */
void spill_dropped(struct spill *spill, uint64_t n);

static inline bool spill_may_number(const struct spill *spill, uint64_t seq)
{
	return seq < bus_load_acquire(&spill->limit);
}

#endif

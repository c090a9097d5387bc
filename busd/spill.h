/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spill.h - who moves a stream's durable_seq, which is the gate of its ring: the sequencer overwrites
 * nothing that lies at or above it.
 *
 * There is no disk here: a stream lives in memory, and the gate follows the head at once. Who writes
 * it to disk moves the gate after fdatasync, and only then; before it the board's `durable` of each
 * source (board_layout.h). Everything else is as it is.
 */
#ifndef BUSD_SPILL_H
#define BUSD_SPILL_H

#include "format/ring_layout.h"
#include "ring/gate.h"

struct spill {
	/* the gate as the ring's writer looks at it: cursor is durable_seq, private to busd */
	struct cursor_entry gate;
};

/* For a stream whose ring has number ring_id, of which all below durable_seq need not be kept. */
void spill_open(struct spill *spill, uint64_t ring_id, uint64_t durable_seq);

/* The member that gates the ring. */
struct ring_member spill_member(const struct spill *spill);

/* By the sequencer, after commits: all below head stands in the ring. Never waits. */
void spill_committed(struct spill *spill, uint64_t head);

#endif

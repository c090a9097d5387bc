/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sequencer.h - publishers' rings become one ring: numbered, stamped, checksummed. The algorithm
 * alone: no system call, no lock, no allocation; stream_thread.c runs it, stream.c feeds it.
 *
 *   ring of A --+                        commit n        (the only decision)
 *   ring of B --+--> copy, check, stamp ---------> the stream's ring --> readers, spill
 *        ^                                  |
 *        +---- cursor, taken <--------------+            (follow it)
 *
 * What a worker that dies leaves is decided by the commits alone: a message that has its slot in
 * the stream is in it, one that has not is not. So a new worker finds for each source the last
 * number taken in the stream's own slots, as long as they are there:
 *
 *   - `taken` of a source is stored before so many more messages are committed that its last slot
 *     could be overwritten: at the end of each sequencer_take(), which commits at most a quarter of
 *     a lap, and of one source only. Counted over all sources, not for each: else a quiet one is
 *     sequenced twice.
 *   - sequencer_restart() looks at the last SLOTS - 1 slots (the one before may be half overwritten),
 *     goes on from head over committed ones (head lags), and never lowers the frontier, below which
 *     readers must not read.
 *   - `taken` and the cursor, which frees the publisher's ring, are stored after the commits.
 *
 * tests/spin/sequencer.pml is a model of this, with a mutant for each rule.
 *
 * A stream that drops what it has no room for passes over it: the run of it, and how many, are on the board before taken
 * counts them. A worker that dies in between leaves them to the next one, which may find room.
 *
 * All that a publisher wrote is hostile: its slot is copied, checked, then used; its bytes are
 * copied first and checksummed then, so that it is the copy that is attested.
 */
#ifndef BUSD_SEQUENCER_H
#define BUSD_SEQUENCER_H

#include "format/board_layout.h"
#include "format/log_format.h"
#include "ring/consume.h"
#include "ring/publish.h"
#include "spill.h"

/* Of one call: of messages a quarter of a lap at most, and of bytes so many, and one message more. */
#define SEQUENCER_RUN       64
#define SEQUENCER_RUN_BYTES (UINT64_C(256) << 10)

struct sequencer {
	struct ring_pub out;    /* the stream's ring */
	_Atomic uint64_t epoch; /* never moves: who reads is told to us by calls */
	struct spill spill;
	struct board_source *sources; /* of the stream's board */
	uint64_t next[BOARD_SOURCES]; /* number of each source's next message */
	uint64_t time_ns;             /* of the newest message */
	uint32_t uuid_crc;            /* CRC32C of the stream's uuid, with which all others begin */
};

/* A publisher's ring, being read. */
struct intake {
	struct ring_reader rd;
	uint64_t pos;    /* of the message that was taken last */
	uint64_t bytes;  /* of its ring's payload area, of all that were taken */
	uint32_t source; /* index among the board's sources */
	uint32_t src;
	/* what was dropped for want of room: not told yet; and the newest run */
	uint64_t dropped, drop_from, drop_to;
};

enum sequencer_look {
	SEQUENCER_EMPTY,   /* nothing there now */
	SEQUENCER_TOOK,    /* there may be more */
	SEQUENCER_FULL,    /* the stream's ring has no room until it is durable */
	SEQUENCER_DRAINED, /* nothing comes any more: all of it stands in the stream */
	SEQUENCER_BROKEN,  /* its publisher wrote what is no message, or over what was not taken */
};

/*
 * Before the first message, or after a former worker: finds out where the stream stands. view is
 * writable; sources are those of the board, as the former worker left them.
 */
void sequencer_restart(struct sequencer *seq, const struct ring_view *view, uint64_t ring_id,
		       struct board_source *sources, const uint8_t uuid[LOG_UUID_BYTES]);

/* Takes what is there of one ring, a run at most. now_ns: Unix time, as it is read. */
enum sequencer_look sequencer_take(struct sequencer *seq, struct intake *in, uint64_t now_ns);

/* Begins to read a ring: its source's next number says where. */
void sequencer_begin(struct sequencer *seq, struct intake *in);

/* Checksums as they stand in a slot of the stream (log_format.h); body and head: of the message. */
void sequencer_seal(uint32_t uuid_crc, struct log_slot *slot, const void *head, size_t head_len,
		    const void *body, size_t len);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover.h - what a stream's directory holds when busd, or its worker, starts: where the log ends, what is damaged, who
 * published last what, and where a new writer begins. docs/log.md has the rules.
 *
 * Opens each segment's header, scans the last segment only, from its newest mark on. Nothing is changed on disk, but
 * that temporary files are removed; no file is deleted, cut or written to because it could not be read.
 */
#ifndef BUSD_RECOVER_H
#define BUSD_RECOVER_H

#include "log_file.h"
#include "retention.h"
#include "sources.h"

struct recovered {
	uint8_t uuid[LOG_UUID_BYTES];
	bool fresh;          /* there is no segment */
	bool new_uuid;       /* nothing there says which stream it is */
	uint64_t oldest_seq; /* the first message that is kept */
	uint64_t end_seq,
		end_pos;    /* behind the last message that is accepted; all of those are on disk */
	uint64_t end_time;  /* no message is younger: of the last one, or the mark; 0: none */
	uint64_t found;     /* messages that no mark attested, and are whole */
	uint64_t withdrawn; /* messages that were whole in memory and are not on disk */
	bool torn;          /* something that is no message stands at the end */
	uint64_t past; /* no number at or above this one was given to a message, but for the ring's length */
	/* of the newest segment that counts */
	uint64_t base_seq, base_prev_end, index;
	uint64_t named; /* the number in its file's name: base_seq, but where somebody renamed it */
	uint64_t base_pos, payload_off, size, slots;
	unsigned strangers_after; /* of the strangers: named as if they came later */
	/* behind the numbers that those of them may have which may be segments of this log; 0: there are none */
	uint64_t others_end;
	unsigned strangers; /* files in place of segments that cannot be read, or are none of this stream */
	unsigned misnamed;     /* segments that somebody renamed: a name may be another one's */
	unsigned temporaries;  /* removed */
	uint64_t sources_from; /* last numbers: known for all messages from here on */
	bool sources_incomplete; /* what was published before that, and not since, is not recognised */
	char remark[512];        /* for the log: what is not as it should be; "" */
};

/* For recover_open: there is no ring. */
#define RECOVER_NO_RING UINT64_MAX

/*
 * Where the log ends. dir: a descriptor of the directory, on which an exclusive lock is taken (-EBUSY: somebody else
 * writes there). Fills *retention too, which the caller frees. 0, or -errno with a sentence: then nothing may be
 * written, and it may be tried again. Takes little time, however much the log holds.
 */
int recover_log(struct recovered *ret, struct io *io, int dir, struct retention *retention,
		struct why *why);
/*
 * Then who publishes, and the last number of each name. ring_from: where a ring is still there, the first message in it
 * that will be written: last numbers are then those of the messages below. Reads all names and up to all of the last
 * segment: not in the loop. Fills *sources, which the caller frees. 0, or -errno with a sentence; it may be tried again.
 */
int recover_sources(struct recovered *rec, struct io *io, int dir, uint64_t ring_from,
		    struct sources *sources, struct why *why);
/* Both. */
int recover_open(struct recovered *ret, struct io *io, int dir, uint64_t ring_from,
		 struct sources *sources, struct retention *retention, struct why *why);

/*
 * All of busd was lost, and the ring with it: numbers that a reader may have seen are passed over. slot_count: of the
 * ring that was and the one that will be, the larger.
 */
void recover_start(const struct recovered *rec, uint64_t slot_count, struct log_start *ret);
/*
 * The ring is there: seq is the first message in it that its writer had not seen durable (with LOG_SYNC_NONE: written),
 * pos its position. -ESTALE with a sentence: the log is of another ring.
 */
int recover_start_at(const struct recovered *rec, uint64_t seq, uint64_t pos, struct log_start *ret,
		     struct why *why);

/*
 * A segment of this life counts behind those that were found: the last one of them, whose writer died, gives back what it
 * does not hold, as one that is sealed does. Not where something that was promised, or may have been, cannot be read
 * there: that is evidence. How many bytes it takes then; 0: as many as before; -errno.
 */
int64_t recover_give_back(const struct recovered *rec, struct io *io, int dir, uint64_t ring_from);

#endif

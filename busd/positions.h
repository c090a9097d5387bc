/* SPDX-License-Identifier: Apache-2.0 */
/*
 * positions.h - how far each durable subscription of one stream has come, on disk (LOG_POSITIONS_NAME): pairs of
 * 512-byte records, of which the newer good one counts and the other one is written next. So a torn write leaves the
 * former position, and a position that is found is at most too low: messages come again, none is passed over.
 *
 * Of the stream's writer, in its thread. Changes are made in memory; positions_write() begins to bring them to disk and
 * does not wait, but for the first time and after an error, when a fresh file is made. `gen` of a position
 * counts its changes, `kept` says up to which of them it is on disk.
 */
#ifndef BUSD_POSITIONS_H
#define BUSD_POSITIONS_H

#include "format/log_format.h"
#include "io.h"

struct position {
	char name[LOG_POSITION_NAME + 1]; /* "": the pair is free */
	uint32_t uid;
	bool set;     /* seq means something; else it is nowhere yet, and not written */
	bool removed; /* to be free once that is on disk */
	bool bad;     /* neither record can be read: it stays as it is, and is nobody's */
	uint64_t seq, moved_ns, created_ns;
	uint64_t gen, written, kept; /* changes: all, given to the file, on disk */
	uint64_t gen_floor;          /* the next one is not below it */
	uint64_t written_seq, kept_seq;
	unsigned good; /* which of the two records is the one that is on disk */
};

#define POSITIONS_AT_ONCE 6 /* records in a request */
/* Names of one user who does not administer the topic: nobody can have them all. */
#define POSITIONS_USER_MAX (LOG_POSITIONS_MAX / 4)

struct positions {
	struct io *io;
	int dir, fd; /* fd -1: the file is to be written anew */
	uint8_t uuid[LOG_UUID_BYTES];
	struct position all[LOG_POSITIONS_MAX]; /* by pair */
	uint8_t *image;                         /* as found: for what cannot be read */
	size_t image_bytes;
	unsigned bad; /* pairs that cannot be read: names may be lost */
	bool opened;
	/* what is under way */
	struct io_request req;
	bool busy, syncs;
	unsigned count;
	struct position *under[POSITIONS_AT_ONCE];
	uint64_t under_gen[POSITIONS_AT_ONCE], under_seq[POSITIONS_AT_ONCE];
	uint8_t records[POSITIONS_AT_ONCE][LOG_POSITION_BYTES];
	uint64_t retry_at;
	int error; /* of the last writing that ended; 0 */
};

/* 0, or -errno with a sentence. A pair that cannot be read is counted and kept, not an error. */
int positions_open(struct positions *p, struct io *io, int dir, const uint8_t *uuid, struct why *why);
/* What is under way is waited for. */
void positions_close(struct positions *p);

/* NULL: there is none of that name. */
struct position *positions_find(struct positions *p, const char *name);
/* The first one whose name sorts after this one; NULL. */
struct position *positions_after(struct positions *p, const char *name);
/* How many are this user's. */
unsigned positions_count(const struct positions *p, uint32_t uid);
/* A new name, nowhere yet: in memory only. NULL: LOG_POSITIONS_MAX are there. */
struct position *positions_add(struct positions *p, const char *name, uint32_t uid, uint64_t now_ns);
void positions_move(struct position *pos, uint64_t seq, uint64_t now_ns);
void positions_remove(struct position *pos);
/* No position is above `limit` from now on: how many were. */
unsigned positions_lower(struct positions *p, uint64_t limit, uint64_t now_ns);

/*
 * Begins to write what has changed; now_ns: CLOCK_MONOTONIC. sync: and it is on disk when that has ended; where not,
 * it is in the page cache then. Does nothing while a former one is under way: call again.
 */
void positions_write(struct positions *p, bool sync, uint64_t now_ns);
/* Is there anything for it to do? */
bool positions_wait(const struct positions *p, bool sync);
/* All that has changed is on disk when this returns 0; -errno: it is tried again with the next one. */
int positions_flush(struct positions *p, uint64_t now_ns);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_file_internal.h - what log_file.c (writing, syncing), log_roll.c (from one segment to the next) and log_numbers.c share.
 */
#ifndef BUSD_LOG_FILE_INTERNAL_H
#define BUSD_LOG_FILE_INTERNAL_H

#include "log_file.h"

#define LANES       4
#define FRONT_BYTES LOG_SLOTS_OFF /* header, marks, copy: written in one piece */
#define NAME_BYTES  64
/* For want of room it is tried again so often. */
#define FULL_RETRY_NS 100000000u

/* A write of the messages [from, to), or a sync, or both: one request. At most one with a sync at a time. */
struct lane {
	struct io_request req;
	struct log_file *log;
	uint64_t from, to, to_pos;
	uint64_t covers, covers_pos; /* with a sync: what it makes durable */
	bool syncs, ended;
	uint64_t began_ns;
	uint8_t mark[LOG_MARK_BYTES];
};

/* A segment file that this writer made. */
struct log_out {
	int fd; /* -1: none */
	char name[NAME_BYTES];
	uint64_t index, base_seq, base_pos, prev_end;
	uint64_t zeroed;           /* all below is zeros on purpose, not only unwritten */
	uint64_t marked;           /* the newest mark that was given to a write */
	uint64_t end_seq, end_pos; /* once no more is written to it: behind what counts */
	bool poisoned;             /* none of its syncs is believed any more: nor is it marked */
	unsigned mark_count;
	bool ready,
		must_zero; /* preallocated; the file system cannot, so that zeros have to be written */
};

enum roll_step { ROLL_NO = 0, ROLL_WANTED, ROLL_HEADER, ROLL_NAMES };

struct log_file {
	struct io *io;
	struct log_file_opts opts;
	struct log_counts counts;
	char why[200];
	uint64_t now;

	/* messages: durable <= written <= next <= offered */
	uint64_t offered, next, written, durable, noted;
	uint64_t next_pos, written_pos, durable_pos; /* where those messages begin, or will */
	uint64_t flush_to; /* a sync is wanted for these, whatever the policy */

	struct lane lanes[LANES]; /* in the order of their beginning: lanes[lane_first % LANES], ... */
	unsigned lane_first, lane_count;
	struct lane aside; /* policy none: a sync that no write waits for */
	bool aside_busy;   /* it is under way */
	bool sync_busy;    /* a sync is, in a lane or aside */
	uint64_t last_sync, last_commit_bytes;

	struct log_out cur, ahead, old; /* written; the next one; being sealed */
	uint64_t payload_off, size;     /* of each segment */
	uint64_t serial;                /* of temporary names */
	struct io_request ahead_req, roll_req, seal_req;
	bool ahead_busy, seal_busy;
	uint64_t ahead_retry_at;
	uint8_t seal_mark[LOG_MARK_BYTES];

	enum roll_step roll;
	bool roll_busy; /* roll_req is under way */
	uint64_t created_ns;
	uint64_t time_ns;       /* of the youngest message */
	struct log_start start; /* of the next segment */
	uint8_t *front;         /* FRONT_BYTES */
	uint8_t *snapshot;
	int snapshot_fd;
	bool failing; /* a lane failed: no more of them until the others have ended */
	bool full; /* what the next segment needs, or the present one, was last refused for want of room */
	uint64_t retry_at, backoff;
	bool begun; /* a segment of this life counts */

	/* policy none: numbers that may be given */
	struct io_request numbers_req;
	struct log_numbers numbers;
	int numbers_fd;
	bool numbers_busy, numbers_named;
	uint64_t number_limit, number_retry_at;
	int number_error; /* of the last try */
};

/* Before lanes are begun: the next segment, from nothing to being written. */
void log_roll_run(struct log_file *log);
/* Likewise: numbers that may be given. */
void log_numbers_run(struct log_file *log);
/* Why no more numbers can be given, -errno; 0: they can. */
int log_numbers_error(const struct log_file *log);
/* Once no lane is under way after an error: messages that may be lost go again, to a fresh segment. */
void log_roll_give_up(struct log_file *log);
/* The segment is full, and durable to its end. */
void log_roll_begin(struct log_file *log);
/* Closes what is open. Nothing is under way. */
void log_roll_close(struct log_file *log);
/* Notes an error of the disk, or that it is full. */
void log_file_complain(struct log_file *log, int error, const char *doing);
/* When it wants to be called again, of what log_roll.c does. */
uint64_t log_roll_due(const struct log_file *log);
/* The mark that says what is durable, to the next place of cur. */
void log_file_add_mark(struct log_file *log, struct log_out *out, struct io_request *req,
		       uint8_t *buf);

#endif

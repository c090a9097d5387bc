/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_file.h - one stream's log, being written: messages go from the stream's ring to segment files, in groups, and
 * durable moves behind them. docs/log.md has the rules of order and what demanded each.
 *
 *	recover_open(&rec, io, dir, ...);                what is there, synced (recover.h)
 *	log_file_open(&log, io, &opts, &start, &why);
 *	for (;;) {
 *		log_file_offer(log, head);               the ring holds all messages below head
 *		wait_ns = log_file_run(log, now_ns);     begins what can be begun; call again by then
 *		io_poll(io, ...);                        or when io->event_fd says so
 *		gate = log_file_gate(log);               what lies below may leave the ring
 *	}
 *
 * Called by the thread that owns `io`; never blocks but for what creates, renames and removes files. The ring is the
 * caller's: memory in which the slots and bytes of [gate, head) stay as they are. It is written straight from there.
 */
#ifndef BUSD_LOG_FILE_H
#define BUSD_LOG_FILE_H

#include "format/log_format.h"
#include "io.h"
#include "sources.h"

/* The ring that is written from: as a ring_view, of a stream's slots. */
struct log_view {
	const struct log_slot *slots;
	const uint8_t *payload;     /* twice in a row */
	uint64_t slot_count, bytes; /* powers of two */
};

enum log_policy {
	LOG_SYNC_NONE,     /* whenever some megabytes have gathered: nobody waits for it */
	LOG_SYNC_INTERVAL, /* every interval_ns, and whenever a quarter of the ring is not durable */
	LOG_SYNC_BATCH,    /* as soon as the sync before is over: group commit */
};

/* A segment that has come to count; told from within log_file_run(). What retention needs. */
struct log_made {
	uint64_t base_seq, base_pos, prev_end, created_ns;
	uint64_t named; /* the number in its file's name: base_seq, but where somebody renamed it */
	uint64_t bytes; /* that its file takes */
};

struct log_file_opts {
	struct log_view view;
	int dir;           /* descriptor of the directory, the caller's */
	const char *topic; /* at most LOG_TOPIC_MAX - 1 bytes */
	uint8_t uuid[LOG_UUID_BYTES];
	uint64_t slots, bytes; /* of a segment; 0: the default; at least the ring's */
	enum log_policy policy;
	uint64_t interval_ns;
	uint64_t numbers_step;   /* LOG_SYNC_NONE: so many are reserved at a time; 0: the most */
	bool punch;              /* give back what a full segment did not use */
	struct sources *sources; /* whose last numbers are kept; NULL: none */
	void (*made)(void *owner, const struct log_made *made); /* NULL: nobody wants to know */
	void *owner;
};

/* Where it begins. recover.h fills it, but for the time. */
struct log_start {
	uint64_t seq;      /* the first message that will be written */
	uint64_t pos;      /* its position, or a bound of it from below */
	uint64_t prev_end; /* what the log held before; less than seq: the numbers between are a hole */
	uint64_t index; /* of the first segment */
	bool replace;   /* the file that has the first segment's name holds nothing that counts */
	bool aside; /* there are files in place of segments: one that has its name may be moved away */
	uint64_t time_ns; /* no message that the log held before is younger */
};

enum log_state {
	LOG_STARTING, /* its first segment is being made */
	LOG_RUNNING,
	LOG_ROLLING, /* the next segment is being made to count */
	LOG_FAILING, /* the disk reported an error: waiting for what is under way, then for a fresh segment */
	LOG_FULL, /* no room on the disk; tries again by itself */
};

/* With LOG_SYNC_NONE: how many numbers are reserved at a time, at most. */
#define LOG_NUMBERS_STEP (UINT64_C(1) << 24)
#define LOG_HISTOGRAM    26 /* bucket i: 2^i to 2^(i+1) - 1 us; that of the last is longer */

struct log_counts {
	uint64_t bytes;    /* of messages written, slots included */
	uint64_t commits;  /* syncs that moved durable */
	uint64_t syncs;    /* all of them */
	uint64_t segments; /* made to count */
	uint64_t marks;
	uint64_t errors;        /* of the disk */
	uint64_t full;          /* refusals for want of room */
	uint64_t poisoned;      /* segments given up after an error */
	uint64_t written_again; /* messages that went to a fresh segment because of that */
	uint64_t lost; /* policy none only: messages whose writing failed once they had left the ring */
	uint64_t zeroed;                 /* bytes of zeros written ahead */
	uint64_t sync_us[LOG_HISTOGRAM]; /* how long syncs took, with the writes before them in the request */
	uint64_t sync_ns;                /* all of them together */
};

struct log_file;

/* 0 or -errno with a sentence. Nothing is on disk yet. */
int log_file_open(struct log_file **ret, struct io *io, const struct log_file_opts *opts,
		  const struct log_start *start, struct why *why);
/* Ends it as it is, waiting for what is under way. Sync before, by log_file_flush. NULL: nothing */
void log_file_close(struct log_file *log);

void log_file_offer(struct log_file *log, uint64_t head);
/* Returns in how many ns it wants to be called again at the latest; UINT64_MAX: when io has something. */
uint64_t log_file_run(struct log_file *log, uint64_t now_ns);
/* All that is offered becomes durable as soon as it can, whatever the policy. */
void log_file_flush(struct log_file *log);

/* The number of the next message that has not been given to a write. */
uint64_t log_file_next(const struct log_file *log);
/* All below are in the page cache, in a segment that counts. */
uint64_t log_file_written(const struct log_file *log);
/*
 * All below are on disk, or (LOG_SYNC_NONE only) declared there as a hole and counted as lost. Moves after fdatasync
 * only.
 */
uint64_t log_file_durable(const struct log_file *log);
/* All below may leave the ring: durable, or written with LOG_SYNC_NONE. */
uint64_t log_file_gate(const struct log_file *log);
/*
 * No message may be given this number or one above it yet: the first segment is not on disk, or, with LOG_SYNC_NONE,
 * the mark that keeps numbers from being given twice is not.
 */
uint64_t log_file_limit(const struct log_file *log);
enum log_state log_file_state(const struct log_file *log);
/* What is wrong, or was last; "" if nothing ever was. */
const char *log_file_why(const struct log_file *log);
const struct log_counts *log_file_counts(const struct log_file *log);
#endif

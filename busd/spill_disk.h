/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spill_disk.h - one stream on disk: a thread of its own that writes the stream's ring to its log (log_file.h),
 * keeps the log within its limits (retention.h), and names its publishers (sources.h). A disk that is slow, full
 * or broken stops this thread, and through limit and gate its stream; no other stream, no live topic and not the loop.
 *
 *   sequencer --offered--> this thread --log_file--> disk
 *       ^                      |
 *       +---- gate, limit -----+---- durable of each source, durable_seq, what it costs ----> the board
 *       loop --ask (a publisher's name)--> this thread --answer--> loop
 *
 * stream_disk.c is the loop's side of it.
 */
#ifndef BUSD_SPILL_DISK_H
#define BUSD_SPILL_DISK_H

#include "format/board_layout.h"
#include "list.h"
#include "log_file.h"
#include "recover.h"
#include "retention.h"
#include "spill.h"
#include "spill_dir.h"

struct user;

enum spill_ask_kind {
	SPILL_ASK_SOURCE = 0,  /* a publisher wants a number for ever */
	SPILL_ASK_SEGMENT = 1, /* a reader wants a file of the log */
};

/* Which segment a reader gets, and how far the log has come. */
struct spill_segment {
	int fd; /* O_RDONLY, the answer's; -1: there is no segment yet, or it cannot be opened */
	uint64_t base_seq, next_seq, oldest_seq;
	uint64_t written_seq, durable_seq, head_seq;
	uint64_t disk_bytes, segments;
};

/* The job is the loop's, NULL where its client has gone. */
struct spill_ask {
	struct list link;
	enum spill_ask_kind kind;
	struct job *job;
	uint64_t seq; /* SPILL_ASK_SEGMENT */
	struct spill_segment segment;
	/* SPILL_ASK_SOURCE */
	char name[LOG_NAME_MAX + 1];       /* "UID:NAME"; "": it has none */
	uint64_t free[BOARD_SOURCES / 64]; /* entries of the board that may be taken, as bits */
	/* the answer */
	int rc;
	struct why why;
	uint32_t src;
	uint64_t next; /* number of its next message */
	bool known;    /* it was there before: its entry may be anybody's */
};

struct spill_disk_opts {
	const char *topic;
	const struct spill_settings *settings;
	const char *data_dir;
	int dir; /* becomes the writer's; -1: it opens that of the topic */
	struct log_view view;
	struct board_head *board;
	struct board_source *sources; /* of the board */
	struct spill *spill;
	int loop_fd; /* an eventfd of the loop: there are answers, or it has ended */
	/* the sequencer's bell */
	struct user *user;
	uint32_t slot;
};

struct spill_disk;

/* Whether so little can be kept: 0, -EINVAL with a sentence. */
int spill_check_limits(const struct ctl_log_settings *log, uint64_t ring_bytes, struct why *why);
/* Made, and not running yet: nothing is read or written. 0, -errno with a sentence. */
int spill_disk_new(struct spill_disk **ret, const struct spill_disk_opts *opts, struct why *why);
/*
 * All of busd was lost: where the log in the directory ends, before there is a ring. Takes the disk's time, but little. The
 * writer that is made for it then goes on from there (spill_disk_adopt), and finds out who publishes.
 */
struct spill_found {
	struct recovered rec;
	struct retention retention;
	struct log_start start;
};
int spill_find(struct spill_found *ret, int dir, const struct spill_settings *settings,
	       struct why *why);
void spill_found_free(struct spill_found *found);
void spill_disk_adopt(struct spill_disk *disk, struct spill_found *found);

/* The ring is there: all below gate_seq stands in the log already; pos: of message gate_seq. */
void spill_disk_begin_at(struct spill_disk *disk, uint64_t gate_seq, uint64_t pos);
int spill_disk_event(const struct spill_disk *disk);
/* Runs it. 0, -errno */
int spill_disk_start(struct spill_disk *disk);

/* NULL: no memory. */
struct spill_ask *spill_ask_new(enum spill_ask_kind kind, struct job *job);
/* With what it has of an answer. NULL: nothing */
void spill_ask_free(struct spill_ask *ask);
/* Becomes the writer's until it is answered. */
void spill_disk_ask(struct spill_disk *disk, struct spill_ask *ask);
/* The next answer, by the loop; NULL: none. */
struct spill_ask *spill_disk_answer(struct spill_disk *disk);
/* May the source's entry be another's? All of it is in the log. */
bool spill_disk_kept(const struct spill_disk *disk, uint32_t index);
void spill_disk_keep(struct spill_disk *disk, uint32_t index, uint64_t next);

/* All that was offered goes to disk now. */
void spill_disk_flush(struct spill_disk *disk);
/* Is that so? */
bool spill_disk_is_flushed(const struct spill_disk *disk);
/*
 * It is to end; what is not on disk yet need not get there. From the return on it says no more that anything
 * is durable. retire: the stream is removed, its directory nobody's any more.
 */
void spill_disk_stop(struct spill_disk *disk, bool retire);
bool spill_disk_has_ended(const struct spill_disk *disk);
/* Of one that has ended, or never ran. NULL: nothing */
void spill_disk_free(struct spill_disk *disk);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * journal.h - what a worker knows, written down so that the next one knows it too. A memfd that
 * the keeper holds; one writer, and no reader but the next worker.
 *
 *   0       UNDO_OFF       ARENA_OFF                                       used      size
 *   +-------+--------------+------------------------------------------------+---------+
 *   | head  | undo entries | records: struct journal_record, body, ...      |         |
 *   +-------+--------------+------------------------------------------------+---------+
 *
 * A worker may be killed between any two instructions. What it does for one message of a client
 * is a transaction: each word that it changes is first saved among the undo entries, and they are
 * forgotten at once by journal_commit(). A new worker puts back what it finds there, so it sees
 * the state before the last unfinished transaction, and a transaction is finished before anybody
 * hears of it: journal_commit() comes before anything is sent, and before an epoch is raised.
 * Nothing survives that is not in the page cache: this is no log on disk.
 *
 * Bytes of killed processes are in memory in program order, so release stores are all it takes.
 */
#ifndef BUSD_JOURNAL_H
#define BUSD_JOURNAL_H

#include "base/atomic.h"
#include "base/base.h"

#define JOURNAL_MAGIC   UINT64_C(0x4c4e524a42535542) /* "BUSBJRNL" */
#define JOURNAL_VERSION 2  /* of what stands here; records grow without another one: record.h */
#define JOURNAL_UNIT    64 /* records are a multiple of it */
#define JOURNAL_UNITS   32 /* at most */
#define JOURNAL_UNDO    16384
#define JOURNAL_IDS     4096 /* numbers are taken in blocks of so many */

struct journal_head {
	uint64_t magic;
	uint32_t version;
	uint32_t pad;
	_Atomic uint64_t used; /* end of the records */
	_Atomic uint64_t ids;  /* numbers below it may have been given out */
	_Atomic uint64_t undo_count;
	char writer[32]; /* the version of busd that wrote it last, for people */
};

struct journal_undo {
	uint64_t at, was;
};

/*
 * One word, so that it is valid or not at any instruction. How long the body is it does not say: what
 * follows it up to the end of the place is zero, so that who knows a longer body reads zeros there,
 * and who knows a shorter one sees whether something was said that it does not know.
 */
struct journal_record {
	uint32_t units; /* its size, for ever */
	uint32_t kind;  /* 0: free */
};

#define JOURNAL_UNDO_OFF  4096
#define JOURNAL_ARENA_OFF (JOURNAL_UNDO_OFF + JOURNAL_UNDO * sizeof(struct journal_undo))

struct journal_places {
	uint64_t *at;
	size_t count, room;
};

struct journal {
	struct journal_head *head; /* NULL: there is none, and all below does nothing */
	size_t size;
	int fd;
	bool fresh;                                    /* nobody wrote it before us */
	struct journal_places free[JOURNAL_UNITS + 1]; /* by units */
	struct journal_places limbo; /* freed in this transaction: not to be used again yet */
};

/* Takes over fd; undoes what a predecessor did not finish. 0 or -errno (-EPROTO: another version). */
int journal_open(struct journal *journal, int fd);
/* Is there room for what one message may need? Grows the journal. 0 or -ENOMEM. */
int journal_reserve(struct journal *journal);
/*
 * Writes a record anew where *place is 0, else what has changed of it; one for which an older version
 * took too little room moves. size: a multiple of 8.
 */
void journal_put(struct journal *journal, uint64_t *place, uint32_t kind, const void *body,
		 size_t size);
void journal_drop(struct journal *journal, uint64_t *place);
void journal_commit(struct journal *journal);
/* The records of a kind, 0: of all: start with *at = 0. NULL: no more. */
const void *journal_next(const struct journal *journal, uint32_t kind, uint64_t *at);
/* Of the record there: its kind, and the bytes that its body has room for. */
uint32_t journal_kind(const struct journal *journal, uint64_t at);
size_t journal_room(const struct journal *journal, uint64_t at);
/* The body, as long as this version knows it: what is not there is zero. */
void journal_read(const struct journal *journal, uint64_t at, void *body, size_t size);
/* Numbers up to `next` are in use. */
void journal_note_id(struct journal *journal, uint64_t next);
uint64_t journal_first_id(const struct journal *journal);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spill_position.h - the durable subscriptions of one stream, as its writer's thread has them (positions.h): it looks at
 * what their holders have acknowledged (cursor_segment.acked) some times a second, and where one goes, and brings
 * that to disk by the stream's sync policy. The loop asks, and never waits for the disk.
 *
 *   subscriber --acked, in its cursor segment--> this thread --positions--> disk
 *   loop --ask (who holds what; how far; move)--> this thread --answer--> loop
 *
 * position.c is the loop's side of it.
 */
#ifndef BUSD_SPILL_POSITION_H
#define BUSD_SPILL_POSITION_H

#include "list.h"
#include "positions.h"

#include "format/control_proto.h"

#include <pthread.h>

struct spill_disk;
struct segment;

enum position_want {
	POSITION_OPEN,   /* may uid have this name, and where does it stand? */
	POSITION_HOLD,   /* its holder's cursors are there; answered when it is left */
	POSITION_LEAVE,  /* it has no holder any more */
	POSITION_SETTLE, /* what is acknowledged is to be on disk, at once */
	POSITION_NEXT,   /* the first one that sorts after this name */
	POSITION_SET,    /* moved, made or removed; nobody holds it */
};

/* Asks of one name are served in their order. The job is the loop's, NULL where its client has gone. */
struct position_ask {
	struct list link;
	struct job *job;
	enum position_want want;
	char name[CTL_NAME_MAX];
	uint32_t uid;
	bool anybodys;       /* OPEN, SET: also where the name is another user's */
	bool again;          /* SET: what a former worker may have done already */
	uint32_t flags;      /* SET: CTL_POSITION_* */
	uint64_t from, to;   /* SET */
	uint64_t within_ns;  /* SETTLE: or it is answered with how far it has come */
	struct segment *seg; /* HOLD: the loop's reference, */
	const struct cursor_segment *cursors; /* and its mapping */
	/* the thread's */
	bool begun;
	struct position *pos;
	uint64_t gen, until;
	/* the answer */
	int rc;
	struct why why;
	bool known; /* it stands somewhere */
	bool kept;  /* SETTLE: kept_seq is on disk, and no lower than what was acknowledged then */
	uint32_t owner;
	uint64_t seq, kept_seq, head_seq, oldest_seq, unread_ns, moved_ns, created_ns;
};

/* Of a spill_disk. */
struct position_desk {
	struct positions positions;
	struct list pending; /* the thread's */
	struct position_ask *holds[LOG_POSITIONS_MAX];
	uint64_t look_at, open_at;
	unsigned held;
	bool hurry, hurry_sync, complained;
	struct why why; /* why positions are not to be had */
	pthread_mutex_t lock;
	struct list asks, answers; /* under it */
};

/* ---- by the loop */
void position_desk_init(struct position_desk *desk);
/* The thread has ended. */
void position_desk_free(struct position_desk *desk);
void position_ask_free(struct position_ask *ask); /* NULL is allowed */
void spill_position_ask(struct spill_disk *disk, struct position_ask *ask);
/* The next answer; NULL: none. */
struct position_ask *spill_position_answer(struct spill_disk *disk);

/* ---- by the thread */
/* Serves what can be served now. In how many ns it wants to be called again at the latest. */
uint64_t spill_positions_run(struct spill_disk *d, uint64_t now_ns);
/* The log is not open: who waits is refused. */
void spill_positions_refuse(struct spill_disk *d, const char *why);
/* It ends: all that was acknowledged goes to disk. */
void spill_positions_finish(struct spill_disk *d);

#endif

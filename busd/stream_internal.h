/* SPDX-License-Identifier: Apache-2.0 */
/* stream_internal.h - a stream, as stream.c (rings, readers) and stream_source.c (who publishes) see it. */
#ifndef BUSD_STREAM_INTERNAL_H
#define BUSD_STREAM_INTERNAL_H

#include "spill_disk.h"
#include "stream.h"
#include "stream_thread.h"

struct stream {
	struct stream_work work;
	struct topic *topic;
	struct ring *ring; /* that busd writes; NULL once it has ended */
	struct pub *pub;   /* busd's: of that ring */
	struct sub *sub;   /* busd's: at the rings of all others */
	uint32_t member_room;
	uint32_t uses[BOARD_SOURCES]; /* publishers, rings and jobs that have the source */
	uint32_t hint;                /* where to look for one that may be used again */
	struct list parked;           /* jobs that wait for a source, or for the writer's answer */
	struct list holds;            /* of durable subscriptions (position.h) */
	struct spill_disk *disk;      /* NULL: in memory */
	struct segment *disk_seg;     /* it writes from there */
	struct list ending;           /* busd.streams_ending: its writer is to end */
};

/* The thread has something to say. */
void stream_settled(struct busd *busd, struct watch *watch, uint32_t events);
/* The job is about to go on. */
void stream_unpark(struct job *job);
/* Who waits for a source gets none any more. */
void stream_refuse_parked(struct stream *stream);
/* Sources that nobody has, once all publishers and rings are restored. */
void stream_restore_sources(struct stream *stream);

/* ---- on disk (stream_disk.c) */
/* The sequencer knows where it stands: the writer is made, and what it says holds. */
int stream_begin_disk(struct stream *stream, struct stream_place *place, struct why *why);
void stream_run_disks(struct busd *busd);
/*
 * A publisher's number for ever: -EINPROGRESS, and stream_answered() later; or -errno. taken: entries of the
 * board that are in use, as bits.
 */
int stream_ask(struct stream *stream, struct job *job, bool named, const uint64_t *taken,
	       struct why *why);
void stream_answered(struct job *job, const struct spill_ask *ask);
/* The job waits for what the stream's writer says; and it does no more. */
void stream_park(struct stream *stream, struct job *job, struct spill_ask *ask);
void stream_unpark(struct job *job);
/* stream_log.c: a reader gets a segment */
void stream_segment_answered(struct job *job, const struct spill_ask *ask);
void stream_take_answers(struct topic *topic);
/* Its writer ends, in its time. */
void stream_end_disk(struct stream *stream);
void stream_settle_ended(struct busd *busd);
/* Of one that has ended: is it on disk for the next busd, since the former worker was being stopped when it died? */
bool stream_stays(const struct topic *topic);

#endif

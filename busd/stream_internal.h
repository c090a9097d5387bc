/* SPDX-License-Identifier: Apache-2.0 */
/* stream_internal.h - a stream, as stream.c (rings, readers) and stream_source.c (who publishes) see it. */
#ifndef BUSD_STREAM_INTERNAL_H
#define BUSD_STREAM_INTERNAL_H

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
	struct list parked;           /* jobs that wait for a source */
};

/* The thread has something to say. */
void stream_settled(struct busd *busd, struct watch *watch, uint32_t events);
/* Who waits for a source gets none any more. */
void stream_refuse_parked(struct stream *stream);
/* Sources that nobody has, once all publishers and rings are restored. */
void stream_restore_sources(struct stream *stream);

#endif

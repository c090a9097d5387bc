/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_thread.h - the thread that runs the sequencer for all streams of this worker. It holds the
 * lock while it takes messages, a few microseconds at a time, and not while it sleeps. The loop's
 * thread takes the lock to add and remove what there is to read; the sequencer's structures are
 * nobody's without it.
 *
 * It sleeps like any subscriber: on the bells of the publishers, announced in the cursor segments. It
 * never waits for a client: not with the lock, and not without.
 */
#ifndef BUSD_STREAM_THREAD_H
#define BUSD_STREAM_THREAD_H

#include "busd.h"
#include "sequencer.h"

#include "os/shm_map.h"

/* A publisher's ring, as the thread reads it. */
struct feed {
	struct list link; /* stream.feeds */
	struct intake in;
	struct shm_map map;
	struct feed *before; /* of the same publisher, and to be read to its end first; NULL */
	struct ring *ring;
	enum sequencer_look look; /* DRAINED and BROKEN are final */
	/* of stream_work_bound() */
	bool bounded;
	uint64_t last_seq, last_bytes;
};

/* What the thread has of a stream; the rest is stream.c's. */
struct stream_work {
	struct list link; /* of the thread's */
	struct sequencer seq;
	struct list feeds;
	struct cursor_segment *cursors; /* busd's, at the stream's publishers */
	uint32_t waiting_gen;
};

/* Without a thread yet. 0, -ENOMEM, -errno. */
int thread_open(struct busd *busd, const _Atomic uint32_t *bell);
/* Runs it, once there is one: after the sandbox, which holds for threads that come later only. */
int thread_start(struct busd *busd);

/* Written to by who has something for the loop: busd->settled is ready then. */
int thread_event(const struct busd *busd);

void thread_lock(struct busd *busd);
void thread_unlock(struct busd *busd);
/* Under the lock. */
void thread_add(struct busd *busd, struct stream_work *work);
void thread_remove(struct stream_work *work);

/*
 * The bell page of a publisher's process, as a read-only descriptor, and our word on it; -1: it has
 * none yet. Takes the lock. 0, -ENOMEM.
 */
int thread_hear(struct busd *busd, uint64_t client_id, int fd, uint32_t word);
void thread_unhear(struct busd *busd, uint64_t client_id);

/*
 * One round over all that there is, under the lock, or up to where somebody wants that (*wanted is not 0; NULL: nobody
 * does): the next goes on there. True: there may be more. *over: a ring has ended.
 */
bool stream_work_round(struct stream_work *work, const _Atomic uint32_t *wanted, bool *over);
/*
 * From now on no more is taken than one lap of each ring holds, messages and bytes: who goes on publishing is not
 * followed.
 */
void stream_work_bound(struct stream_work *work);
/* Is there something that waits for room, or for the disk? */
bool stream_work_waits(const struct stream_work *work);

#endif

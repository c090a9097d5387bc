/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.h - a topic that is a stream, as the registry has it. busd is a client of its own there, with
 * one publisher, whose ring is the stream's, and one subscription, which reads the rings of all others:
 * so memberships, cursors, boards and a worker's restart are those of any topic.
 *
 *   publishers' rings --> busd's subscription, sequencer.h --> the stream's ring --> subscriptions
 *
 * That client (busd->self) has no socket: it is told nothing, and what would be told to it is done
 * here. Its bell is busd's own, which every client has.
 */
#ifndef BUSD_STREAM_H
#define BUSD_STREAM_H

#include "registry.h"

struct job;
struct spill_found;
struct spill_settings;

/* Of a stream on disk: its directory (-1: the writer opens it), and what is there already (NULL: nothing). */
struct stream_place {
	int dir;
	struct spill_found *found;
};

#define STREAM_DEFAULT_SLOTS 65536
#define STREAM_DEFAULT_BYTES (UINT64_C(16) << 20)

static inline bool client_is_self(const struct client *client)
{
	return client->id == CTL_CLIENT_BUSD;
}

static inline bool topic_is_stream(const struct topic *topic)
{
	return topic->stream_bytes != 0;
}

/* The ring that busd writes, and all subscriptions read. */
static inline bool ring_is_stream(const struct ring *ring)
{
	return ring->seg->info.geometry.features & RING_FEATURE_STREAM;
}

/* May this subscription read this ring? On a stream busd reads the publishers', and others the stream's. */
static inline bool stream_shows(const struct ring *ring, const struct sub *sub)
{
	return !topic_is_stream(ring->topic) || ring_is_stream(ring) != client_is_self(sub->client);
}

/*
 * Sizes of a stream's ring as they will be, in settings and here: what was not said follows from
 * the other. 0, or -EINVAL with a sentence.
 */
int stream_settle(struct ctl_topic_settings *settings, uint64_t asked_max_bytes,
		  uint32_t *stream_slots, uint64_t *stream_bytes, struct why *why);

/* A topic that was just made becomes a stream with this ring. 0, or -errno with a sentence. */
int stream_make(struct topic *topic, struct segment *seg, struct stream_place *place,
		struct why *why);
/* After a former worker: goes on where its commits say. False: it is lost. */
bool stream_restart(struct topic *topic, struct why *why);
/* Of one that a former worker had: was it removed, and is its directory to be deleted? Takes the disk's time. */
bool stream_is_aside(const struct topic *topic);
/* Its publishers' rings are closed: all of them goes into the stream, and then that ends. */
void stream_finish(struct topic *topic);
/* busd is stopped: what streams' publishers have sent goes to disk first. Waits, for some seconds at most. */
void stream_leave(struct busd *busd);
/* With its topic. */
void stream_free(struct topic *topic);
/* The loop begins: what was restored is read from now on. */
void stream_run(struct busd *busd);

/*
 * A client asks for the segment with message seq; answered now, or once the stream's writer has said. 0, or
 * -errno with a sentence.
 */
int stream_give_segment(struct client *client, struct topic *topic,
			const struct ctl_log_segment *asked, struct why *why);

/* How it is kept, as asked, with defaults filled in. 0, or -errno with a sentence. */
int stream_settle_log(struct busd *busd, struct ctl_log_settings *log, struct why *why);
void stream_fill_settings(const struct job *job, struct spill_settings *ret);
/* At start: streams that the data directory holds become topics again. Takes the disk's time. */
void stream_load(struct busd *busd);
/* TIMER_REFUSED: those of them that were locked, or could not be read, once more. */
void stream_load_again(struct busd *busd);
/*
 * With a sentence: under this name there is a stream that could not be taken up. -EAGAIN: it is tried again, -EIO: by the next
 * busd only.
 */
int stream_check_refused(const struct busd *busd, const char *topic, struct why *why);
/* Is there a stream whose messages would go with busd? */
bool stream_in_memory(const struct busd *busd);

/* busd as a client: made where there is none. slot: in bell pages, as before; -1: a free one. */
int stream_self(struct busd *busd, int slot, struct why *why);

/* ---- sources */
/*
 * A publisher comes, by a job that has its name: job->source and the number of its first message. 0;
 * -EBUSY: somebody publishes under this name; -EINPROGRESS: the job waits until the former ring of
 * that name stands in the stream, and is begun then.
 */
int stream_open_source(struct job *job, bool named, uint64_t *first_seq, struct why *why);
/* The publisher has a number now. */
void stream_number_source(const struct pub *pub);
/* It has its ring too: who waited for the same source, while that was somebody's job, is told whose it is. */
void stream_source_is_open(const struct pub *pub);
/* A publisher or a ring has it, or has it no more. */
void stream_hold_source(struct topic *topic, uint32_t source);
void stream_release_source(struct topic *topic, uint32_t source);
/* The client whose job waits goes. */
void stream_forget_job(struct job *job);

/* ---- publishers' rings */
/* Before it is put on the board: mapped. 0, -errno with a sentence. */
int stream_map_ring(struct ring *ring, struct why *why);
/* busd has a place at it: it is read. */
void stream_read_ring(struct reader *reader);
/* Its publisher goes; it is closed; it is freed. */
void stream_part(struct ring *ring);
void stream_ring_closed(struct ring *ring);
void stream_drop_ring(struct ring *ring);

/* ---- subscriptions: who is to be woken */
void stream_add_reader(struct reader *reader);
void stream_remove_reader(struct reader *reader);

#endif

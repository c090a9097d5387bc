/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_source.c - the sources of a stream: who publishes, under which number, and where he stands.
 * What must be known for ever is on the board, which outlives a worker.
 *
 * A publisher that gave itself a name is one source for as long as the stream lives, whichever process
 * it is: its next ring begins behind its last message, once that stands in the stream. Others are a
 * source each, whose entry is used again when there is no other, under another number.
 */
#include "stream_internal.h"

#include "alloc.h"
#include "log.h"
#include "request.h"
#include "spill_position.h"

#include <errno.h>
#include <string.h>

static struct board_source *source_at(const struct stream *stream, uint32_t i)
{
	return &stream->work.seq.sources[i];
}

static bool has_name(const struct board_source *source, uint32_t uid, const char *name)
{
	return bus_load_relaxed(&source->state) != BOARD_SOURCE_FREE &&
	       source->flags & BOARD_SOURCE_NAMED && source->uid == uid &&
	       strncmp(source->name, name, sizeof(source->name)) == 0;
}

static int find_named(const struct stream *stream, uint32_t uid, const char *name)
{
	uint32_t i;

	for (i = 0; i < BOARD_SOURCES; i++)
		if (has_name(source_at(stream, i), uid, name))
			return (int)i;
	return -1;
}

static bool may_be_used_again(const struct stream *stream, uint32_t i)
{
	const struct board_source *source = source_at(stream, i);

	if (stream->uses[i] != 0 || bus_load_relaxed(&source->state) != BOARD_SOURCE_CLOSED)
		return false;
	/* on disk there are names without end, and this is who was here lately */
	if (stream->disk)
		return spill_disk_kept(stream->disk, i);
	return !(source->flags & BOARD_SOURCE_NAMED) && source->src <= UINT32_MAX - BOARD_SOURCES;
}

/* One that nobody ever had, else the one whose turn it is. -1: all are in use, or named. */
static int find_free(struct stream *stream)
{
	uint32_t i;

	for (i = 0; i < BOARD_SOURCES; i++)
		if (bus_load_relaxed(&source_at(stream, i)->state) == BOARD_SOURCE_FREE)
			return (int)i;
	for (i = 0; i < BOARD_SOURCES; i++) {
		uint32_t at = (stream->hint + i) % BOARD_SOURCES;

		if (!may_be_used_again(stream, at))
			continue;
		stream->hint = at + 1;
		return (int)at;
	}
	return -1;
}

/* Somebody else's from now on, who has come to message `next`. The number of another is never his. */
static void make_new(struct stream *stream, uint32_t i, uint32_t src, uint64_t next)
{
	struct board_source *source = source_at(stream, i);

	thread_lock(stream->topic->busd);
	board_begin_source(source);
	/* the name first: a worker that dies here must not leave it with another's numbers */
	source->flags = 0;
	source->src = src;
	bus_fence_release();
	stream->work.seq.next[i] = next;
	bus_store_relaxed(&source->durable, stream->disk ? next : 0);
	bus_store_relaxed(&source->dropped, 0);
	bus_store_relaxed(&source->drop_from, 0); /* its thread may look: an empty run at any moment */
	bus_store_relaxed(&source->drop_to, 0);
	bus_store_relaxed(&source->drop_gen, 0);
	bus_store_release(&source->taken, next);
	if (stream->disk)
		spill_disk_keep(stream->disk, i, next);
	board_end_source(source);
	thread_unlock(stream->topic->busd);
}

static void describe(struct stream *stream, uint32_t i, const struct job *job, bool named)
{
	struct board_source *source = source_at(stream, i);

	board_begin_source(source);
	source->pid = job->client->pid;
	source->uid = job->client->uid;
	source->pub_id = 0; /* it has none yet */
	source->first_seq = bus_load_relaxed(&source->taken);
	source->opened_ns = bus_realtime_ns();
	memcpy(source->name, job->name, sizeof(source->name));
	bus_fence_release(); /* a worker that dies here leaves no name half written that counts */
	source->flags = named ? BOARD_SOURCE_NAMED : 0;
	board_end_source(source);
	bus_store_release(&source->state, BOARD_SOURCE_OPEN);
	board_raise_sources(&stream->topic->board, i);
}

/* Who publishes under it now; NULL: nobody, any more. */
static struct pub *holder(const struct stream *stream, uint32_t i)
{
	struct busd *busd = stream->topic->busd;
	struct client *client;
	struct pub *pub;

	for_each(client, &busd->clients, link)
		for_each(pub, &client->pubs, client_link)
			if (pub->topic == stream->topic && pub->source == i + 1)
				return pub;
	return NULL;
}

static int wait_for(struct stream *stream, uint32_t i, struct job *job, struct why *why)
{
	struct pub *pub = holder(stream, i);

	if (pub && !client_has_died(pub->client))
		return because(
			why, EBUSY,
			"publisher \"%s\" is open on stream \"%s\" (by %s); close it there, or take another name",
			pub->name, stream->topic->name, client_label(pub->client));
	if (pub)
		client_doom(pub->client, NULL);
	job->source = i + 1;
	job->parked = true;
	job->client->job = job;
	list_append(&stream->parked, &job->link);
	return -EINPROGRESS;
}

/* How many. spare: who has a name is known by it to those who read, as long as there are others. */
static uint32_t mark_taken(const struct stream *stream, uint64_t *taken, bool spare)
{
	uint32_t i, count = 0;

	memset(taken, 0, BOARD_SOURCES / 8);
	for (i = 0; i < BOARD_SOURCES; i++) {
		const struct board_source *source = source_at(stream, i);

		if (bus_load_relaxed(&source->state) == BOARD_SOURCE_FREE ||
		    (may_be_used_again(stream, i) && !(spare && source->flags & BOARD_SOURCE_NAMED)))
			continue;
		taken[i / 64] |= UINT64_C(1) << (i % 64);
		count++;
	}
	return count;
}

/* Those of the stream's writer are on disk, in its time. */
static int ask(struct stream *stream, struct job *job, bool named, struct why *why)
{
	uint64_t taken[BOARD_SOURCES / 64];
	uint32_t count = mark_taken(stream, taken, true);

	if (count == BOARD_SOURCES)
		count = mark_taken(stream, taken, false);
	if (count == BOARD_SOURCES)
		return because(why, EDQUOT, "stream \"%s\" has %d publishers, the most that it may",
			       stream->topic->name, BOARD_SOURCES);
	return stream_ask(stream, job, named, taken, why);
}

static void take(struct stream *stream, uint32_t i, struct job *job, bool named, uint64_t *first_seq)
{
	describe(stream, i, job, named);
	stream->uses[i] = 1; /* the job's, and then its publisher's */
	job->source = i + 1;
	*first_seq = bus_load_relaxed(&source_at(stream, i)->taken);
}

int stream_open_source(struct job *job, bool named, uint64_t *first_seq, struct why *why)
{
	struct stream *stream = job->topic->stream;
	int i = named ? find_named(stream, job->client->uid, job->name) : -1;

	if (i >= 0 && stream->uses[i] != 0)
		return wait_for(stream, (uint32_t)i, job, why);
	if (i < 0 && stream->disk)
		return ask(stream, job, named, why);
	if (i < 0) {
		const struct board_source *source;

		i = find_free(stream);
		if (i < 0)
			return because(
				why, EDQUOT,
				"stream \"%s\" knows %d publishers, open or by name, the most that it may",
				stream->topic->name, BOARD_SOURCES);
		source = source_at(stream, (uint32_t)i);
		make_new(stream, (uint32_t)i,
			 bus_load_relaxed(&source->state) == BOARD_SOURCE_FREE
				 ? (uint32_t)i
				 : source->src + BOARD_SOURCES,
			 named ? 0 : *first_seq);
	}
	take(stream, (uint32_t)i, job, named, first_seq);
	return 0;
}

void stream_unpark(struct job *job)
{
	list_remove(&job->link);
	job->parked = false;
	job->source = 0;
	job->client->job = NULL;
	if (job->ask)
		job->ask->job = NULL;
	job->ask = NULL;
	if (job->position)
		job->position->job = NULL;
	job->position = NULL;
}

static void go_on(struct job *job, int rc, uint64_t first_seq)
{
	struct client *client = job->client;

	if (rc < 0) {
		job->rc = rc;
		job->done(client, job);
	} else {
		job->plan.ring_first_seq = first_seq;
		alloc_build(job);
	}
	request_resume(client);
}

/* What it waited for is in the stream. */
static void begin_again(struct job *job)
{
	uint64_t first_seq = 0;
	int rc;

	stream_unpark(job);
	rc = stream_open_source(job, true, &first_seq, &job->why);
	if (rc != -EINPROGRESS) /* else another one was faster */
		go_on(job, rc, first_seq);
}

/* What the board had free may be somebody's by now. */
void stream_answered(struct job *job, const struct spill_ask *answer)
{
	struct stream *stream = job->topic->stream;
	const uint32_t i = answer->src % BOARD_SOURCES;
	const struct board_source *source = source_at(stream, i);
	const bool named = answer->name[0] != 0;
	uint64_t first_seq = 0;
	int rc = answer->rc;

	stream_unpark(job);
	if (rc < 0) {
		job->why = answer->why;
	} else if (named && find_named(stream, job->client->uid, job->name) >= 0) {
		rc = stream_open_source(job, true, &first_seq, &job->why);
	} else if (bus_load_relaxed(&source->state) == BOARD_SOURCE_FREE ||
		   may_be_used_again(stream, i)) {
		/* one without a name is new, and begins where it likes: it may come from another busd */
		make_new(stream, i, answer->src, named ? answer->next : job->plan.ring_first_seq);
		take(stream, i, job, named, &first_seq);
	} else if (answer->known) {
		rc = because(
			&job->why, EDQUOT,
			"on stream \"%s\" the place of \"%s\" is that of \"%s\" (pid %u) now (of %d, which more names than that share): again when that has gone",
			stream->topic->name, job->name, source->name, source->pid, BOARD_SOURCES);
	} else {
		rc = ask(stream, job, named, &job->why);
	}
	if (rc != -EINPROGRESS)
		go_on(job, rc, first_seq);
}

void stream_number_source(const struct pub *pub)
{
	struct board_source *source = source_at(pub->topic->stream, pub->source - 1);

	board_begin_source(source);
	source->pub_id = pub->id;
	board_end_source(source);
}

void stream_source_is_open(const struct pub *pub)
{
	struct stream *stream = pub->topic->stream;
	struct list waited;
	struct job *job;

	/* aside: one that waits on, for a death, is parked again */
	list_init(&waited);
	for_each(job, &stream->parked, link) {
		if (job->source != pub->source)
			continue;
		list_remove(&job->link);
		list_append(&waited, &job->link);
	}
	while (!list_empty(&waited))
		begin_again(list_entry(waited.next, struct job, link));
}

void stream_hold_source(struct topic *topic, uint32_t source)
{
	topic->stream->uses[source - 1]++;
}

void stream_release_source(struct topic *topic, uint32_t source)
{
	struct stream *stream = topic->stream;
	struct job *job;

	if (--stream->uses[source - 1] > 0)
		return;
	bus_store_release(&source_at(stream, source - 1)->state, BOARD_SOURCE_CLOSED);
	for_each(job, &stream->parked, link) {
		if (job->source != source)
			continue;
		begin_again(job);
		break;
	}
}

void stream_forget_job(struct job *job)
{
	struct topic *topic = job->topic;

	stream_unpark(job);
	job_free(job);
	topic_unpin(topic);
}

void stream_refuse_parked(struct stream *stream)
{
	struct job *job;

	for_each(job, &stream->parked, link) {
		struct client *client = job->client;

		stream_unpark(job);
		job->rc = because(&job->why, ENOENT, "topic \"%s\" was removed at this moment",
				  stream->topic->name);
		job->done(client, job);
		request_resume(client);
	}
}

/* Who was about to come when the former worker died comes again. */
void stream_restore_sources(struct stream *stream)
{
	uint32_t i;

	for (i = 0; i < BOARD_SOURCES; i++) {
		struct board_source *source = source_at(stream, i);

		board_mend_source(source);
		if (stream->uses[i] == 0 && bus_load_relaxed(&source->state) == BOARD_SOURCE_OPEN)
			bus_store_release(&source->state, BOARD_SOURCE_CLOSED);
	}
}

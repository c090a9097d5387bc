/* SPDX-License-Identifier: Apache-2.0 */
/* stream.c - see stream.h: a stream's ring, the rings that are read into it, who reads it. */
#include "stream_internal.h"

#include "change.h"
#include "log.h"
#include "observe.h"
#include "position.h"
#include "record.h"
#include "server.h"
#include "share.h"
#include "user.h"

#include "os/wake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whom to wake: owner of a ring_member. */
struct sleeper {
	struct user *user;
	uint32_t slot;
};

/* ---- waking ---- */

static bool wake_publisher(struct ring_reader *rd)
{
	const struct sleeper *sleeper = rd->owner;

	if (!sleeper->user)
		return false;
	user_ring_bell(sleeper->user, sleeper->slot);
	return true;
}

static bool wake_subscriber(struct ring_pub *pub, struct ring_member *member)
{
	const struct sleeper *sleeper = member->owner;

	(void)pub;
	user_ring_bell(sleeper->user, sleeper->slot);
	return true;
}

static struct ring_member *find_member(struct ring_pub *out, uint64_t sub_id)
{
	uint32_t i;

	for (i = 1; i < out->member_count; i++) /* the first one is the gate */
		if (out->members[i].sub_id == sub_id)
			return &out->members[i];
	return NULL;
}

/* Room for one more, under the lock. */
static struct ring_member *member_place(struct stream *stream)
{
	struct ring_pub *out = &stream->work.seq.out;

	if (out->member_count == stream->member_room) {
		uint32_t room = stream->member_room * 2 + 8;
		struct ring_member *more = realloc(out->members, room * sizeof(*more));

		if (!more)
			return NULL;
		out->members = more;
		stream->member_room = room;
	}
	return &out->members[out->member_count];
}

void stream_add_reader(struct reader *reader)
{
	struct sub *sub = reader->member->sub;
	const struct cursor_segment *cursors = sub->seg->map;
	struct stream *stream = reader->ring->topic->stream;
	struct busd *busd = reader->ring->topic->busd;
	struct ring_member *member = NULL;
	struct sleeper *sleeper = calloc(1, sizeof(*sleeper));

	thread_lock(busd);
	if (sleeper && !find_member(&stream->work.seq.out, sub->id))
		member = member_place(stream);
	if (member) {
		*sleeper = (struct sleeper){ .user = sub->client->user, .slot = sub->client->slot };
		*member = (struct ring_member){ .entry = &cursors->entry[reader->entry],
						.waiting = &cursors->waiting,
						.idle = &cursors->idle,
						.owner = sleeper,
						.sub_id = sub->id };
		stream->work.seq.out.member_count++;
		sleeper = NULL;
	}
	thread_unlock(busd);
	if (!member && sleeper && !find_member(&stream->work.seq.out, sub->id))
		client_doom(sub->client, "busd is out of memory"); /* nobody would wake it */
	free(sleeper);
	if (!reader->told) {
		reader->told = true;
		record_reader(reader);
	}
}

void stream_remove_reader(struct reader *reader)
{
	struct stream *stream = reader->ring->topic->stream;
	struct busd *busd = reader->ring->topic->busd;
	struct ring_pub *out = &stream->work.seq.out;
	struct sleeper *sleeper = NULL;
	struct ring_member *member;

	thread_lock(busd);
	member = find_member(out, reader->member->sub->id);
	if (member) {
		sleeper = member->owner;
		*member = out->members[--out->member_count];
	}
	thread_unlock(busd);
	free(sleeper);
}

/* ---- publishers' rings ---- */

int stream_map_ring(struct ring *ring, struct why *why)
{
	struct feed *feed = calloc(1, sizeof(*feed));
	struct sleeper *sleeper = calloc(1, sizeof(*sleeper));
	int rc = -ENOMEM;

	if (feed && sleeper)
		rc = shm_map_ring_lazily(&feed->map, ring->seg->ro_fd, &ring->seg->info.geometry,
					 false);
	if (rc < 0) {
		free(feed);
		free(sleeper);
		return because(why, -rc, "busd cannot map a ring: %s", strerror(-rc));
	}
	list_init(&feed->link);
	feed->ring = ring;
	feed->in.source = ring->source - 1;
	feed->in.rd.owner = sleeper;
	ring->feed = feed;
	return 0;
}

static const struct board_ring *board_entry(const struct ring *ring)
{
	return (const struct board_ring *)(const void *)((const char *)ring->topic->board.seg->map +
							 BOARD_RINGS_OFF) +
	       ring->board_index;
}

void stream_read_ring(struct reader *reader)
{
	struct ring *ring = reader->ring;
	struct stream *stream = ring->topic->stream;
	struct feed *feed = ring->feed;
	struct sequencer *seq = &stream->work.seq;
	struct sleeper *sleeper = feed->in.rd.owner;
	struct ring_view view;

	ring_view_init(&view, feed->map.base, &ring->seg->info.geometry);
	thread_lock(ring->topic->busd);
	ring_reader_init(&feed->in.rd, &view, ring->id, &stream->work.cursors->entry[reader->entry],
			 &board_entry(ring)->state, BOARD_RING_CLOSED,
			 ring->seg->info.geometry.first_seq);
	feed->in.rd.wake = wake_publisher;
	feed->in.rd.owner = sleeper;
	feed->in.src = seq->sources[feed->in.source].src;
	if (ring->pub)
		*sleeper = (struct sleeper){ .user = ring->pub->client->user,
					     .slot = ring->pub->client->slot };
	feed->before = ring->prev ? ring->prev->feed : NULL;
	if (!feed->before)
		sequencer_begin(seq, &feed->in);
	list_append(&stream->work.feeds, &feed->link);
	thread_unlock(ring->topic->busd);
	client_bell_due(ring->topic->busd->self);
}

/* Its publisher goes: there is nobody to be woken. */
void stream_part(struct ring *ring)
{
	if (!ring->feed)
		return;
	thread_lock(ring->topic->busd);
	*(struct sleeper *)ring->feed->in.rd.owner = (struct sleeper){ .user = NULL };
	thread_unlock(ring->topic->busd);
}

void stream_drop_ring(struct ring *ring)
{
	struct feed *feed = ring->feed;
	struct stream *stream = ring->topic->stream;
	struct feed *other;

	if (!feed)
		return;
	ring->feed = NULL;
	thread_lock(ring->topic->busd);
	list_remove(&feed->link);
	for_each(other, &stream->work.feeds, link) {
		if (other->before != feed)
			continue;
		other->before = NULL;
		sequencer_begin(&stream->work.seq, &other->in);
	}
	thread_unlock(ring->topic->busd);
	client_bell_due(ring->topic->busd->self);
	shm_unmap(&feed->map);
	free(feed->in.rd.owner);
	free(feed);
}

/* ---- making, going on, ending ---- */

static struct pub *new_pub(struct topic *topic)
{
	struct busd *busd = topic->busd;
	struct pub *pub = calloc(1, sizeof(*pub));

	if (!pub)
		return NULL;
	pub->id = busd_new_id(busd);
	if (idmap_put(&busd->pubs_by_id, pub->id, pub) < 0) {
		free(pub);
		return NULL;
	}
	pub->client = busd->self;
	pub->topic = topic;
	pub->settings = topic->settings;
	snprintf(pub->name, sizeof(pub->name), "stream");
	list_init(&pub->topic_link);
	list_append(&busd->self->pubs, &pub->client_link);
	return pub;
}

static int build_cursors(struct topic *topic, struct sub *sub, struct why *why)
{
	size_t size = sizeof(struct cursor_segment) + BOARD_RINGS * sizeof(struct cursor_entry);
	int rc;

	sub->seg = segment_new(busd_new_id(topic->busd));
	if (!sub->seg)
		return because(why, ENOMEM, "busd is out of memory");
	sub->seg->own = true;
	rc = segment_build_own(sub->seg, CTL_SEG_CURSOR, size, why);
	if (rc == 0)
		rc = segment_extend(sub->seg, 0, size, why);
	if (rc < 0)
		return rc;
	sub->seg->info.owner_id = sub->id;
	sub->seg->info.uid = topic->busd->self->uid;
	sub->seg->info.entries = BOARD_RINGS;
	segment_hold(sub->seg);
	return segment_publish(sub->seg, why);
}

static void free_sub(struct sub *sub)
{
	if (!sub)
		return;
	list_remove(&sub->client_link);
	idmap_remove(&sub->client->busd->subs_by_id, sub->id);
	journal_drop(&sub->client->busd->journal, &sub->place);
	segment_unref(sub->seg);
	free(sub->entry);
	free(sub);
}

static struct sub *new_sub(struct topic *topic, struct why *why, int *rc)
{
	struct busd *busd = topic->busd;
	struct sub *sub = calloc(1, sizeof(*sub));

	*rc = because(why, ENOMEM, "busd is out of memory");
	if (!sub)
		return NULL;
	sub->client = busd->self;
	sub->id = busd_new_id(busd);
	list_init(&sub->link);
	list_init(&sub->members);
	list_init(&sub->client_link);
	sub->entries = BOARD_RINGS;
	sub->entry = calloc(sub->entries, sizeof(*sub->entry));
	if (sub->entry && idmap_put(&busd->subs_by_id, sub->id, sub) == 0)
		*rc = build_cursors(topic, sub, why);
	if (*rc < 0) {
		free_sub(sub);
		return NULL;
	}
	memcpy(sub->pattern, topic->name, sizeof(sub->pattern));
	snprintf(sub->name, sizeof(sub->name), "sequencer");
	sub->active = true;
	sub->start = CTL_START_OLDEST;
	sub->node = -1;
	sub->opened_ns = bus_realtime_ns();
	list_append(&busd->self->subs, &sub->client_link);
	record_sub(sub);
	return sub;
}

/* All that a stream needs is there: its sequencer begins, or goes on. place: NULL: in memory. */
static int begin(struct stream *stream, struct stream_place *place, struct why *why)
{
	struct topic *topic = stream->topic;
	struct sequencer *seq = &stream->work.seq;
	struct ring_member *gate;
	struct ring_view view;
	int rc;

	ring_view_init(&view, stream->ring->seg->map, &stream->ring->seg->info.geometry);
	stream->work.cursors = stream->sub->seg->map;
	bus_store_release(&stream->work.cursors->wants_fence, wake_barrier_usable() ? 0 : 1);
	sequencer_restart(seq, &view, stream->ring->id, board_sources(&topic->board), topic->uuid);
	rc = place ? stream_begin_disk(stream, place, why) : 0;
	if (rc < 0)
		return rc;
	gate = member_place(stream);
	if (!gate)
		return because(why, ENOMEM, "busd is out of memory");
	*gate = spill_member(&seq->spill);
	seq->out.member_count = 1;
	seq->out.wake = wake_subscriber;
	thread_lock(topic->busd);
	thread_add(topic->busd, &stream->work);
	thread_unlock(topic->busd);
	return 0;
}

static struct stream *new_stream(struct topic *topic)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->topic = topic;
	list_init(&stream->parked);
	list_init(&stream->holds);
	list_init(&stream->work.feeds);
	list_init(&stream->work.link);
	list_init(&stream->ending);
	return stream;
}

static void announce(struct topic *topic, struct ring *ring)
{
	struct reader *reader;

	sub_announce_ring(ring);
	observe_ring(ring);
	change_begin(topic);
	for_each(reader, &ring->readers, ring_link)
		if (reader->member->sub->active)
			change_add(reader, false);
	change_commit(topic);
}

int stream_make(struct topic *topic, struct segment *seg, struct stream_place *place, struct why *why)
{
	struct stream *stream = new_stream(topic);
	struct member *member;
	int rc = -ENOMEM;

	topic->stream = stream;
	if (stream)
		stream->pub = new_pub(topic);
	if (!stream || !stream->pub)
		return because(why, ENOMEM, "busd is out of memory");
	stream->sub = new_sub(topic, why, &rc);
	if (!stream->sub)
		return rc;
	member = member_new(stream->sub, topic, &rc, why);
	if (!member)
		return rc;
	board_put_sub(member);
	stream->ring = ring_new(stream->pub, segment_ref(seg), &rc, why);
	if (!stream->ring) {
		segment_unref(seg);
		return rc;
	}
	rc = segment_own_ring(seg, why);
	if (rc < 0)
		return rc;
	ring_writer_init(seg->map, seg->info.geometry.first_seq);
	if (place->found)
		bus_store_relaxed(&((struct ring_writer_page *)seg->map)->frontier_pos,
				  place->found->start.pos);
	ring_put(stream->ring);
	stream->pub->ring = stream->ring;
	record_pub(stream->pub);
	board_settings(topic);
	rc = begin(stream, topic->log.sync == CTL_SYNC_MEMORY ? NULL : place, why);
	if (rc < 0)
		return rc;
	announce(topic, stream->ring);
	return 0;
}

static void count_uses(struct stream *stream)
{
	struct topic *topic = stream->topic;
	struct client *client;
	struct ring *ring;
	struct pub *pub;

	for_each(client, &topic->busd->clients, link)
		for_each(pub, &client->pubs, client_link) {
			if (pub->topic != topic || !pub->source)
				continue;
			stream->uses[pub->source - 1]++;
			if (pub->pending) /* of one that is not on the topic's list yet */
				stream->uses[pub->source - 1]++;
		}
	for_each(ring, &topic->rings, link)
		if (ring->source)
			stream->uses[ring->source - 1]++;
	stream_restore_sources(stream);
}

static int read_again(struct stream *stream, struct member *member, struct why *why)
{
	struct reader *reader;
	int rc;

	for_each(reader, &member->readers, member_link) {
		rc = stream_map_ring(reader->ring, why);
		if (rc < 0)
			return rc;
	}
	/* the older of two first: it is the one to be read before */
	for_each(reader, &member->readers, member_link) {
		stream_read_ring(reader);
		if (reader->open)
			share_peer(stream->topic->busd->self, reader->ring->pub->client);
	}
	for_each(reader, &stream->ring->readers, ring_link)
		if (reader->told)
			stream_add_reader(reader);
	return 0;
}

bool stream_restart(struct topic *topic, struct why *why)
{
	struct busd *busd = topic->busd;
	struct stream *stream = new_stream(topic);
	struct stream_place place = { .dir = -1 };
	struct member *member, *own = NULL;
	struct pub *pub;

	if (!stream)
		return because(why, ENOMEM, "busd is out of memory") == 0;
	topic->stream = stream;
	for_each(pub, &busd->self->pubs, client_link)
		if (pub->topic == topic)
			stream->pub = pub;
	for_each(member, &topic->members, topic_link)
		if (client_is_self(member->sub->client))
			own = member;
	if (own)
		stream->sub = own->sub;
	if (stream->pub)
		stream->ring = stream->pub->ring;
	if (!own || (!stream->ring && !topic->removed))
		return because(why, EIO, "a part of it is lost") == 0;
	if (!stream->ring)
		return true; /* it had ended already: its readers read on */
	if (begin(stream, topic->removed || topic->log.sync == CTL_SYNC_MEMORY ? NULL : &place,
		  why) < 0)
		return false;
	/* what is not on disk yet would have numbers that the stream gives again when it is taken up from there */
	if (topic->removed && stream_stays(topic))
		spill_hold(&stream->work.seq.spill, stream->work.seq.out.n, stream->work.seq.out.n,
			   -1);
	count_uses(stream);
	return read_again(stream, own, why) == 0 && position_restore(topic, why) == 0;
}

void stream_free(struct topic *topic)
{
	struct stream *stream = topic->stream;
	struct ring_pub *out;

	if (!stream)
		return;
	out = &stream->work.seq.out;
	thread_lock(topic->busd);
	thread_remove(&stream->work);
	thread_unlock(topic->busd);
	while (out->member_count > 1)
		free(out->members[--out->member_count].owner);
	free(out->members);
	free_sub(stream->sub);
	if (stream->pub) {
		list_remove(&stream->pub->client_link);
		idmap_remove(&topic->busd->pubs_by_id, stream->pub->id);
		journal_drop(&topic->busd->journal, &stream->pub->place);
		free(stream->pub);
	}
	topic->stream = NULL;
	free(stream);
}

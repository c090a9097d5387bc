/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.c - the life of a ring from its publisher's READY until nobody reads or wants it; see
 * registry.h
 */
#include "registry.h"

#include "change.h"
#include "log.h"
#include "namespace.h"
#include "observe.h"
#include "record.h"
#include "server.h"
#include "stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_kept(const struct ring *ring)
{
	return !ring->pub && list_empty(&ring->readers);
}

/* The first of these rings to be closed, until limit_ns; kept: of those that nobody reads. */
static void look_for_oldest(const struct topic *topic, const struct quota_account *account,
			    bool kept, uint64_t limit_ns, struct ring **oldest)
{
	struct ring *ring;

	if (topic_is_stream(topic))
		return; /* those of publishers are read by busd: nobody waits long for that */
	for_each(ring, &topic->rings, link) {
		if (ring->pub || is_kept(ring) != kept || ring->closed_ns > limit_ns ||
		    (account && ring->seg->bill.account != account))
			continue;
		if (!*oldest || ring->closed_ns < (*oldest)->closed_ns)
			*oldest = ring;
	}
}

static void take_away(struct ring *ring, const char *reason)
{
	struct topic *topic = ring->topic;
	struct reader *reader;

	topic_pin(topic);
	for_each(reader, &ring->readers, ring_link) {
		log_warning(
			"%s: \"%s\" of %s loses what it has not read of \"%s\" (pid %u, gone) on \"%s\"",
			reason, reader->member->sub->name, client_label(reader->member->sub->client),
			ring->name, ring->pid, topic->name);
		reader_free(reader, true);
	}
	ring_free(ring);
	topic_unpin(topic);
}

/* The board is full: somebody has not read for a thousand publishers. */
static bool free_on_board(const struct topic *topic)
{
	struct ring *ring = NULL;

	look_for_oldest(topic, NULL, true, UINT64_MAX, &ring);
	if (!ring)
		look_for_oldest(topic, NULL, false, UINT64_MAX, &ring);
	if (ring)
		take_away(ring, "the topic has no room for one more ring");
	return ring != NULL;
}

static bool free_for_room(struct busd *busd, const struct quota_account *account,
			  const struct namespace *space, const char *reason);

/* An index on the board, and one more ring of the topic's namespace. */
static int take_place(struct topic *topic, struct why *why)
{
	int rc = namespace_take_ring(topic->space, why);

	while (rc == -EDQUOT &&
	       free_for_room(topic->busd, NULL, topic->space, "its namespace has too many rings"))
		rc = namespace_take_ring(topic->space, why);
	if (rc < 0)
		return rc;
	rc = board_take_ring(&topic->board, why);
	if (rc == -EDQUOT && free_on_board(topic))
		rc = board_take_ring(&topic->board, why);
	if (rc < 0)
		topic->space->rings--;
	return rc;
}

struct ring *ring_new(struct pub *pub, struct segment *seg, int *rc, struct why *why)
{
	struct busd *busd = pub->topic->busd;
	struct ring *ring = calloc(1, sizeof(*ring));

	if (!ring) {
		*rc = because(why, ENOMEM, "busd is out of memory");
		return NULL;
	}
	*rc = take_place(pub->topic, why);
	if (*rc < 0) {
		free(ring);
		return NULL;
	}
	ring->board_index = (uint32_t)*rc;
	ring->id = busd_new_id(busd);
	*rc = idmap_put(&busd->rings_by_id, ring->id, ring);
	if (*rc < 0) {
		board_give_back_ring(&pub->topic->board, ring->board_index);
		pub->topic->space->rings--;
		free(ring);
		because(why, ENOMEM, "busd is out of memory");
		return NULL;
	}
	ring->topic = pub->topic;
	ring->pub = pub;
	ring->seg = seg;
	seg->info.topic_id = pub->topic->id;
	seg->info.owner_id = ring->id;
	seg->info.uid = pub->client->uid;
	ring->opened_ns = bus_realtime_ns();
	ring->client_id = pub->client->id;
	ring->pub_id = pub->id;
	ring->line = pub->line;
	ring->pid = pub->client->pid;
	ring->uid = pub->client->uid;
	memcpy(ring->name, pub->name, sizeof(ring->name));
	ring->source = pub->source;
	if (ring->source)
		stream_hold_source(ring->topic, ring->source);
	BUS_NEXT(ring->label = pub->label);
	list_init(&ring->link);
	list_init(&ring->readers);
	ring->req = pub->client->begun_req;
	segment_hold(seg);
	record_ring(ring);
	return ring;
}

void ring_put(struct ring *ring)
{
	struct ring *before = ring->pub->ring;

	list_append(&ring->topic->rings, &ring->link);
	ring->topic->ring_count++;
	ring->topic->busd->ring_count++;
	ring->on_board = true;
	if (before) {
		before->next = ring;
		ring->prev = before;
		ring->succeeds = true;
		record_ring(before);
	}
	board_put_ring(ring);
	record_ring(ring);
}

void ring_free(struct ring *ring)
{
	struct topic *topic = ring->topic;
	struct busd *busd = topic->busd;

	assert(list_empty(&ring->readers));
	if (ring->on_board) {
		board_remove_ring(ring);
		list_remove(&ring->link);
		topic->ring_count--;
		busd->ring_count--;
		observe_gone(busd, ring->seg);
	}
	if (ring->next) {
		ring->next->prev = NULL;
		record_ring(ring->next);
	}
	if (ring->prev) {
		ring->prev->next = NULL;
		record_ring(ring->prev);
	}
	journal_drop(&busd->journal, &ring->place);
	board_give_back_ring(&topic->board, ring->board_index);
	topic->space->rings--;
	if (ring->feed)
		stream_drop_ring(ring);
	if (ring->source)
		stream_release_source(topic, ring->source);
	idmap_remove(&busd->rings_by_id, ring->id);
	segment_unref(ring->seg);
	free(ring);
	topic_release(topic);
}

uint64_t ring_head(const struct ring *ring)
{
	const struct ring_writer_page *page = ring->seg->map;
	uint64_t head = bus_load_acquire(&page->head);

	return bus_max_u64(head, ring->seg->info.geometry.first_seq);
}

void ring_close(struct ring *ring, struct ring *next)
{
	struct reader *reader;

	board_close_ring(ring, next ? next->id : 0);
	for_each(reader, &ring->readers, ring_link) {
		reader_part(reader);
		client_bell_due(reader->member->sub->client);
	}
	ring->pub = NULL;
	ring->closed_ns = bus_monotonic_ns();
	record_ring(ring);
	if (ring->feed)
		stream_ring_closed(ring);
	ring_settle(ring);
}

/* What it had published is counted to the end; nothing of its publisher stays but its closing. */
static void close_open(struct ring *ring)
{
	struct pub *pub = ring->pub;

	if (!list_empty(&pub->topic_link))
		ring->topic->pub_count--;
	list_remove(&pub->topic_link);
	pub->ring = NULL;
	record_pub(pub);
	ring_close(ring, NULL);
}

/*
 * NULL: none. Closing one may free others, so each is looked for anew. A stream's own comes last: what
 * its publishers' rings hold goes into it.
 */
static struct ring *find_ending(const struct topic *topic)
{
	struct ring *ring, *last = NULL;

	for_each(ring, &topic->rings, link) {
		if (!ring->pub || (!topic->removed && !board_ring_ends(ring)))
			continue;
		if (!ring_is_stream(ring))
			return ring;
		last = ring;
	}
	return last;
}

void ring_end_told(struct topic *topic)
{
	struct ring *ring = find_ending(topic);

	if (!ring)
		return;
	topic_pin(topic);
	for (; ring; ring = find_ending(topic)) {
		if (ring_is_stream(ring))
			stream_finish(topic);
		close_open(ring);
	}
	topic_unpin(topic);
}

/* Who is not back from a former worker finds on the board what it has to know. */
static void tell_now(struct topic *topic)
{
	change_begin(topic);
	change_commit(topic);
	if (topic->owed)
		change_raise(topic);
}

/*
 * The order is what makes a send that returned 0 a message that is read (docs/memory-model.md, "A
 * ring that is ended under its publisher"): that it ends, then the epoch, fence and membarrier of
 * change_raise(), and only then that it is closed. A worker that dies in between leaves ENDING on
 * the board, and the next one goes on from there.
 */
void ring_end_open(struct topic *topic, struct pub *only)
{
	struct ring *ring;

	topic_pin(topic);
	for_each(ring, &topic->rings, link)
		if (ring->pub && (!only || ring->pub == only))
			board_end_ring(ring);
	tell_now(topic);
	ring_end_told(topic);
	tell_now(topic); /* a library that knows nothing of ENDING looks for CLOSED only */
	topic_unpin(topic);
}

void ring_settle(struct ring *ring)
{
	struct topic *topic = ring->topic;
	struct busd *busd = topic->busd;
	uint32_t limit = topic->explicit_ ? busd->config->keep_rings : 1;
	uint32_t kept = 0;
	struct ring *each;

	if (!is_kept(ring))
		return;
	/* what was on a publisher's ring of a stream is in the stream */
	if (topic->removed || topic_is_stream(topic) ||
	    ring_head(ring) == ring->seg->info.geometry.first_seq) {
		ring_free(ring);
		return;
	}
	for_each(each, &topic->rings, link)
		kept += is_kept(each);
	topic_pin(topic);
	for_each(each, &topic->rings, link) {
		if (kept <= limit)
			break;
		if (!is_kept(each))
			continue;
		ring_free(each);
		kept--;
	}
	topic_unpin(topic);
	if (kept > 0 && !topic->explicit_)
		server_set_deadline(busd, TIMER_KEPT,
				    bus_monotonic_ns() + busd->config->keep_time_ns);
}

void ring_free_expired(struct busd *busd)
{
	uint64_t now_ns = bus_monotonic_ns();
	uint64_t next_ns = 0;
	size_t i;

	/* from the end: a topic that goes with its last ring moves only those behind it */
	for (i = busd->topic_count; i > 0; i--) {
		struct topic *topic = busd->topics[i - 1];
		struct ring *ring;

		if (topic->explicit_)
			continue;
		topic_pin(topic);
		for_each(ring, &topic->rings, link) {
			uint64_t end_ns = ring->closed_ns + busd->config->keep_time_ns;

			if (!is_kept(ring))
				continue;
			if (end_ns <= now_ns)
				ring_free(ring);
			else if (next_ns == 0 || end_ns < next_ns)
				next_ns = end_ns;
		}
		topic_unpin(topic);
	}
	if (next_ns)
		server_set_deadline(busd, TIMER_KEPT, next_ns);
}

/* account, space: only their rings, where they are not NULL. */
static bool free_for_room(struct busd *busd, const struct quota_account *account,
			  const struct namespace *space, const char *reason)
{
	uint64_t now_ns = bus_monotonic_ns();
	uint64_t patience_ns = now_ns - bus_min_u64(now_ns, busd->config->keep_time_ns);
	struct ring *ring = NULL;
	size_t i;

	for (i = 0; i < busd->topic_count; i++)
		if (!space || busd->topics[i]->space == space)
			look_for_oldest(busd->topics[i], account, true, UINT64_MAX, &ring);
	/* what is still being read only after a while */
	for (i = 0; !ring && i < busd->topic_count; i++)
		if (!space || busd->topics[i]->space == space)
			look_for_oldest(busd->topics[i], account, false, patience_ns, &ring);
	if (!ring)
		return false;
	take_away(ring, reason);
	return true;
}

int ring_charge(struct busd *busd, const struct quota_bill *bill, struct why *why)
{
	int rc = quota_charge(bill, why);

	while (rc == -EDQUOT) {
		bool by_space = bill->space && !namespace_has_room(bill->space, bill->bytes);
		/* for who runs busd it is the total that is short, whoever takes it up */
		bool anybody = by_space || bill->account->owner;

		if (!free_for_room(busd, anybody ? NULL : bill->account,
				   by_space ? bill->space : NULL, "memory is short"))
			break;
		rc = quota_charge(bill, why);
	}
	return rc;
}

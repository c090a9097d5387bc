/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evict.c - taking the gate from a reliable subscription that stands still. The publisher says
 * that it is blocked; that the slowest reader does not move is what busd sees itself, twice, with
 * the grace between. A cursor that runs backwards or ahead is what the publisher sees: it says so,
 * and waits for it no longer.
 */
#include "pub.h"

#include "change.h"
#include "log.h"
#include "record.h"
#include "stream.h"

#include <errno.h>
#include <sys/mman.h>

/* Where the reader stands in its ring; UINT64_MAX: it does not gate (parked, or it wrote nonsense, which its publisher
 * ignores as well). Its words are hostile: each is read once. */
static uint64_t position(const struct reader *reader, uint64_t head)
{
	const struct cursor_segment *page = reader->member->sub->seg->map;
	const struct cursor_entry *entry = &page->entry[reader->entry];
	const struct ring_writer_page *writer = reader->ring->seg->map;
	/* nothing below it is in this ring */
	uint64_t said = bus_load_acquire(&writer->begin_seq);
	uint64_t begin = said == 0 ? 0 : bus_min_u64(said - 1, head);
	uint64_t cursor;

	if (bus_load_acquire(&entry->ring_id) != reader->ring->id)
		return bus_max_u64(reader->start, begin);
	cursor = bus_load_acquire(&entry->cursor);
	return cursor > head ? UINT64_MAX : bus_max_u64(cursor, begin);
}

static struct reader *slowest(struct ring *ring, uint64_t head, uint64_t *at)
{
	struct reader *found = NULL;
	struct reader *reader;

	*at = UINT64_MAX;
	for_each(reader, &ring->readers, ring_link) {
		uint64_t here;

		/* busd is waited for: what it has not taken would be missing in the stream */
		if (!reader->told || !reader_gates(reader) ||
		    client_is_self(reader->member->sub->client))
			continue;
		here = position(reader, head);
		if (here < *at) {
			*at = here;
			found = reader;
		}
	}
	return found;
}

/*
 * From this ring only: what a publisher says of its own ring may cost a subscription its place
 * there, and nowhere else.
 */
static void evict(struct reader *reader)
{
	struct member *member = reader->member;
	struct topic *topic = member->topic;

	topic->busd->evictions++;
	reader->evicted = true;
	reader->stuck_since = 0;
	member->evictions++;
	/* a worker that comes next has publishers look again: they are told of this by it, if not by us */
	topic->owed = true;
	record_topic(topic);
	record_reader(reader);
	record_member(member);
	record_busd(topic->busd);
	record_commit(topic->busd);
	/* first: a reader that is overwritten from now on must be able to see why */
	board_count_eviction(member);
	change_begin(topic);
	change_add(reader, false);
	change_commit(topic);
	client_bell_due(member->sub->client);
	client_ring_bells(topic->busd);
}

/*
 * Is there a message where the reader stands? A publisher may say that its ring is full, and have
 * published nothing: then whoever waits for a message stands still too.
 */
static bool has_message(const struct ring *ring, uint64_t at)
{
	const struct ring_geometry *geo = &ring->seg->info.geometry;
	uint64_t off = geo->slots_off + (at & (geo->slots - 1)) * RING_SLOT_BYTES;
	uint64_t begin = off & ~((uint64_t)ring->seg->page - 1);
	const char *map =
		mmap(NULL, ring->seg->page, PROT_READ, MAP_SHARED, ring->seg->ro_fd, (off_t)begin);
	const struct ring_slot *slot;
	uint64_t commit;

	if (map == MAP_FAILED)
		return true; /* who asks shall not wait because busd is short of memory */
	slot = (const struct ring_slot *)(const void *)(map + (off - begin));
	commit = bus_load_acquire(&slot->commit);
	munmap((void *)(uintptr_t)map, ring->seg->page);
	return commit > at;
}

void pub_reader_lies(struct client *client, uint64_t ring_id, uint64_t sub_id)
{
	struct ring *ring = idmap_get(&client->busd->rings_by_id, ring_id);
	struct reader *reader;

	if (!ring || !ring->pub || ring->pub->client != client)
		return; /* it closed it at the same moment */
	for_each(reader, &ring->readers, ring_link) {
		const struct sub *sub = reader->member->sub;
		const struct cursor_segment *page = sub->seg->map;

		if (sub->id != sub_id || !reader->told || !reader_gates(reader) ||
		    client_is_self(sub->client))
			continue;
		if (user_may_log(sub->client->user))
			log_warning("evicted: subscription \"%s\" of %s on topic \"%s\": its cursor (%llu) runs backwards, or "
				    "ahead of \"%s\" (pid %u, %llu messages)",
				    sub->name, client_label(sub->client), ring->topic->name,
				    (unsigned long long)bus_load_acquire(
					    &page->entry[reader->entry].cursor),
				    ring->name, ring->pid, (unsigned long long)ring_head(ring));
		evict(reader);
		return;
	}
}

/*
 * Readers that stand where the slowest stands hold the ring up as much as it does; others start
 * anew when it is gone. Who has read everything holds nobody up, and the time that it stood there
 * does not count later.
 */
static void note_stuck(struct ring *ring, uint64_t head, uint64_t at, uint64_t now_ns)
{
	struct reader *reader;

	for_each(reader, &ring->readers, ring_link) {
		bool here = at < head && reader->told && reader_gates(reader) &&
			    position(reader, head) == at;

		if (!here)
			reader->stuck_since = 0;
		else if (reader->stuck_since == 0 || reader->stuck_at != at) {
			reader->stuck_since = now_ns;
			/* perhaps it was not woken: its publisher may not want it to be */
			client_bell_due(reader->member->sub->client);
		}
		reader->stuck_at = at;
	}
}

int pub_evict(struct client *client, const void *msg, struct why *why)
{
	const struct ctl_evict *ask = msg;
	struct pub *pub = pub_of(client, ask->pub_id, why);
	uint64_t grace_ns = bus_max_u64(ask->grace_ns, client->busd->config->evict_floor_ns);
	struct ctl_evict_reply reply = { .head = { .type = CTL_REPLY | CTL_EVICT,
						   .version = CTL_VERSION,
						   .len = sizeof(reply),
						   .req = ask->head.req } };
	uint64_t now_ns = bus_monotonic_ns();
	struct reader *reader;
	uint64_t head, at;

	if (!pub)
		return -ENOENT;
	if (topic_is_stream(pub->topic))
		reply.again_ns = grace_ns;
	if (!pub->ring || pub->ring->id != ask->ring_id)
		return because(why, EINVAL, "ring %llu is not the present one of publisher %llu",
			       (unsigned long long)ask->ring_id, (unsigned long long)pub->id);
	head = ring_head(pub->ring);
	reader = slowest(pub->ring, head, &at);
	if (reader) {
		uint64_t waited_ns;

		note_stuck(pub->ring, head, at, now_ns);
		waited_ns = now_ns - reader->stuck_since;
		if (at == head || waited_ns < grace_ns) {
			reply.again_ns = at == head ? grace_ns : grace_ns - waited_ns;
		} else if (!has_message(pub->ring, at)) {
			reply.again_ns = grace_ns;
			if (user_may_log(client->user))
				log_warning("publisher \"%s\" of %s on \"%s\" says that it is blocked, and has published nothing that "
					    "could be read",
					    pub->name, client_label(client), pub->topic->name);
		} else {
			const struct sub *sub = reader->member->sub;

			reply.evicted_sub = sub->id;
			log_warning(
				"evicted: subscription \"%s\" of %s on topic \"%s\", %llu messages behind \"%s\" (pid %u) and not moving",
				sub->name, client_label(sub->client), pub->topic->name,
				(unsigned long long)(head - at), pub->ring->name, pub->ring->pid);
			evict(reader);
			reply.again_ns = slowest(pub->ring, head, &at) ? grace_ns : 0;
		}
	}
	client_reply(client, &reply, NULL, 0);
	return 0;
}

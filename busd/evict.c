/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evict.c - taking the gate from a reliable subscription that stands still. The publisher says
 * that it is blocked; that the slowest reader does not move is what busd sees itself, twice, with
 * the grace between.
 */
#include "pub.h"

#include "change.h"
#include "log.h"
#include "record.h"

#include <errno.h>

/* Where the reader stands in its ring; UINT64_MAX: it does not gate (parked, or it wrote nonsense, which its publisher
 * ignores as well). Its words are hostile: each is read once. */
static uint64_t position(const struct reader *reader, uint64_t head)
{
	const struct cursor_segment *page = reader->member->sub->seg->map;
	const struct cursor_entry *entry = &page->entry[reader->entry];
	uint64_t cursor;

	if (bus_load_acquire(&entry->ring_id) != reader->ring->id)
		return reader->start;
	cursor = bus_load_acquire(&entry->cursor);
	return cursor > head ? UINT64_MAX : cursor;
}

static struct reader *slowest(struct ring *ring, uint64_t head, uint64_t *at)
{
	struct reader *found = NULL;
	struct reader *reader;

	*at = UINT64_MAX;
	for_each(reader, &ring->readers, ring_link) {
		uint64_t here;

		if (!reader->told || !member_gates(reader->member))
			continue;
		here = position(reader, head);
		if (here < *at) {
			*at = here;
			found = reader;
		}
	}
	return found;
}

static void evict(struct reader *reader, uint64_t head, uint64_t at)
{
	struct member *member = reader->member;
	struct topic *topic = member->topic;
	const struct sub *sub = member->sub;
	struct reader *each;

	log_warning("evicted: subscription \"%s\" of %s on topic \"%s\", %llu messages behind \"%s\" (pid %u) and not moving",
		    sub->name, client_label(sub->client), topic->name,
		    (unsigned long long)(head - at), reader->ring->name, reader->ring->pid);
	topic->busd->evictions++;
	member->evicted = true;
	member->evictions++;
	record_member(member);
	record_busd(topic->busd);
	record_commit(topic->busd);
	/* first: a reader that is overwritten from now on must be able to see why */
	board_count_eviction(member);
	change_begin(topic);
	for_each(each, &member->readers, member_link) {
		each->stuck_since = 0;
		if (each->ring->pub && each->told)
			change_add(each, false);
	}
	change_commit(topic);
	client_bell_due(sub->client);
	client_ring_bells(topic->busd);
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
		bool here = at < head && reader->told && member_gates(reader->member) &&
			    position(reader, head) == at;

		if (!here)
			reader->stuck_since = 0;
		else if (reader->stuck_since == 0 || reader->stuck_at != at)
			reader->stuck_since = now_ns;
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
		} else {
			reply.evicted_sub = reader->member->sub->id;
			evict(reader, head, at);
			reply.again_ns = slowest(pub->ring, head, &at) ? grace_ns : 0;
		}
	}
	client_reply(client, &reply, NULL, 0);
	return 0;
}

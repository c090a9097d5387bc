/* SPDX-License-Identifier: Apache-2.0 */
/* board.c - see board.h. The one writer of boards. */
#include "board.h"

#include "stream_internal.h"

#include <errno.h>
#include <string.h>

static struct board_head *head_of(const struct board *board)
{
	return board->seg->map;
}

static struct board_ring *ring_entry(const struct board *board, uint32_t index)
{
	return (struct board_ring *)((char *)board->seg->map + BOARD_RINGS_OFF) + index;
}

static struct board_sub *sub_entry(const struct board *board, uint32_t index)
{
	return (struct board_sub *)((char *)board->seg->map + BOARD_SUBS_OFF) + index;
}

/*
 * Seqlock: odd while the descriptive fields change. The fences are what a reader's two loads of
 * gen pair with.
 */
static void begin_change(_Atomic uint32_t *gen)
{
	bus_store_relaxed(gen, bus_load_relaxed(gen) + 1);
	bus_fence_release();
}

static void end_change(_Atomic uint32_t *gen)
{
	bus_store_release(gen, bus_load_relaxed(gen) + 1);
}

void board_calibrate(struct board *board, const struct bus_calibration *cal)
{
	struct board_head *head = head_of(board);

	begin_change(&head->cal_gen);
	bus_store_relaxed(&head->cal_base_counter, cal->base_counter);
	bus_store_relaxed(&head->cal_base_ns, cal->base_ns);
	bus_store_relaxed(&head->cal_mult, cal->mult);
	end_change(&head->cal_gen);
}

void board_settings(struct topic *topic)
{
	struct board_head *head = head_of(&topic->board);

	head->slots = topic->settings.slots;
	head->numa = topic->settings.numa;
	head->bytes = topic->settings.bytes;
	head->max_bytes = topic->settings.max_bytes;
	head->flags =
		(topic->explicit_ ? BOARD_TOPIC_EXPLICIT : 0) |
		(topic->removed ? BOARD_TOPIC_REMOVED : 0) |
		(topic_is_stream(topic) ? BOARD_TOPIC_STREAM : 0) |
		(topic_is_stream(topic) && topic->log.sync != CTL_SYNC_MEMORY ? BOARD_TOPIC_DISK : 0) |
		(topic->settings.flags & (CTL_TOPIC_HUGE | CTL_TOPIC_HUGE_OR_NOT) ? BOARD_TOPIC_HUGE
										  : 0);
	head->stream_ring = topic->stream && topic->stream->ring ? topic->stream->ring->id : 0;
	head->stream_slots = topic->stream_slots;
	head->stream_bytes = topic->stream_bytes;
}

/* A text that its writer changes; cut to what it was where that takes too long. */
static void read_text(const struct board_log *log, const char *from, char *to, size_t size)
{
	int i;

	for (i = 0; i < BOARD_RETRIES; i++) {
		const uint32_t gen = bus_load_acquire(&log->gen);

		memcpy(to, from, size);
		bus_fence_acquire();
		if (gen % 2 == 0 && bus_load_relaxed(&log->gen) == gen)
			break;
	}
	to[size - 1] = 0;
}

void board_read_log(const struct board *board, struct ctl_log_info *ret)
{
	const struct board_head *head = board->seg->map;
	const struct board_log *log = &head->log;

	ret->durable_seq = bus_load_acquire(&head->durable_seq);
	ret->spilled_seq = bus_load_relaxed(&head->spilled_seq);
	ret->oldest_seq = bus_load_relaxed(&log->oldest_seq);
	ret->disk_bytes = bus_load_relaxed(&log->disk_bytes);
	ret->segments = bus_load_relaxed(&log->segments);
	ret->lag_bytes = bus_load_relaxed(&log->lag_bytes);
	ret->errors = bus_load_relaxed(&log->errors);
	ret->full = bus_load_relaxed(&log->full);
	ret->lost = bus_load_relaxed(&log->lost);
	ret->dropped = bus_load_relaxed(&log->dropped);
	ret->state = bus_load_relaxed(&log->state);
	read_text(log, log->io, ret->io, sizeof(ret->io));
	read_text(log, log->io_why, ret->io_why, sizeof(ret->io_why));
	read_text(log, log->why, ret->why, sizeof(ret->why));
}

void board_begin_source(struct board_source *source)
{
	begin_change(&source->gen);
}

void board_end_source(struct board_source *source)
{
	end_change(&source->gen);
}

struct board_source *board_sources(const struct board *board)
{
	return (struct board_source *)(void *)((char *)board->seg->map + BOARD_SOURCES_OFF);
}

/* Also on a board that an older worker made. */
static void put_busd(struct board_head *head, const struct busd *busd)
{
	head->busd_started_ns = busd->started_ns;
	head->busd_pid = busd->pid;
	memcpy(head->busd_socket, busd->socket_real, sizeof(head->busd_socket));
}

int board_make(struct topic *topic, const struct bus_calibration *cal, struct why *why)
{
	size_t sources = topic_is_stream(topic) ? BOARD_STREAM_SIZE - BOARD_SOURCES_OFF : 0;
	/* busd keeps the writable descriptor beside the other one */
	const struct quota_bill bill = { .account = topic->account,
					 .space = topic->space,
					 .bytes = BOARD_HEAD + sources,
					 .files = 2 };
	struct segment *seg = segment_new(busd_new_id(topic->busd));
	struct board_head *head;
	int rc;

	if (!seg)
		return because(why, ENOMEM, "busd is out of memory");
	rc = ring_charge(topic->busd, &bill, why);
	if (rc == 0) {
		seg->bill = bill;
		rc = segment_build_own(seg, CTL_SEG_BOARD, BOARD_SIZE + sources, why);
	}
	if (rc == 0)
		rc = segment_extend(seg, 0, BOARD_HEAD, why);
	if (rc == 0 && sources)
		rc = segment_extend(seg, BOARD_SOURCES_OFF, sources, why);
	if (rc == 0)
		rc = segment_publish(seg, why);
	if (rc < 0) {
		segment_unref(seg);
		return rc;
	}
	seg->info.topic_id = topic->id;
	seg->info.uid = topic->account->uid;
	topic->board.seg = seg;
	head = head_of(&topic->board);
	head->magic = BOARD_MAGIC;
	head->version = BOARD_VERSION;
	head->features = topic_is_stream(topic) ? BOARD_FEATURE_STREAM : 0;
	head->topic_id = topic->id;
	head->created_ns = topic->created_ns;
	memcpy(head->stream_uuid, topic->uuid, sizeof(head->stream_uuid));
	snprintf(head->topic, sizeof(head->topic), "%s", topic->name);
	put_busd(head, topic->busd);
	board_settings(topic);
	board_calibrate(&topic->board, cal);
	return 0;
}

void board_free(struct board *board)
{
	segment_unref(board->seg);
	board->seg = NULL;
}

/* The lowest free entry of a table, its page allocated. */
static int take(struct board *board, uint64_t *taken, uint64_t *pages, uint32_t limit, size_t off,
		size_t size, struct why *why)
{
	uint32_t i = 0;
	size_t page;

	while (i < limit / 64 && taken[i] == UINT64_MAX)
		i++;
	if (i == limit / 64)
		return -EDQUOT;
	i = i * 64 + (uint32_t)__builtin_ctzll(~taken[i]);
	page = i * size / 4096;
	if (!(pages[page / 64] >> (page % 64) & 1)) {
		int rc = segment_extend(board->seg, off + page * 4096, 4096, why);

		if (rc < 0)
			return rc;
		pages[page / 64] |= UINT64_C(1) << (page % 64);
		quota_correct(&board->seg->bill, 4096);
	}
	taken[i / 64] |= UINT64_C(1) << (i % 64);
	return (int)i;
}

static void raise_mark(_Atomic uint32_t *mark, uint32_t index)
{
	if (bus_load_relaxed(mark) <= index)
		bus_store_release(mark, index + 1);
}

void board_raise_sources(struct board *board, uint32_t index)
{
	raise_mark(&head_of(board)->sources_used, index);
}

int board_take_ring(struct board *board, struct why *why)
{
	int rc = take(board, board->rings_taken, board->ring_pages, BOARD_RINGS, BOARD_RINGS_OFF,
		      sizeof(struct board_ring), why);

	if (rc == -EDQUOT)
		return because(
			why, EDQUOT,
			"the topic has %d rings, the most that one topic may have; close publishers",
			BOARD_RINGS);
	return rc;
}

int board_take_sub(struct board *board, struct why *why)
{
	int rc = take(board, board->subs_taken, board->sub_pages, BOARD_SUBS, BOARD_SUBS_OFF,
		      sizeof(struct board_sub), why);

	if (rc == -EDQUOT)
		return because(
			why, EDQUOT,
			"the topic has %d subscriptions, the most that one topic may have; close some",
			BOARD_SUBS);
	return rc;
}

void board_give_back_ring(struct board *board, uint32_t index)
{
	board->rings_taken[index / 64] &= ~(UINT64_C(1) << (index % 64));
}

void board_give_back_sub(struct board *board, uint32_t index)
{
	board->subs_taken[index / 64] &= ~(UINT64_C(1) << (index % 64));
}

static void put_file(struct board_ring *entry, const struct ring *ring)
{
	const struct ring_geometry *geo = &ring->seg->info.geometry;

	entry->inode = segment_inode(ring->seg);
	entry->slots_off = geo->slots_off;
	entry->payload_off = geo->payload_off;
	entry->features = geo->features;
}

static void put_cursors(struct board_sub *entry, const struct sub *sub)
{
	entry->inode = segment_inode(sub->seg);
	entry->entries = sub->entries;
}

void board_put_ring(struct ring *ring)
{
	struct board *board = &ring->topic->board;
	struct board_ring *entry = ring_entry(board, ring->board_index);
	const struct ring_geometry *geo = &ring->seg->info.geometry;

	begin_change(&entry->gen);
	bus_store_relaxed(&entry->ring_id, ring->id);
	bus_store_relaxed(&entry->next_ring, 0);
	entry->client_id = ring->client_id;
	entry->pub_id = ring->pub_id;
	entry->segment_id = ring->seg->info.segment_id;
	entry->first_seq = geo->first_seq;
	entry->opened_ns = ring->opened_ns;
	entry->pid = ring->pid;
	entry->uid = ring->uid;
	entry->slots = geo->slots;
	entry->page_kib = (uint32_t)(ring->seg->page / 1024);
	entry->bytes = geo->bytes;
	memcpy(entry->node_pages, ring->seg->node_pages, sizeof(entry->node_pages));
	memcpy(entry->name, ring->name, sizeof(entry->name));
	put_file(entry, ring);
	end_change(&entry->gen);
	bus_store_release(&entry->state, BOARD_RING_OPEN);
	raise_mark(&head_of(board)->rings_used, ring->board_index);
}

void board_close_ring(struct ring *ring, uint64_t next)
{
	struct board_ring *entry = ring_entry(&ring->topic->board, ring->board_index);

	bus_store_release(&entry->next_ring,
			  next); /* before the state: who sees CLOSED sees what follows */
	bus_store_release(&entry->state, BOARD_RING_CLOSED);
}

void board_end_ring(struct ring *ring)
{
	struct board_ring *entry = ring_entry(&ring->topic->board, ring->board_index);

	if (bus_load_relaxed(&entry->state) == BOARD_RING_OPEN)
		bus_store_release(&entry->state, BOARD_RING_ENDING);
}

bool board_ring_ends(const struct ring *ring)
{
	return bus_load_relaxed(&ring_entry(&ring->topic->board, ring->board_index)->state) ==
	       BOARD_RING_ENDING;
}

void board_remove_ring(struct ring *ring)
{
	struct board *board = &ring->topic->board;
	struct board_ring *entry = ring_entry(board, ring->board_index);
	struct board_head *head = head_of(board);
	const struct ring_writer_page *page = ring->seg->map;
	uint64_t count = ring_head(ring) - ring->seg->info.geometry.first_seq;

	bus_store_relaxed(&head->past_messages, bus_load_relaxed(&head->past_messages) + count);
	bus_store_relaxed(&head->past_bytes,
			  bus_load_relaxed(&head->past_bytes) + bus_load_relaxed(&page->bytes));
	begin_change(&entry->gen);
	bus_store_release(&entry->state, BOARD_RING_FREE);
	bus_store_relaxed(&entry->ring_id, 0);
	end_change(&entry->gen);
}

void board_put_sub(struct member *member)
{
	struct board *board = &member->topic->board;
	struct board_sub *entry = sub_entry(board, member->board_index);
	const struct sub *sub = member->sub;

	begin_change(&entry->gen);
	bus_store_relaxed(&entry->sub_id, sub->id);
	bus_store_relaxed(&entry->evicted, 0);
	entry->client_id = sub->client->id;
	entry->segment_id = sub->seg->info.segment_id;
	entry->opened_ns = sub->opened_ns;
	entry->pid = sub->client->pid;
	entry->uid = sub->client->uid;
	entry->flags = sub->flags;
	entry->node = sub->node;
	memcpy(entry->name, sub->name, sizeof(entry->name));
	/* the last byte stays 0 */
	memcpy(entry->pattern, sub->pattern, sizeof(entry->pattern) - 1);
	put_cursors(entry, sub);
	end_change(&entry->gen);
	bus_store_release(&entry->state, BOARD_SUB_ACTIVE);
	raise_mark(&head_of(board)->subs_used, member->board_index);
}

void board_remove_sub(struct member *member)
{
	struct board_sub *entry = sub_entry(&member->topic->board, member->board_index);

	begin_change(&entry->gen);
	bus_store_release(&entry->state, BOARD_SUB_FREE);
	bus_store_relaxed(&entry->sub_id, 0);
	end_change(&entry->gen);
}

void board_count_eviction(struct member *member)
{
	struct board_sub *entry = sub_entry(&member->topic->board, member->board_index);

	bus_store_release(&entry->evicted, bus_load_relaxed(&entry->evicted) + 1);
}

void board_set_epoch(struct board *board, uint64_t number, bool changed)
{
	if (changed)
		bus_store_relaxed(&head_of(board)->changed, number);
	bus_store_release(&head_of(board)->epoch, number);
}

/* The page of an entry that was ever in use has been allocated, and is paid for. */
static void retake_page(struct board *board, uint64_t *pages, uint32_t index, size_t size)
{
	size_t page = index * size / 4096;

	if (pages[page / 64] >> (page % 64) & 1)
		return;
	pages[page / 64] |= UINT64_C(1) << (page % 64);
	if (board->seg->bill.account)
		quota_correct(&board->seg->bill, 4096);
}

void board_retake_ring(struct board *board, uint32_t index)
{
	board->rings_taken[index / 64] |= UINT64_C(1) << (index % 64);
	retake_page(board, board->ring_pages, index, sizeof(struct board_ring));
}

void board_retake_sub(struct board *board, uint32_t index)
{
	board->subs_taken[index / 64] |= UINT64_C(1) << (index % 64);
	retake_page(board, board->sub_pages, index, sizeof(struct board_sub));
}

/* A worker that died while it wrote left it odd. */
static void make_even(_Atomic uint32_t *gen)
{
	if (bus_load_relaxed(gen) % 2)
		bus_store_release(gen, bus_load_relaxed(gen) + 1);
}

void board_mend_source(struct board_source *source)
{
	make_even(&source->gen);
}

static void restore_ring(struct ring *ring)
{
	struct board_ring *entry = ring_entry(&ring->topic->board, ring->board_index);

	make_even(&entry->gen);
	if (bus_load_relaxed(&entry->ring_id) != ring->id ||
	    bus_load_relaxed(&entry->state) == BOARD_RING_FREE)
		board_put_ring(ring);
	if (entry->inode == 0) { /* an older worker did not say */
		begin_change(&entry->gen);
		put_file(entry, ring);
		end_change(&entry->gen);
	}
	if (!ring->pub)
		board_close_ring(ring,
				 ring->next ? ring->next->id : bus_load_relaxed(&entry->next_ring));
	else if (ring->topic->removed)
		board_end_ring(ring);
}

static void restore_sub(struct member *member)
{
	struct board_sub *entry = sub_entry(&member->topic->board, member->board_index);
	uint64_t evicted = bus_load_relaxed(&entry->evicted);
	bool there = bus_load_relaxed(&entry->sub_id) == member->sub->id &&
		     bus_load_relaxed(&entry->state) == BOARD_SUB_ACTIVE;

	make_even(&entry->gen);
	if (!there)
		board_put_sub(member);
	if (entry->inode == 0) {
		begin_change(&entry->gen);
		put_cursors(entry, member->sub);
		end_change(&entry->gen);
	}
	/* counted before its eviction was, or the other way round */
	bus_store_release(&entry->evicted, bus_max_u64(there ? evicted : 0, member->evictions));
	member->evictions = bus_load_relaxed(&entry->evicted);
}

uint64_t board_restore(struct topic *topic)
{
	struct board *board = &topic->board;
	struct board_head *head = head_of(board);
	struct member *member;
	struct ring *ring;
	uint32_t i;

	for_each(ring, &topic->rings, link)
		restore_ring(ring);
	for_each(member, &topic->members, topic_link)
		if (member->sub->active)
			restore_sub(member);
	for (i = 0; i < bus_load_relaxed(&head->rings_used) && i < BOARD_RINGS; i++) {
		struct board_ring *entry = ring_entry(board, i);

		retake_page(board, board->ring_pages, i, sizeof(*entry));
		if (board->rings_taken[i / 64] >> (i % 64) & 1)
			continue;
		make_even(&entry->gen);
		bus_store_release(&entry->state, BOARD_RING_FREE);
		bus_store_relaxed(&entry->ring_id, 0);
	}
	for (i = 0; i < bus_load_relaxed(&head->subs_used) && i < BOARD_SUBS; i++) {
		struct board_sub *entry = sub_entry(board, i);

		retake_page(board, board->sub_pages, i, sizeof(*entry));
		if (board->subs_taken[i / 64] >> (i % 64) & 1)
			continue;
		make_even(&entry->gen);
		bus_store_release(&entry->state, BOARD_SUB_FREE);
		bus_store_relaxed(&entry->sub_id, 0);
	}
	make_even(&head->cal_gen);
	put_busd(head, topic->busd);
	board_settings(topic); /* a removal may have been under way */
	return bus_load_relaxed(&head->epoch);
}

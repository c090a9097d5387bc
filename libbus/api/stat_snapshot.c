/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_snapshot.c - one topic as struct bus_stat_topic: what its board says, what its rings' writer
 * pages say, and how far each reader is behind each ring. Called by stat.c and by unit tests. Reads
 * shared memory, writes none of it, makes no system call but for memory.
 *
 * Nothing is locked, so a snapshot is no instant. What is compared is read close together and in
 * the order that errs on the harmless side: a ring's head before a reader's cursor, so that a
 * reader that keeps up is never shown as behind (the other way round a busy ring moves on by more
 * than it holds while the observer is off the processor).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/stat_internal.h"
#include "format/control_proto.h"

/* A ring on the board. A publisher has one, or a chain of them after its ring was replaced. */
struct board_line {
	struct board_ring entry;
	const struct stat_ring *ring; /* NULL: busd has not handed it to us */
	uint64_t head, bytes;
	double used_ratio;
	int pub; /* index in the snapshot; -1: it is the stream's */
};

struct snapshot {
	const struct stat_view *view;
	const struct stat_board *board;
	struct bus_calibration clock;
	bool has_clock;
	uint64_t stream; /* ring_id of the stream's; 0: this is none */
	const char *topic;
	struct board_line *lines;
	struct bus_stat_pub *pubs;
	struct bus_stat_sub *subs;
	int line_count, pub_count, sub_count;
};

/* How a reader stands to a ring. */
struct distance {
	uint64_t messages; /* published and not yet released */
	uint64_t age_ns;   /* of the oldest of them that is still there */
	double used_ratio; /* of the ring, by this reader */
};

static uint64_t add_clipped(uint64_t a, uint64_t b)
{
	return a + b < a ? UINT64_MAX : a + b;
}

static double clip_ratio(double x)
{
	return x > 1 ? 1 : x;
}

enum ring_look bus__stat_slot(const struct stat_ring *ring, uint64_t seq, struct ring_peeked *ret)
{
	const struct ring_reader reader = { .view = ring->view, .ahead = seq };

	return ring_reader_peek(&reader, ret);
}

/*
 * Time since a publisher stamped the counter. The stamp is the publisher's word, but nothing on a
 * ring is older than the ring.
 */
static uint64_t age_of(const struct snapshot *snap, uint64_t counter, uint64_t opened_ns)
{
	uint64_t now_ns, then_ns;

	if (!snap->has_clock)
		return 0;
	now_ns = bus_counter_to_ns(&snap->clock, bus_counter());
	then_ns = bus_counter_to_ns(&snap->clock, counter);
	if (then_ns < opened_ns)
		then_ns = opened_ns;
	return now_ns > then_ns ? now_ns - then_ns : 0;
}

/* The same of a stream's stamp, which is busd's. */
static uint64_t since(uint64_t then_ns)
{
	uint64_t now_ns = bus_realtime_ns();

	return now_ns > then_ns ? now_ns - then_ns : 0;
}

/* Without busd nobody else notices that its process has gone. */
static bool is_gone(const struct snapshot *snap, const struct board_line *line)
{
	return snap->view->mapped && line->entry.inode != 0 && !(line->ring && line->ring->written);
}

static void read_counters(const struct snapshot *snap, const struct board_line *line,
			  struct bus_stat_pub *pub)
{
	const struct ring_writer_page *page = line->ring->view.page;
	uint64_t since = bus_load_relaxed(&page->blocked_since);

	pub->blocked_ns += bus_load_relaxed(&page->blocked_ns);
	pub->refused += bus_load_relaxed(&page->refused);
	pub->wakes += bus_load_relaxed(&page->wakes);
	pub->evictions += bus_load_relaxed(&page->evictions);
	if (since != 0 && line->entry.state == BOARD_RING_OPEN && !is_gone(snap, line)) {
		pub->block_ns = age_of(snap, since, line->entry.opened_ns);
		pub->blocked_ns += pub->block_ns;
		pub->blocked_now = 1;
		pub->blocked_by = bus_load_relaxed(&page->blocked_by);
	}
}

/* The publisher is shown with this ring: the one that it writes, or the last that it wrote. */
static void show_ring(const struct snapshot *snap, const struct board_line *line,
		      struct bus_stat_pub *pub)
{
	const struct board_ring *e = &line->entry;
	struct ring_peeked newest;

	pub->ring_id = e->ring_id;
	pub->client_id = e->client_id;
	pub->pid = e->pid;
	pub->uid = e->uid;
	memcpy(pub->name, e->name, sizeof(pub->name));
	pub->closed = e->state != BOARD_RING_OPEN;
	pub->gone = is_gone(snap, line);
	pub->ring_slots = e->slots;
	pub->ring_bytes = e->bytes;
	pub->page_kib = e->page_kib;
	static_assert(sizeof(pub->node_pages) == sizeof(e->node_pages), "as many nodes");
	memcpy(pub->node_pages, e->node_pages, sizeof(pub->node_pages));
	pub->messages = line->head;
	pub->last_time_ns = 0;
	pub->waiting_asleep = 0;
	if (!line->ring)
		return;
	pub->waiting_asleep = bus_load_relaxed(&line->ring->view.page->waiting) != 0;
	if (line->head > line->ring->first_seq && snap->has_clock &&
	    bus__stat_slot(line->ring, line->head - 1, &newest) != RING_EMPTY)
		pub->last_time_ns = bus_counter_to_ns(&snap->clock, newest.time);
}

/*
 * Of two rings of one publisher: an open one is later than a closed one, else the numbers decide.
 */
static bool is_later(const struct board_line *line, const struct bus_stat_pub *pub)
{
	bool closed = line->entry.state != BOARD_RING_OPEN;

	if (closed != (bool)pub->closed)
		return !closed;
	return line->entry.ring_id > pub->ring_id;
}

static int find_pub(const struct snapshot *snap, uint64_t id)
{
	for (int i = 0; i < snap->pub_count; i++)
		if (snap->pubs[i].id == id)
			return i;
	return -1;
}

static void add_line(struct snapshot *snap, struct board_line *line)
{
	/* An entry that was changing all the while has no publisher's id: it stands for itself. */
	uint64_t id = line->entry.pub_id ? line->entry.pub_id : line->entry.ring_id;
	struct bus_stat_pub *pub;

	line->ring = bus__stat_view_ring(snap->view, line->entry.ring_id);
	line->head = line->entry.first_seq;
	if (line->ring) {
		line->head = bus_load_acquire(&line->ring->view.page->head);
		line->bytes = bus_load_relaxed(&line->ring->view.page->bytes);
		if (line->head < line->ring->first_seq)
			line->head = line->ring->first_seq;
	}
	line->pub = -1;
	if (line->entry.ring_id == snap->stream)
		return;
	line->pub = find_pub(snap, id);
	if (line->pub < 0) {
		line->pub = snap->pub_count++;
		pub = &snap->pubs[line->pub];
		pub->id = id;
		pub->opened_ns = line->entry.opened_ns;
		pub->taken = snap->stream ? bus__stat_board_taken(snap->board, id) : 0;
		show_ring(snap, line, pub);
	} else {
		pub = &snap->pubs[line->pub];
		if (line->entry.opened_ns < pub->opened_ns)
			pub->opened_ns = line->entry.opened_ns;
		if (is_later(line, pub))
			show_ring(snap, line, pub);
	}
	pub->bytes = add_clipped(pub->bytes, line->bytes);
	if (line->ring)
		read_counters(snap, line, pub);
}

static int collect_pubs(struct snapshot *snap)
{
	uint32_t used = bus__stat_board_rings(snap->board);

	snap->lines = calloc(used + 1, sizeof(*snap->lines));
	snap->pubs = calloc(used + 1, sizeof(*snap->pubs));
	if (!snap->lines || !snap->pubs)
		return -ENOMEM;
	for (uint32_t i = 0; i < used; i++) {
		struct board_line *line = &snap->lines[snap->line_count];

		if (bus__stat_board_ring(snap->board, i, &line->entry) == -ENOENT)
			continue;
		snap->line_count++;
		add_line(snap, line);
	}
	return 0;
}

/*
 * Where the reader stands on the ring; false: it is not attached, or has read it to its end. An
 * entry that does not carry the ring's id belongs to a reader that has not looked since the ring
 * appeared: it gates from the ring's first message, and that is where a stopped subscriber is found
 * to hold a new publisher back. Of a closed ring it may as well have been read and its entry given
 * to a later ring, which then has a larger id.
 */
static bool cursor_of(const struct board_line *line, const struct board_sub *sub,
		      const struct stat_cursors *cursors, const struct cursor_entry *entry,
		      uint64_t *cursor)
{
	uint64_t id = line->ring->ring_id;
	bool later = cursors->tag_count > 0 && cursors->tags[cursors->tag_count - 1].ring_id > id;

	if (entry && bus_load_acquire(&entry->ring_id) == id) {
		*cursor = bus_load_acquire(&entry->cursor);
		/* an entry that is given to another ring loses its id first */
		if (bus_load_relaxed(&entry->ring_id) == id)
			return *cursor != CURSOR_PARKED;
	}
	if (line->entry.state != BOARD_RING_OPEN && later)
		return false;
	*cursor = line->ring->first_seq;
	return line->entry.opened_ns > sub->opened_ns;
}

/* The slot of the oldest message from cursor on that the ring still has. */
static bool oldest_from(const struct stat_ring *ring, uint64_t cursor, struct ring_peeked *ret)
{
	uint64_t frontier;

	switch (bus__stat_slot(ring, cursor, ret)) {
	case RING_EMPTY:
		return false;
	case RING_LAPPED:
		frontier = bus_load_relaxed(&ring->view.page->frontier_seq);
		if (frontier - cursor <= ring->view.slot_count)
			return false; /* its bytes are gone, its slot is not: too close to tell */
		return bus__stat_slot(ring, frontier - ring->view.slot_count, ret) == RING_MESSAGE;
	default:
		return true;
	}
}

static void measure(const struct snapshot *snap, const struct board_line *line,
		    const struct board_sub *sub, const struct stat_cursors *cursors,
		    const struct cursor_entry *entry, struct distance *ret)
{
	const struct stat_ring *ring = line->ring;
	uint64_t head = bus_load_acquire(&ring->view.page->head);
	uint64_t cursor, used;
	struct ring_peeked oldest, newest;

	*ret = (struct distance){ 0 };
	if (!cursor_of(line, sub, cursors, entry, &cursor) || cursor >= head)
		return;
	ret->messages = head - cursor;
	ret->used_ratio = clip_ratio((double)ret->messages / (double)ring->view.slot_count);
	if (!oldest_from(ring, cursor, &oldest))
		return;
	ret->age_ns = ring->stream ? since(oldest.time)
				   : age_of(snap, oldest.time, line->entry.opened_ns);
	if (bus__stat_slot(ring, head - 1, &newest) != RING_MESSAGE || newest.pos < oldest.pos)
		return;
	used = newest.pos - oldest.pos + ring_need(newest.head_len, newest.len);
	if ((double)used / (double)ring->view.bytes > ret->used_ratio)
		ret->used_ratio = clip_ratio((double)used / (double)ring->view.bytes);
}

/*
 * A ring that was read to its end is in the past's account; its entry keeps the id until it is used
 * again.
 */
static void add_account(struct bus_stat_sub *sub, const struct cursor_entry *entry)
{
	if (bus_load_relaxed(&entry->cursor) == CURSOR_PARKED)
		return;
	sub->lost = add_clipped(sub->lost, bus_load_relaxed(&entry->lost));
	sub->delivered = add_clipped(sub->delivered, bus_load_relaxed(&entry->delivered));
}

static void add_sub(struct snapshot *snap, const struct board_sub *entry)
{
	struct bus_stat_sub *sub = &snap->subs[snap->sub_count++];
	const struct stat_cursors *cursors = bus__stat_view_cursors(snap->view, entry->sub_id);

	sub->id = entry->sub_id;
	sub->client_id = entry->client_id;
	sub->pid = entry->pid;
	sub->uid = entry->uid;
	memcpy(sub->name, entry->name, sizeof(sub->name));
	memcpy(sub->pattern, entry->pattern, sizeof(sub->pattern));
	sub->lossy = (entry->flags & BOARD_SUB_LOSSY) != 0;
	sub->node = entry->node;
	sub->evictions = entry->evicted;
	sub->opened_ns = entry->opened_ns;
	sub->gone = snap->view->mapped && entry->inode != 0 && !(cursors && cursors->written);
	if (!cursors)
		return; /* busd has not handed it to us: what it reads is not known */
	sub->asleep = !sub->gone && bus_load_relaxed(&cursors->base->waiting) != 0;
	/* the past of several topics is one account */
	if (strcmp(entry->pattern, snap->topic) == 0) {
		sub->lost = bus_load_relaxed(&cursors->base->past_lost);
		sub->delivered = bus_load_relaxed(&cursors->base->past_delivered);
	}
	for (int i = 0; i < snap->line_count; i++) {
		struct board_line *line = &snap->lines[i];
		const struct cursor_entry *at;
		struct distance far;

		/* on a stream busd reads the publishers', and others the stream's */
		if (!line->ring ||
		    (snap->stream && (line->pub < 0) == (entry->client_id == CTL_CLIENT_BUSD)))
			continue;
		at = bus__stat_cursors_entry(cursors, line->ring->ring_id);
		measure(snap, line, entry, cursors, at, &far);
		sub->lag_messages = add_clipped(sub->lag_messages, far.messages);
		sub->lag_ns = bus_max_u64(sub->lag_ns, far.age_ns);
		if (!sub->lossy && far.used_ratio > line->used_ratio)
			line->used_ratio = far.used_ratio;
		if (at)
			add_account(sub, at);
	}
}

static int collect_subs(struct snapshot *snap)
{
	uint32_t used = bus__stat_board_subs(snap->board);
	struct board_sub entry;

	snap->subs = calloc(used + 1, sizeof(*snap->subs));
	if (!snap->subs)
		return -ENOMEM;
	for (uint32_t i = 0; i < used; i++)
		if (bus__stat_board_sub(snap->board, i, &entry) != -ENOENT)
			add_sub(snap, &entry);
	return 0;
}

/* What follows from both sides: fill, and who holds whom back. */
static void join_sides(struct snapshot *snap)
{
	for (int i = 0; i < snap->line_count; i++) {
		const struct board_line *line = &snap->lines[i];

		if (line->pub >= 0 && line->entry.ring_id == snap->pubs[line->pub].ring_id)
			snap->pubs[line->pub].used_ratio = line->used_ratio;
	}
	for (int i = 0; i < snap->sub_count; i++)
		for (int j = 0; j < snap->pub_count; j++)
			snap->subs[i].holds += snap->pubs[j].blocked_now &&
					       snap->pubs[j].blocked_by == snap->subs[i].id;
}

static int open_first(const void *a, const void *b)
{
	const struct bus_stat_pub *x = a, *y = b;

	if (x->closed != y->closed)
		return x->closed ? 1 : -1;
	return x->id < y->id ? -1 : x->id > y->id;
}

static void read_settings(const struct stat_board *board, struct bus_stat_topic *ret)
{
	const struct board_head *head = board->base;

	ret->id = board->topic_id;
	ret->created_ns = head->created_ns;
	ret->slots = head->slots;
	ret->numa = head->numa;
	ret->ring_bytes = head->bytes;
	ret->max_bytes = head->max_bytes;
	ret->explicit_ = (head->flags & BOARD_TOPIC_EXPLICIT) != 0;
	ret->huge = (head->flags & BOARD_TOPIC_HUGE) != 0;
	ret->stream = (head->flags & BOARD_TOPIC_STREAM) != 0;
	if (ret->stream) {
		ret->stream_slots = head->stream_slots;
		ret->stream_bytes = head->stream_bytes;
		if (head->flags & BOARD_TOPIC_DISK)
			bus__stat_board_log(head, &ret->log);
		return;
	}
	ret->messages = bus_load_relaxed(&head->past_messages);
	ret->bytes = bus_load_relaxed(&head->past_bytes);
}

/*
 * Read between two looks at the other clock: the nearest pair of a few, since any of them may be
 * interrupted.
 */
static int64_t clock_ahead(const struct bus_calibration *clock)
{
	uint64_t least = UINT64_MAX;
	int64_t ahead = 0;

	for (int i = 0; i < 5; i++) {
		uint64_t before = bus_realtime_ns();
		uint64_t stamp = bus_counter_to_ns(clock, bus_counter());
		uint64_t apart = bus_realtime_ns() - before;

		if (apart < least) {
			least = apart;
			ahead = (int64_t)(stamp - before - apart / 2);
		}
	}
	return ahead;
}

static void sum_up(const struct snapshot *snap, struct bus_stat_topic *ret)
{
	bool reliable = false;

	for (int i = 0; i < snap->line_count; i++) {
		const struct board_line *line = &snap->lines[i];

		if (!line->ring)
			continue;
		ret->memory_bytes = add_clipped(ret->memory_bytes, line->ring->size);
		if (snap->stream && line->pub >= 0)
			continue; /* it is counted once it is in the stream */
		ret->messages = add_clipped(ret->messages, line->head - line->ring->first_seq);
		ret->bytes = add_clipped(ret->bytes, line->bytes);
	}
	for (int i = 0; i < snap->sub_count; i++)
		reliable = reliable || !snap->subs[i].lossy;
	for (int i = 0; i < snap->sub_count; i++) {
		const struct bus_stat_sub *sub = &snap->subs[i];

		ret->lost = add_clipped(ret->lost, sub->lost);
		if (reliable && sub->lossy)
			continue;
		ret->lag_messages = bus_max_u64(ret->lag_messages, sub->lag_messages);
		ret->lag_ns = bus_max_u64(ret->lag_ns, sub->lag_ns);
	}
}

int bus__stat_topic(const struct stat_view *view, const struct stat_board *board,
		    struct bus_stat_topic *ret)
{
	struct bus_stat_topic topic = { 0 };
	struct snapshot snap = { .view = view, .board = board, .topic = topic.name };
	int err = bus__stat_board_name(board, topic.name);

	if (err < 0)
		return err;
	snap.stream = bus__stat_board_stream(board);
	snap.has_clock = bus__stat_board_clock(board, &snap.clock);
	topic.clock_ahead_ns = snap.has_clock ? clock_ahead(&snap.clock) : 0;
	read_settings(board, &topic);
	err = collect_pubs(&snap);
	if (err == 0)
		err = collect_subs(&snap);
	if (err == 0) {
		join_sides(&snap);
		sum_up(&snap, &topic);
		qsort(snap.pubs, (size_t)snap.pub_count, sizeof(*snap.pubs), open_first);
		topic.publishers = snap.pubs;
		topic.publisher_count = snap.pub_count;
		topic.subscribers = snap.subs;
		topic.subscriber_count = snap.sub_count;
		*ret = topic;
	} else {
		free(snap.pubs);
		free(snap.subs);
	}
	free(snap.lines);
	return err;
}

void bus__stat_topic_free(struct bus_stat_topic *topic)
{
	free((void *)(uintptr_t)topic->publishers);
	free((void *)(uintptr_t)topic->subscribers);
	topic->publishers = NULL;
	topic->subscribers = NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_board.c - finding things in a view: a ring by its id, a reader's entry, a board's entries.
 * Called by stat_snapshot.c and stat_peek.c. Reads shared memory, writes none of it, calls nobody.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/stat_internal.h"
#include "format/topic_name.h"

static int by_id(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_ring_id(const void *a, const void *b)
{
	return by_id(((const struct stat_ring *)a)->ring_id, ((const struct stat_ring *)b)->ring_id);
}

static int by_sub_id(const void *a, const void *b)
{
	return by_id(((const struct stat_cursors *)a)->sub_id,
		     ((const struct stat_cursors *)b)->sub_id);
}

static int by_tag(const void *a, const void *b)
{
	return by_id(((const struct stat_tag *)a)->ring_id, ((const struct stat_tag *)b)->ring_id);
}

/*
 * Entries may be used in any order, so all tags are looked at, once per view instead of once per
 * ring. Two passes: most segments use few of their entries.
 */
static int index_tags(struct stat_cursors *cursors)
{
	const struct cursor_entry *entry = cursors->base->entry;
	uint32_t used = 0, n = 0;

	for (uint32_t i = 0; i < cursors->entries; i++)
		used += bus_load_relaxed(&entry[i].ring_id) != 0;
	cursors->tag_count = 0;
	cursors->tags = NULL;
	if (used == 0)
		return 0;
	cursors->tags = malloc(used * sizeof(*cursors->tags));
	if (!cursors->tags)
		return -ENOMEM;
	for (uint32_t i = 0; i < cursors->entries && n < used; i++) {
		uint64_t ring_id = bus_load_relaxed(&entry[i].ring_id);

		if (ring_id != 0)
			cursors->tags[n++] = (struct stat_tag){ .ring_id = ring_id, .entry = i };
	}
	cursors->tag_count = n;
	qsort(cursors->tags, n, sizeof(*cursors->tags), by_tag);
	return 0;
}

int bus__stat_view_index(struct stat_view *view)
{
	for (size_t i = 0; i < view->cursors_count; i++)
		view->cursors[i].tags = NULL;
	if (view->ring_count)
		qsort(view->rings, view->ring_count, sizeof(*view->rings), by_ring_id);
	if (view->cursors_count)
		qsort(view->cursors, view->cursors_count, sizeof(*view->cursors), by_sub_id);
	for (size_t i = 0; i < view->cursors_count; i++)
		if (index_tags(&view->cursors[i]) < 0)
			return -ENOMEM;
	return 0;
}

void bus__stat_view_free(struct stat_view *view)
{
	for (size_t i = 0; i < view->cursors_count; i++)
		free(view->cursors[i].tags);
	free(view->boards);
	free(view->rings);
	free(view->cursors);
	*view = (struct stat_view){ 0 };
}

const struct stat_ring *bus__stat_view_ring(const struct stat_view *view, uint64_t ring_id)
{
	const struct stat_ring key = { .ring_id = ring_id };

	if (view->ring_count == 0)
		return NULL;
	return bsearch(&key, view->rings, view->ring_count, sizeof(key), by_ring_id);
}

const struct stat_cursors *bus__stat_view_cursors(const struct stat_view *view, uint64_t sub_id)
{
	const struct stat_cursors key = { .sub_id = sub_id };

	if (view->cursors_count == 0)
		return NULL;
	return bsearch(&key, view->cursors, view->cursors_count, sizeof(key), by_sub_id);
}

const struct cursor_entry *bus__stat_cursors_entry(const struct stat_cursors *cursors,
						   uint64_t ring_id)
{
	const struct stat_tag key = { .ring_id = ring_id };
	const struct stat_tag *tag;

	if (cursors->tag_count == 0)
		return NULL;
	tag = bsearch(&key, cursors->tags, cursors->tag_count, sizeof(key), by_tag);
	return tag ? &cursors->base->entry[tag->entry] : NULL;
}

static const struct board_head *head_of(const struct stat_board *board)
{
	return board->base;
}

int bus__stat_board_name(const struct stat_board *board, char ret[BUS_TOPIC_MAX + 1])
{
	const struct board_head *head = head_of(board);

	static_assert(BOARD_TOPIC_MAX == BUS_TOPIC_MAX + 1, "a topic's name fits with its final 0");
	if (!board_known(head->magic, head->version, head->features))
		return -EPROTO;
	memcpy(ret, head->topic, BOARD_TOPIC_MAX);
	ret[BUS_TOPIC_MAX] = 0;
	return topic_name_check(ret) ? -EPROTO : 0;
}

bool bus__stat_board_clock(const struct stat_board *board, struct bus_calibration *ret)
{
	const struct board_head *head = head_of(board);

	for (int i = 0; i < BOARD_RETRIES; i++) {
		uint32_t gen = bus_load_acquire(&head->cal_gen);

		ret->base_counter = bus_load_relaxed(&head->cal_base_counter);
		ret->base_ns = bus_load_relaxed(&head->cal_base_ns);
		ret->mult = bus_load_relaxed(&head->cal_mult);
		bus_fence_acquire();
		if (gen % 2 == 0 && bus_load_relaxed(&head->cal_gen) == gen)
			return ret->mult != 0;
		bus_cpu_relax();
	}
	return false;
}

uint32_t bus__stat_board_rings(const struct stat_board *board)
{
	return (uint32_t)bus_min_u64(bus_load_acquire(&head_of(board)->rings_used), BOARD_RINGS);
}

uint32_t bus__stat_board_subs(const struct stat_board *board)
{
	return (uint32_t)bus_min_u64(bus_load_acquire(&head_of(board)->subs_used), BOARD_SUBS);
}

/* A text that its writer changes. */
static void read_text(const struct board_log *log, const char *from, char *to, size_t size)
{
	for (int i = 0; i < BOARD_RETRIES; i++) {
		const uint32_t gen = bus_load_acquire(&log->gen);

		memcpy(to, from, size);
		bus_fence_acquire();
		if (gen % 2 == 0 && bus_load_relaxed(&log->gen) == gen)
			break;
	}
	to[size - 1] = 0;
}

static_assert(BUS_STAT_SYNC_PLACES == BOARD_SYNC_PLACES, "what is shown is what is there");

void bus__stat_board_log(const struct board_head *head, struct bus_stat_log *ret)
{
	const struct board_log *log = &head->log;

	*ret = (struct bus_stat_log){ .state = bus_load_relaxed(&log->state),
				      .sync = log->sync,
				      .on_full = log->on_full,
				      .sync_interval_ns = log->interval_ns,
				      .max_age_ns = log->max_age_ns,
				      .max_bytes = log->max_bytes,
				      .max_messages = log->max_messages,
				      .durable_seq = bus_load_acquire(&head->durable_seq),
				      .oldest_seq = bus_load_relaxed(&log->oldest_seq),
				      .lag_bytes = bus_load_relaxed(&log->lag_bytes),
				      .disk_bytes = bus_load_relaxed(&log->disk_bytes),
				      .segments = bus_load_relaxed(&log->segments),
				      .errors = bus_load_relaxed(&log->errors),
				      .full = bus_load_relaxed(&log->full),
				      .lost = bus_load_relaxed(&log->lost),
				      .dropped = bus_load_relaxed(&log->dropped),
				      .commits = bus_load_relaxed(&log->commits),
				      .syncs = bus_load_relaxed(&log->syncs),
				      .sync_ns = bus_load_relaxed(&log->sync_ns) };
	for (int i = 0; i < BOARD_SYNC_PLACES; i++)
		ret->sync_us[i] = bus_load_relaxed(&log->sync_us[i]);
	read_text(log, log->io, ret->io, sizeof(ret->io));
	read_text(log, log->io_why, ret->io_why, sizeof(ret->io_why));
	read_text(log, log->why, ret->why, sizeof(ret->why));
}

uint64_t bus__stat_board_stream(const struct stat_board *board)
{
	const struct board_head *head = head_of(board);

	return head->features & BOARD_FEATURE_STREAM ? head->stream_ring : 0;
}

static const struct board_source *source_at(const struct stat_board *board, uint32_t index)
{
	return (const struct board_source *)(const void *)((const char *)board->base +
							   BOARD_SOURCES_OFF) +
	       index;
}

uint64_t bus__stat_board_taken(const struct stat_board *board, uint64_t pub_id)
{
	uint32_t used = bus_load_acquire(&head_of(board)->sources_used);

	for (uint32_t i = 0; i < used && i < BOARD_SOURCES; i++)
		if (source_at(board, i)->pub_id == pub_id)
			return bus_load_acquire(&source_at(board, i)->taken);
	return 0;
}

struct bus_peer bus__stat_board_source(const struct stat_board *board, uint32_t src, char *name)
{
	const struct board_source *entry = source_at(board, src % BOARD_SOURCES);

	for (int i = 0; i < BOARD_RETRIES; i++) {
		uint32_t gen = bus_load_acquire(&entry->gen);
		struct bus_peer peer = {
			.id = entry->pub_id, .pid = entry->pid, .uid = entry->uid, .name = name
		};
		bool same = entry->src == src;

		memcpy(name, entry->name, BOARD_NAME_MAX);
		name[BOARD_NAME_MAX - 1] = 0;
		bus_fence_acquire();
		if (gen % 2 != 0 || bus_load_relaxed(&entry->gen) != gen)
			continue;
		if (same)
			return peer;
		break;
	}
	name[0] = 0;
	return (struct bus_peer){ .name = name };
}

#define CHANGING "(changing)"

int bus__stat_board_ring(const struct stat_board *board, uint32_t index, struct board_ring *ret)
{
	const struct board_ring *entry =
		(const struct board_ring *)((const char *)board->base + BOARD_RINGS_OFF) + index;

	for (int i = 0; i < BOARD_RETRIES; i++) {
		uint32_t gen = bus_load_acquire(&entry->gen);

		if (bus_load_relaxed(&entry->state) == BOARD_RING_FREE)
			return -ENOENT;
		memcpy(ret, entry, sizeof(*ret));
		bus_fence_acquire();
		if (gen % 2 == 0 && bus_load_relaxed(&entry->gen) == gen) {
			ret->name[BOARD_NAME_MAX - 1] = 0;
			return ret->state == BOARD_RING_FREE ? -ENOENT : 0;
		}
		bus_cpu_relax();
	}
	memset(ret, 0, sizeof(*ret));
	ret->state = bus_load_relaxed(&entry->state);
	ret->ring_id = bus_load_relaxed(&entry->ring_id);
	ret->next_ring = bus_load_relaxed(&entry->next_ring);
	memcpy(ret->name, CHANGING, sizeof(CHANGING));
	return -EAGAIN;
}

int bus__stat_board_sub(const struct stat_board *board, uint32_t index, struct board_sub *ret)
{
	const struct board_sub *entry =
		(const struct board_sub *)((const char *)board->base + BOARD_SUBS_OFF) + index;

	for (int i = 0; i < BOARD_RETRIES; i++) {
		uint32_t gen = bus_load_acquire(&entry->gen);

		if (bus_load_relaxed(&entry->state) == BOARD_SUB_FREE)
			return -ENOENT;
		memcpy(ret, entry, sizeof(*ret));
		bus_fence_acquire();
		if (gen % 2 == 0 && bus_load_relaxed(&entry->gen) == gen) {
			ret->name[BOARD_NAME_MAX - 1] = 0;
			ret->pattern[sizeof(ret->pattern) - 1] = 0;
			return ret->state == BOARD_SUB_FREE ? -ENOENT : 0;
		}
		bus_cpu_relax();
	}
	memset(ret, 0, sizeof(*ret));
	ret->state = bus_load_relaxed(&entry->state);
	ret->sub_id = bus_load_relaxed(&entry->sub_id);
	ret->evicted = bus_load_relaxed(&entry->evicted);
	memcpy(ret->name, CHANGING, sizeof(CHANGING));
	return -EAGAIN;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/stat_rig.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HOUR_NS UINT64_C(3600000000000)

static size_t cursors_size(void)
{
	return sizeof(struct cursor_segment) + STAT_RIG_ENTRIES * sizeof(struct cursor_entry);
}

int stat_rig_make(struct stat_rig *rig)
{
	struct board_head *head;
	int err = 0;

	memset(rig, 0, sizeof(*rig));
	rig->board =
		mmap(NULL, BOARD_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (rig->board == MAP_FAILED) {
		rig->board = NULL;
		return -errno;
	}
	for (int i = 0; i < STAT_RIG_RINGS && err == 0; i++)
		err = rig_make(&rig->rings[i], STAT_RIG_SLOTS, STAT_RIG_BYTES, RIG_TWO_MAPPINGS);
	for (int i = 0; i < STAT_RIG_SUBS && err == 0; i++) {
		rig->cursors[i] = aligned_alloc(BUS_LINE_PAIR,
						BUS_ALIGN_UP(cursors_size(), (size_t)BUS_LINE_PAIR));
		if (rig->cursors[i])
			memset(rig->cursors[i], 0, cursors_size());
		else
			err = -ENOMEM;
	}
	if (err < 0) {
		stat_rig_free(rig);
		return err;
	}
	rig->now = bus_counter();
	head = stat_rig_head(rig);
	head->magic = BOARD_MAGIC;
	head->version = BOARD_VERSION;
	head->topic_id = STAT_RIG_TOPIC;
	head->created_ns = bus_realtime_ns() - 2 * HOUR_NS;
	strcpy(head->topic, "orders.eu");
	head->cal_base_counter = rig->now;
	head->cal_base_ns = bus_realtime_ns();
	head->cal_mult = UINT64_C(1) << 32;
	return 0;
}

void stat_rig_free(struct stat_rig *rig)
{
	bus__stat_view_free(&rig->view);
	for (int i = 0; i < STAT_RIG_RINGS; i++)
		rig_free(&rig->rings[i]);
	for (int i = 0; i < STAT_RIG_SUBS; i++)
		free(rig->cursors[i]);
	if (rig->board)
		munmap(rig->board, BOARD_SIZE);
	memset(rig, 0, sizeof(*rig));
}

struct board_head *stat_rig_head(struct stat_rig *rig)
{
	return (struct board_head *)(void *)rig->board;
}

struct board_ring *stat_rig_ring_entry(struct stat_rig *rig, unsigned i)
{
	return (struct board_ring *)(void *)(rig->board + BOARD_RINGS_OFF) + i;
}

struct board_sub *stat_rig_sub_entry(struct stat_rig *rig, unsigned i)
{
	return (struct board_sub *)(void *)(rig->board + BOARD_SUBS_OFF) + i;
}

uint64_t stat_rig_ring_id(unsigned i)
{
	return 500 + i;
}

uint64_t stat_rig_pub_id(unsigned i)
{
	return 600 + i;
}

uint64_t stat_rig_sub_id(unsigned i)
{
	return 700 + i;
}

void stat_rig_add_ring(struct stat_rig *rig, unsigned i, uint64_t first_seq)
{
	struct board_head *head = stat_rig_head(rig);
	struct board_ring *e = stat_rig_ring_entry(rig, i);

	rig_start_at(&rig->rings[i], first_seq, 0);
	rig->rings[i].pub.ring_id = stat_rig_ring_id(i);
	e->ring_id = stat_rig_ring_id(i);
	e->pub_id = stat_rig_pub_id(i);
	e->client_id = 800 + i;
	e->first_seq = first_seq;
	e->opened_ns = head->cal_base_ns - HOUR_NS;
	e->pid = 1000 + i;
	e->uid = 10 + i;
	e->slots = STAT_RIG_SLOTS;
	e->bytes = STAT_RIG_BYTES;
	e->page_kib = 4;
	e->node_pages[0] = 7;
	snprintf(e->name, sizeof(e->name), "pub%u", i);
	e->state = BOARD_RING_OPEN;
	if (head->rings_used < i + 1)
		head->rings_used = i + 1;
}

void stat_rig_add_sub(struct stat_rig *rig, unsigned i)
{
	struct board_head *head = stat_rig_head(rig);
	struct board_sub *e = stat_rig_sub_entry(rig, i);

	e->sub_id = stat_rig_sub_id(i);
	e->client_id = 900 + i;
	e->opened_ns = head->cal_base_ns - HOUR_NS / 2;
	e->pid = 2000 + i;
	e->uid = 20 + i;
	e->node = 0;
	snprintf(e->name, sizeof(e->name), "sub%u", i);
	strcpy(e->pattern, "orders.>");
	e->state = BOARD_SUB_ACTIVE;
	if (head->subs_used < i + 1)
		head->subs_used = i + 1;
}

void stat_rig_stand(struct stat_rig *rig, unsigned i, unsigned entry, unsigned ring, uint64_t cursor)
{
	rig->cursors[i]->entry[entry].cursor = cursor;
	rig->cursors[i]->entry[entry].ring_id = stat_rig_ring_id(ring);
}

void stat_rig_send_message(struct stat_rig *rig, unsigned ring, const struct ring_message *m,
			   const void *head, const void *data)
{
	struct ring_rig *r = &rig->rings[ring];
	struct ring_message message = *m;
	uint64_t need = ring_need(m->head_len, m->len);
	uint8_t *to;

	if (rig_room(r, need) != RING_ROOM)
		abort(); /* nobody gates: the test's own bug */
	to = need == 0 ? (uint8_t *)message.in : ring_pub_at(&r->pub);
	if (m->head_len)
		memcpy(to, head, m->head_len);
	if (m->len)
		memcpy(to + m->head_len, data, m->len);
	ring_pub_commit(&r->pub, &message);
}

void stat_rig_send(struct stat_rig *rig, unsigned ring, uint32_t len, uint64_t age_ns)
{
	const struct ring_message m = { .len = len, .time = rig->now - age_ns };
	uint8_t bytes[STAT_RIG_BYTES];

	rig_fill(bytes, rig->rings[ring].pub.n, len);
	stat_rig_send_message(rig, ring, &m, NULL, bytes);
}

void stat_rig_look(struct stat_rig *rig)
{
	struct stat_view *view = &rig->view;

	bus__stat_view_free(view);
	view->boards = calloc(1, sizeof(*view->boards));
	view->rings = calloc(STAT_RIG_RINGS, sizeof(*view->rings));
	view->cursors = calloc(STAT_RIG_SUBS, sizeof(*view->cursors));
	if (!view->boards || !view->rings || !view->cursors)
		abort();
	view->boards[view->board_count++] =
		(struct stat_board){ .topic_id = STAT_RIG_TOPIC, .base = rig->board };
	/* backwards: the view has to sort them */
	for (unsigned i = STAT_RIG_RINGS; i-- > 0;)
		view->rings[view->ring_count++] = (struct stat_ring){
			.ring_id = stat_rig_ring_id(i),
			.topic_id = STAT_RIG_TOPIC,
			.first_seq = rig->rings[i].geo.first_seq,
			.size = rig->rings[i].geo.size,
			.view = rig->rings[i].reader.view,
		};
	for (unsigned i = STAT_RIG_SUBS; i-- > 0;)
		view->cursors[view->cursors_count++] = (struct stat_cursors){
			.sub_id = stat_rig_sub_id(i),
			.base = rig->cursors[i],
			.entries = STAT_RIG_ENTRIES,
		};
	if (bus__stat_view_index(view) < 0)
		abort();
}

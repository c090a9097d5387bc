/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/ring_rig.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static int map_piece(uint8_t *at, uint64_t size, int prot, int fd, uint64_t from)
{
	void *p = mmap(at, size, prot, MAP_SHARED | MAP_FIXED, fd, (off_t)from);

	return p == MAP_FAILED ? -errno : 0;
}

/*
 * Maps the three parts of the segment into reserved address space; what lies between them stays a
 * guard.
 */
static int map_segment(struct rig_map *map, const struct ring_geometry *geo, int prot, int fd,
		       uint64_t page)
{
	uint64_t slots_at = geo->slots_off & ~(page - 1);
	uint64_t slots_end = geo->slots_off + (uint64_t)geo->slots * RING_SLOT_BYTES;
	uint8_t *base;
	int err;

	map->span = geo->payload_off + 2 * geo->bytes + 2 * page;
	map->area =
		mmap(NULL, map->span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map->area == MAP_FAILED) {
		map->area = NULL;
		return -errno;
	}
	base = map->area + page;
	err = map_piece(base, page, prot, fd, 0);
	if (err == 0)
		err = map_piece(base + slots_at, slots_end - slots_at, prot, fd, slots_at);
	for (int i = 0; i < 2 && err == 0; i++)
		err = map_piece(base + geo->payload_off + (uint64_t)i * geo->bytes, geo->bytes,
				prot, fd, geo->payload_off);
	ring_view_init(&map->view, base, geo);
	return err;
}

static bool wake_reader(struct ring_pub *pub, struct ring_member *member)
{
	struct ring_rig *rig = BUS_CONTAINER_OF(pub, struct ring_rig, pub);
	struct rig_reader *reader = member->owner;

	if (rig->no_bell)
		return false;
	reader->wakes++;
	return true;
}

static bool wake_publisher(struct ring_reader *rd)
{
	struct ring_rig *rig = rd->owner;

	if (rig->no_bell)
		return false;
	rig->pub_wakes++;
	return true;
}

static int make_cursors(struct ring_rig *rig)
{
	uint64_t size = sizeof(struct cursor_segment) + BUS_LINE_PAIR;

	for (int i = 0; i < RIG_READERS; i++) {
		struct cursor_segment *cursors = aligned_alloc(BUS_LINE_PAIR, size);

		if (cursors == NULL)
			return -ENOMEM;
		memset(cursors, 0, size);
		rig->readers[i].cursors = cursors;
	}
	return 0;
}

static int make_memory(struct ring_rig *rig, uint64_t page, enum rig_mappings mappings)
{
	int fd = memfd_create("ring", MFD_CLOEXEC);
	int err;

	if (fd < 0)
		return -errno;
	err = ftruncate(fd, (off_t)rig->geo.size) < 0 ? -errno : 0;
	if (err == 0)
		err = map_segment(&rig->writer, &rig->geo, PROT_READ | PROT_WRITE, fd, page);
	if (err == 0 && mappings == RIG_TWO_MAPPINGS)
		err = map_segment(&rig->reader, &rig->geo, PROT_READ, fd, page);
	close(fd);
	return err;
}

int rig_make(struct ring_rig *rig, uint32_t slots, uint64_t bytes, enum rig_mappings mappings)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t slot_bytes = (uint64_t)slots * RING_SLOT_BYTES;
	uint64_t slots_end = 2 * page + BUS_ALIGN_UP(slot_bytes, page);
	int err;

	memset(rig, 0, sizeof(*rig));
	rig->geo = (struct ring_geometry){
		.slots = slots,
		.bytes = bytes,
		.slots_off = slots_end - slot_bytes,
		.payload_off = slots_end + page,
		.size = slots_end + page + bytes,
	};
	if (!ring_geometry_ok(&rig->geo, page))
		return -EINVAL;
	err = make_memory(rig, page, mappings);
	if (err == 0)
		err = make_cursors(rig);
	if (err < 0) {
		rig_free(rig);
		return err;
	}
	if (mappings == RIG_ONE_MAPPING)
		rig->reader.view = rig->writer.view;
	rig_start_at(rig, 0, 0);
	return 0;
}

void rig_free(struct ring_rig *rig)
{
	for (int i = 0; i < RIG_READERS; i++)
		free(rig->readers[i].cursors);
	if (rig->writer.area != NULL)
		munmap(rig->writer.area, rig->writer.span);
	if (rig->reader.area != NULL)
		munmap(rig->reader.area, rig->reader.span);
	memset(rig, 0, sizeof(*rig));
}

void rig_start_at(struct ring_rig *rig, uint64_t seq, uint64_t pos)
{
	ring_writer_init(rig->writer.view.page, seq);
	bus_store_relaxed(&rig->writer.view.page->frontier_pos, pos);
	rig->geo.first_seq = seq;
	ring_pub_init(&rig->pub, &rig->writer.view, RIG_RING_ID, seq, &rig->epoch);
	rig->pub.pos = pos;
	rig->pub.limit_pos = pos;
	rig->pub.members = rig->members;
	rig->pub.wake = wake_reader;
}

struct ring_reader *rig_join(struct ring_rig *rig, unsigned i, bool gates)
{
	struct rig_reader *r = &rig->readers[i];

	ring_reader_init(&r->rd, &rig->reader.view, RIG_RING_ID, &r->cursors->entry[0],
			 &rig->closed, RIG_CLOSED, rig->geo.first_seq);
	r->rd.wake = wake_publisher;
	r->rd.owner = rig;
	ring_reader_tag(&r->rd);
	rig->members[i] = (struct ring_member){
		.entry = &r->cursors->entry[0],
		.waiting = &r->cursors->waiting,
		.start = bus_load_acquire(&rig->reader.view.page->head),
		.gates = gates,
		.owner = r,
		.sub_id = 100 + i,
	};
	if (rig->pub.member_count < i + 1)
		rig->pub.member_count = i + 1;
	ring_reader_joined_now(&r->rd);
	return &r->rd;
}

enum ring_room rig_room(struct ring_rig *rig, uint64_t need)
{
	if (ring_pub_room(&rig->pub, need))
		return RING_ROOM;
	rig->refreshes++;
	return ring_pub_refresh(&rig->pub, need);
}

enum ring_room rig_send(struct ring_rig *rig, uint32_t len)
{
	struct ring_message m = { .time = rig->pub.n, .len = len };
	uint64_t need = ring_need(0, len);
	enum ring_room room = rig_room(rig, need);

	if (room != RING_ROOM)
		return room;
	rig_fill(need == 0 ? (void *)m.in : ring_pub_at(&rig->pub), rig->pub.n, len);
	ring_pub_commit(&rig->pub, &m);
	return RING_ROOM;
}

static uint64_t word_of(uint64_t seq, uint32_t i)
{
	return (seq + 1) * UINT64_C(0x9e3779b97f4a7c15) + i;
}

void rig_fill(void *at, uint64_t seq, uint32_t len)
{
	uint8_t *to = at;
	uint32_t i = 0;
	uint64_t w;

	for (; len - i >= 8; i += 8) {
		w = word_of(seq, i);
		memcpy(to + i, &w, 8);
	}
	w = word_of(seq, i);
	memcpy(to + i, &w, len - i);
}

bool rig_filled(const void *at, uint64_t seq, uint32_t len)
{
	const uint8_t *from = at;
	uint32_t i = 0;
	uint64_t w;

	for (; len - i >= 8; i += 8) {
		memcpy(&w, from + i, 8);
		if (w != word_of(seq, i))
			return false;
	}
	w = word_of(seq, i);
	return memcmp(from + i, &w, len - i) == 0;
}

const uint8_t *rig_payload(const struct ring_reader *rd, const struct ring_peeked *p)
{
	if (p->flags & RING_FLAG_INLINE)
		return (const uint8_t *)p->in + p->head_len;
	return ring_reader_at(rd, p->pos) + p->head_len;
}

enum ring_look rig_take(struct ring_reader *rd)
{
	struct ring_peeked p;
	enum ring_look look = ring_reader_peek(rd, &p);
	bool good;

	if (look != RING_MESSAGE)
		return look;
	good = rig_filled(rig_payload(rd, &p), p.seq, p.len);
	rd->ahead++;
	if (!ring_reader_release(rd, 1, p.pos))
		return RING_LAPPED;
	return good ? RING_MESSAGE : RING_GARBAGE;
}

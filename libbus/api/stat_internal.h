/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_internal.h - reading boards, rings and cursors without taking part: the pure half of bus_stat.h.
 *
 * Everything here works on mapped memory that the caller names in a struct stat_view; nothing here
 * knows of a connection, a lock or a socket. stat.c collects the view, stat_snapshot.c turns it into
 * struct bus_stat_topic, stat_peek.c copies messages out of it.
 *
 * The memory is written by others while it is read, and some of them may be hostile: each shared word
 * is loaded once into a local, each index is masked by the geometry that busd told, each retry is
 * bounded. Wrong numbers come out of wrong bytes; nothing else does.
 */
#ifndef BUS_STAT_INTERNAL_H
#define BUS_STAT_INTERNAL_H

#include <bus_stat.h>

#include "format/board_layout.h"
#include "format/ring_layout.h"

/* A mapped board, at least BOARD_SIZE bytes. */
struct stat_board {
	uint64_t topic_id;
	const void *base;
};

/* A mapped ring; its payload area is mapped twice in a row. */
struct stat_ring {
	uint64_t ring_id;
	uint64_t topic_id;
	const void *base;
	struct ring_geometry geometry;
};

/* Where in a cursor segment the entry of a ring was when the view was made. */
struct stat_tag {
	uint64_t ring_id;
	uint32_t entry;
};

/* A mapped cursor segment of `entries` entries. */
struct stat_cursors {
	uint64_t sub_id;
	const void *base;
	uint32_t entries;
	uint32_t tag_count;
	struct stat_tag *tags; /* by ring_id; filled by bus__stat_view_index() */
};

struct stat_view {
	struct stat_board *boards;
	struct stat_ring *rings;     /* by ring_id after bus__stat_view_index() */
	struct stat_cursors *cursors; /* by sub_id after bus__stat_view_index() */
	size_t board_count, ring_count, cursors_count;
};

/* Whether busd's geometry can be used at all for a mapping of `size` bytes (busd may be newer, or not busd). */
bool bus__stat_geometry_ok(const struct ring_geometry *g, uint64_t size);

/* Sorts the view and finds out which entries are in use. -ENOMEM. */
int bus__stat_view_index(struct stat_view *view);

/* Frees what bus__stat_view_index() allocated and the three arrays. */
void bus__stat_view_free(struct stat_view *view);

const struct stat_ring *bus__stat_view_ring(const struct stat_view *view, uint64_t ring_id);

/* The topic's name (BUS_TOPIC_MAX + 1 bytes), without anything else. -EPROTO: no board that this library can read. */
int bus__stat_board_name(const struct stat_board *board, char *ret);

/* Consistent copy of a board's entry; -ENOENT: free, -EAGAIN: it changed all the while (id and state are set). */
int bus__stat_board_ring(const struct stat_board *board, uint32_t index, struct board_ring *ret);
int bus__stat_board_sub(const struct stat_board *board, uint32_t index, struct board_sub *ret);

/* The calibration of the raw counter; mult 0: there is none (yet). */
void bus__stat_calibration(const struct stat_board *board, struct bus_calibration *ret);

/*
 * What a board, its rings and their readers say now. On success ret->publishers and ret->subscribers are
 * allocated: bus__stat_topic_free(). -EPROTO, -ENOMEM.
 */
int bus__stat_topic(const struct stat_view *view, const struct stat_board *board,
		    struct bus_stat_topic *ret);
void bus__stat_topic_free(struct bus_stat_topic *topic);

/* A slot as it was at one moment, its lengths checked against the geometry. */
struct stat_slot {
	uint64_t seq, pos, counter;
	uint32_t len, head_len, key_len;
	uint32_t flags, key_hash;
	uint64_t in[3];
};

/* 0; -ENOENT: that message is not there (not yet, or no more); -EBADMSG: what is there is no message. */
int bus__stat_slot(const struct stat_ring *ring, uint64_t seq, struct stat_slot *ret);

/* Bytes of payload area that the message occupies. */
uint64_t bus__stat_slot_span(const struct stat_slot *slot);

/* What a look at the newest messages found: msgs and all that they point to are one allocation each. */
struct stat_peeked {
	struct bus_msg *msgs;
	struct bus_peer *peers;
	char (*names)[BUS_NAME_MAX + 1];
	void **copies;
	int count;
	char topic[BUS_TOPIC_MAX + 1];
};

/* The newest n of all rings of the board's topic, oldest first. ret->count of them. -EPROTO, -ENOMEM, -EINVAL. */
int bus__stat_peek(const struct stat_view *view, const struct stat_board *board, int n,
		   struct stat_peeked *ret);
void bus__stat_peeked_free(struct stat_peeked *peeked);

#endif

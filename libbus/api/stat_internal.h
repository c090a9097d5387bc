/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_internal.h - looking at boards, rings and cursors without taking part: the pure half of
 * bus_stat.h.
 *
 * What is declared here works on mapped memory that the caller names in a struct stat_view and
 * knows of no connection, lock or socket:
 *
 *	stat.c           collects the view from a connection's segments, asks busd about itself
 *	stat_ask.c       what only busd knows: itself, clients, namespaces
 *	stat_mapped.c    collects views where no busd answers, from what processes map
 *	stat_board.c     the view's index, entries of a board
 *	stat_snapshot.c  struct bus_stat_topic from a view
 *	stat_peek.c      copies of the newest messages from a view
 *	stat_metrics.c   a snapshot as OpenMetrics text
 *
 * The memory is written by others while it is read, and some of them may be hostile: each shared
 * word is loaded once into a local, each index is masked by the geometry that busd told, each retry
 * is bounded. Wrong numbers come out of wrong bytes; nothing else does.
 */
#ifndef BUS_STAT_INTERNAL_H
#define BUS_STAT_INTERNAL_H

#include <bus_stat.h>

#include "format/board_layout.h"
#include "format/ring_layout.h"
#include "os/shm_map.h"
#include "ring/consume.h"

/* A mapped board of BOARD_SIZE bytes. */
struct stat_board {
	uint64_t topic_id;
	const void *base;
};

/* A mapped ring whose geometry has passed ring_geometry_ok(). */
struct stat_ring {
	uint64_t ring_id;
	uint64_t topic_id;
	uint64_t first_seq;
	uint64_t size; /* of its segment */
	bool written;  /* of a view without busd: a living process has it mapped writable */
	bool stream;   /* its time stamps are Unix time, its slots say whose message it is */
	struct ring_view view;
};

/* Where in a cursor segment the entry of a ring was when the view was indexed. */
struct stat_tag {
	uint64_t ring_id;
	uint32_t entry;
};

/* A mapped cursor segment of `entries` entries. */
struct stat_cursors {
	uint64_t sub_id;
	const struct cursor_segment *base;
	uint32_t entries;
	bool written; /* as of a ring */
	uint32_t tag_count;
	struct stat_tag *tags; /* by ring_id; made by bus__stat_view_index() */
};

struct stat_view {
	struct stat_board *boards;
	struct stat_ring *rings;      /* by ring_id once indexed */
	struct stat_cursors *cursors; /* by sub_id once indexed */
	size_t board_count, ring_count, cursors_count;
	bool mapped; /* there is no busd: found in living processes, who has gone is not cleared up */
};

/* What is left of one busd. */
struct stat_left {
	uint64_t started_ns; /* 0: it did not say */
	uint32_t pid, uid;
	bool alive; /* somebody can write its boards: a worker that does not answer */
	struct stat_view view;
};

/* What living processes still map (stat_mapped.c). */
struct stat_mapped {
	struct stat_left *left; /* the youngest busd first */
	size_t left_count;
	uint32_t processes; /* other than this one */
	uint32_t ignored;   /* boards by their name, and not by what they are */
	/* what the views point into; and who has it, with repetitions */
	struct shm_map *maps;
	size_t map_count;
	uint32_t *pids;
	size_t pid_count;
};

/*
 * Of the busd, or those busds, that listened at the socket: topics that match. 0, also where nothing is
 * found; -errno.
 */
int bus__stat_mapped_take(struct stat_mapped *ret, const char *socket, const char *pattern);
void bus__stat_mapped_free(struct stat_mapped *mapped);

/* Sorts the view and finds the entries that are in use. -ENOMEM: free the view. */
int bus__stat_view_index(struct stat_view *view);

/* Frees the three arrays and the tags; not what they point to. */
void bus__stat_view_free(struct stat_view *view);

const struct stat_ring *bus__stat_view_ring(const struct stat_view *view, uint64_t ring_id);
const struct stat_cursors *bus__stat_view_cursors(const struct stat_view *view, uint64_t sub_id);

/* The entry of a ring, NULL: none carries its id. To be checked again when it is read. */
const struct cursor_entry *bus__stat_cursors_entry(const struct stat_cursors *cursors,
						   uint64_t ring_id);

/* Copies the topic's name. -EPROTO: not a board that this library can read. */
int bus__stat_board_name(const struct stat_board *board, char ret[BUS_TOPIC_MAX + 1]);

/* The calibration of the raw counter. false: there is none. */
bool bus__stat_board_clock(const struct stat_board *board, struct bus_calibration *ret);

/* How many entries of each kind were ever in use. */
uint32_t bus__stat_board_rings(const struct stat_board *board);
uint32_t bus__stat_board_subs(const struct stat_board *board);

/*
 * A consistent copy of an entry. 0; -ENOENT: it is free; -EAGAIN: busd changed it all the while,
 * only its state and id are filled in, and its name says so.
 */
int bus__stat_board_ring(const struct stat_board *board, uint32_t index, struct board_ring *ret);
int bus__stat_board_sub(const struct stat_board *board, uint32_t index, struct board_sub *ret);
/* Of a stream: the ring that busd writes; 0: this is none. */
uint64_t bus__stat_board_stream(const struct stat_board *board);
/* Of a stream on disk: how that goes. */
void bus__stat_board_log(const struct board_head *head, struct bus_stat_log *ret);
/* How much of the publisher's is in it; 0 where it is not known. */
uint64_t bus__stat_board_taken(const struct stat_board *board, uint64_t pub_id);
/* Whose src is, as far as the board knows it still; *name has room for BOARD_NAME_MAX. */
struct bus_peer bus__stat_board_source(const struct stat_board *board, uint32_t src, char *name);

/*
 * What a board, its rings and their readers say now. On success ret->publishers and
 * ret->subscribers are allocated, to be freed by bus__stat_topic_free(). -EPROTO: no board;
 * -ENOMEM.
 */
int bus__stat_topic(const struct stat_view *view, const struct stat_board *board,
		    struct bus_stat_topic *ret);
void bus__stat_topic_free(struct bus_stat_topic *topic);

/* RING_MESSAGE and *ret, exactly as a lossy reader that stands at seq would see it. */
enum ring_look bus__stat_slot(const struct stat_ring *ring, uint64_t seq, struct ring_peeked *ret);

/* Messages copied out of rings, and what their pointers lead to. */
struct stat_peeked {
	struct bus_msg *msgs;
	struct bus_peer *peers;
	struct board_ring *rings;
	void **copies;
	int count;
	char topic[BUS_TOPIC_MAX + 1];
};

/* The newest n messages of the board's topic, oldest first. Returns how many. -EPROTO, -ENOMEM. */
int bus__stat_peek(const struct stat_view *view, const struct stat_board *board, int n,
		   struct stat_peeked *ret);
void bus__stat_peeked_free(struct stat_peeked *peeked);

/* A durable subscription that nobody holds: no memory tells of it. */
struct stat_absent {
	int topic; /* of the snapshot */
	struct bus_position position;
};

/*
 * A snapshot as OpenMetrics text, to be freed by the caller. daemon NULL: none answers, and nothing is
 * said of namespaces either. absent: by topic. -ENOMEM.
 */
int bus__stat_openmetrics(const struct bus_stat_daemon *daemon, const struct bus_stat_topic *topics,
			  int topic_count, const struct bus_stat_namespace *spaces, int space_count,
			  const struct stat_absent *absent, int absent_count, char **text,
			  size_t *len);

/* Those of all streams in a snapshot, to be freed. How many; -errno. None of what may not be seen. */
int bus__stat_absent(struct bus *bus, const struct bus_stat_topic *topics, int topic_count,
		     struct stat_absent **ret);

/* All that there are, to be freed. How many; -errno. None where busd is too old to say. */
int bus__stat_namespaces(struct bus *bus, struct bus_stat_namespace **ret);

#endif

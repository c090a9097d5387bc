/* SPDX-License-Identifier: Apache-2.0 */
/*
 * board.h - writing a topic's board (format/board_layout.h). Pages of it are allocated before an
 * entry on them is used, so a full machine is an error here and never a SIGBUS.
 */
#ifndef BUSD_BOARD_H
#define BUSD_BOARD_H

#include "base/clock.h"
#include "format/board_layout.h"
#include "why.h"

struct segment;
struct topic;
struct ring;
struct member;

struct board {
	struct segment *seg;
	uint64_t rings_taken[BOARD_RINGS / 64];
	uint64_t subs_taken[BOARD_SUBS / 64];
	/* allocated */
	uint64_t ring_pages[BOARD_RINGS * sizeof(struct board_ring) / 4096 / 64 + 1];
	uint64_t sub_pages[BOARD_SUBS * sizeof(struct board_sub) / 4096 / 64 + 1];
};

/* The topic's name, id and settings go on it; 0 or -errno. */
int board_make(struct topic *topic, const struct bus_calibration *cal, struct why *why);
void board_free(struct board *board);
void board_calibrate(struct board *board, const struct bus_calibration *cal);
/* The settings for new rings changed. */
void board_settings(struct topic *topic);

/* Entries: an index, or -EDQUOT (all taken), -ENOMEM. */
int board_take_ring(struct board *board, struct why *why);
int board_take_sub(struct board *board, struct why *why);
void board_give_back_ring(struct board *board, uint32_t index);
void board_give_back_sub(struct board *board, uint32_t index);

void board_put_ring(struct ring *ring);
/* Its publisher is to stop: before the epoch that tells it to look, see ring_end_open(). */
void board_end_ring(struct ring *ring);
/* Of one whose publisher is there: was it told to stop, also by a former worker? */
bool board_ring_ends(const struct ring *ring);
/* next 0: there is none. Release: what the publisher wrote before is visible to who sees it. */
void board_close_ring(struct ring *ring, uint64_t next);
/* Adds what went through it to the totals. */
void board_remove_ring(struct ring *ring);
void board_put_sub(struct member *member);
void board_remove_sub(struct member *member);
void board_count_eviction(struct member *member);

/* What the board says of how a stream on disk does. */
void board_read_log(const struct board *board, struct ctl_log_info *ret);
/* Of a stream: around a change of what describes a source. Its state, taken and durable are words. */
void board_begin_source(struct board_source *source);
void board_end_source(struct board_source *source);
/* A former worker died in between. */
void board_mend_source(struct board_source *source);
struct board_source *board_sources(const struct board *board);
void board_raise_sources(struct board *board, uint32_t index);

/* Release, and what was sent before is on its way. The fence F2 is the caller's. */
void board_set_epoch(struct board *board, uint64_t number, bool changed);

/*
 * A former worker's board: what it left half written is written again, and what the registry does
 * not have is taken off. Rings and members have their indices. Gives back the epoch on it.
 */
uint64_t board_restore(struct topic *topic);
void board_retake_ring(struct board *board, uint32_t index);
void board_retake_sub(struct board *board, uint32_t index);

#endif

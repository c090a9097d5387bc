/* SPDX-License-Identifier: Apache-2.0 */
/* spill_disk_internal.h - a stream's writer, as spill_disk.c (the thread, the loop's calls) and spill_open.c see it. */
#ifndef BUSD_SPILL_DISK_INTERNAL_H
#define BUSD_SPILL_DISK_INTERNAL_H

#include "spill_disk.h"
#include "spill_position.h"

#include <pthread.h>

struct spill_disk {
	struct spill_disk_opts o;
	char topic[LOG_TOPIC_MAX];
	struct spill_settings settings;
	struct io *io;
	struct recovered rec;
	struct sources sources;
	struct retention retention;
	struct log_start start;
	bool found;         /* rec, retention and start hold */
	uint64_t ring_from; /* as for recover_sources() */
	bool opened;        /* sources too */
	struct log_file *log;
	uint64_t from, from_pos; /* of the ring */
	bool at_ring;

	/* of the thread */
	uint64_t head, gate, durable, limit;
	uint64_t look_at; /* retention */
	int keeps;        /* why an old segment could not be removed when last tried: -errno, 0 */
	uint64_t said;    /* refusals and errors of the disk that were logged */
	bool stuck;
	uint64_t dropped; /* by the sequencer, when it was looked at last */
	bool drops_wait;  /* what a source sent before them is to be written first */
	uint64_t drops_said, drops_said_at;
	bool counts,
		gave_back; /* a segment of this life does; the last one of the former gave back its room */

	pthread_t thread;
	bool runs;
	int event_fd;
	_Atomic uint32_t ended, flush, stop;
	bool retire;          /* it ends because the stream is removed */
	pthread_mutex_t lock; /* over the queues, and `mute` */
	struct list asks, answers;
	struct position_desk desk;
	bool mute;                            /* it ends: nothing is said to be durable any more */
	_Atomic uint64_t kept[BOARD_SOURCES]; /* of each source: its messages below are in the log */
};

/* In its thread: the log is open, or it was told to stop (false). */
bool spill_open_log(struct spill_disk *d);
/* A segment came to count (log_file_opts.made). */
void spill_made(void *owner, const struct log_made *made);
void spill_set_text(struct spill_disk *d, char *to, size_t size, const char *text);
void spill_set_state(struct spill_disk *d, enum board_log_state state, const char *why);
void spill_show_use(struct spill_disk *d);
/* spill_segment.c: which segment a reader gets; whether the log can be written is no matter there. */
void spill_answer_segment(struct spill_disk *d, struct spill_ask *ask);
/* refusal: why none gets what it wants; NULL */
void spill_answer_all(struct spill_disk *d, const char *refusal);

#endif

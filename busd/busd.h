/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd.h - all that one busd has, in one struct. One thread serves it; what other threads do
 * (alloc.c) they do on memory of their own, and hand it back through a descriptor.
 *
 *   server.c    the loop: descriptors and deadlines
 *   client.c    one connection and all that goes with it
 *   request.c   decodes what a client asks
 *   event.c     the queue of what a client is told
 *   registry.c  names -> topics, rings, subscriptions
 *   share.c     which segments a client has been given
 *   journal.c   what the next worker must know; record.c writes it, restore.c reads it
 *   resume.c    clients of a former worker come back
 */
#ifndef BUSD_BUSD_H
#define BUSD_BUSD_H

#include "base/clock.h"
#include "config.h"
#include "format/board_layout.h"
#include "idmap.h"
#include "journal.h"
#include "list.h"
#include "quota.h"

#define BUSD_VERSION     "0.1.0" BUS_NEXT("-next")
#define BUSD_RESERVE_FDS 4

struct busd;
struct topic;

/* A descriptor in the loop. Embedded in what it belongs to. */
struct watch {
	int fd; /* -1: none */
	uint32_t events;
	void (*ready)(struct busd *busd, struct watch *watch, uint32_t events);
};

/* Deadlines of the loop, CLOCK_MONOTONIC; 0: none. */
enum busd_timer {
	TIMER_CALIBRATE, /* the raw counter, every minute */
	TIMER_HANDSHAKE, /* a client that says nothing */
	TIMER_KEPT,      /* a ring kept for late readers */
	TIMER_IDLE,      /* a private busd without clients */
	TIMER_RETRY,     /* a send that the kernel refused for reasons of its own */
	TIMER_ACCEPT,    /* connections that the kernel could not hand over */
	TIMER_RECOVER,   /* clients of a former worker have had their time to come back */
	TIMER_REFUSED,   /* streams that could not be taken up, and perhaps can now */
	TIMER_COUNT,
};

struct calibrator {
	struct bus_calibration now;
	uint64_t anchor_counter,
		anchor_ns; /* CLOCK_MONOTONIC when the present rate was begun to be measured */
};

struct busd {
	struct config *config;
	const char *config_path; /* NULL: none */
	char *socket_path;
	char socket_real[BOARD_SOCKET_MAX]; /* symbolic links resolved; for boards */
	bool private_;
	uint32_t uid;
	uint64_t started_ns; /* Unix */
	uint32_t pid;        /* that users see: the keeper's */
	int lock_fd;
	int epoll_fd;
	struct watch listener, signals, finished, keeper;
	int reserve_fds[BUSD_RESERVE_FDS];
	bool stopping;
	uint64_t leave_until; /* stopping: when what is not on disk is given up */
	bool retiring;        /* stopping without a goodbye: the next worker goes on */
	bool recovering;      /* requests wait until the clients of a former worker are back */
	uint64_t deadlines[TIMER_COUNT];

	struct list clients;    /* in the order of their ids */
	struct list handshakes; /* those not attached yet, in the order they came */
	struct list doomed;     /* to be freed before the loop waits again */
	struct list bells_due;  /* clients whose bell is to be rung */
	struct list stalled;    /* clients whose events wait for TIMER_RETRY */
	uint32_t client_count;
	uint32_t observer_count;
	uint32_t absent_count; /* of the clients: not back yet */

	struct idmap users, clients_by_id, rings_by_id, subs_by_id, pubs_by_id;
	struct topic **topics; /* sorted by name */
	size_t topic_count, topic_room;
	struct namespace **spaces; /* sorted by name; namespace.c */
	size_t space_count, space_room, space_sweep;
	struct list subs;      /* all subscriptions */
	struct client *self;   /* busd as a client of its streams (stream.h); NULL: it has none */
	struct thread *thread; /* the sequencer's (stream_thread.h) */
	struct watch settled;  /* it has something to say */
	const char *data_dir;  /* where streams lie on disk; NULL: nowhere */
	_Atomic uint32_t sweeps; /* times that removed streams' files were to be deleted, since they are being */
	bool swept;              /* those of a former busd are, or were */
	uint64_t refused_wait_ns; /* before streams that could not be taken up are tried again */
	struct list streams_ending;
	struct list creating; /* jobs that make a stream, and those that wait for one of that name */
	struct refused *refused; /* of stream_disk.c */
	const struct why *unlisted; /* why it is not known what the data directory holds; NULL: it is */
	uint64_t ring_count, sub_count;
	uint64_t evictions;
	uint64_t next_id;  /* of everything: never reused */
	uint32_t instance; /* random: the same for all workers of one keeper */

	struct quota quota;
	struct calibrator calibrator;
	struct alloc *alloc;
	struct journal journal;
	uint64_t place; /* in the journal */
};

static inline uint64_t busd_new_id(struct busd *busd)
{
	journal_note_id(&busd->journal, busd->next_id);
	return busd->next_id++;
}

#endif

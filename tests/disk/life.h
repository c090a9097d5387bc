/* SPDX-License-Identifier: Apache-2.0 */
/*
 * life.h - a log that is written on a disk of the tests' (lib/crash_disk.h), life after life, and what must hold of what is
 * found there. Shared by crash.c and errors.c.
 */
#ifndef TESTS_DISK_LIFE_H
#define TESTS_DISK_LIFE_H

#include "lib/crash_disk.h"
#include "lib/log_ring.h"
#include "positions.h"
#include "recover.h"

#define RING_SLOTS 16
#define RING_BYTES 4096
#define NAMES      3
#define MS         1000000u

struct run {
	struct crash_disk disk;
	struct log_ring rig;
	struct recovered rec;
	struct sources sources;
	struct retention retention;
	struct log_file *log;
	struct log_file_opts opts;
	struct log_counts counts; /* of the last life, at its end */
	uint64_t ring_from;       /* of this life */
	bool made, gave_back; /* a segment of this life counts; the last one of the former gave back its room */
	uint64_t now, promised, gate, begin;
	uint64_t heals_at;   /* steps after which the disk is well again; 0: it stays as it is */
	unsigned states;     /* bit i: log_file_state() was i */
	uint32_t src[NAMES]; /* what the names have; 0: not given yet */
	uint32_t nameless;   /* this life's */
	uint32_t src_seen;   /* no src above was given */
	bool ring_stays;     /* the next life finds the ring */
	bool ring_lives;     /* there is one */
	/* a durable subscription that acknowledges all that it can have read, durable or not */
	bool reads;
	struct positions positions;
};

/* What a failure says, to be tried again. */
extern uint64_t life_seed, life_states, life_event, life_choice;
extern char life_dir[64];

#define U(x)             ((unsigned long long)(x))
#define CHECK(cond, ...) ((cond) ? (void)0 : life_fail(__FILE__, __LINE__, #cond, __VA_ARGS__))
void life_fail(const char *file, int line, const char *what, const char *format, ...)
	BUS_PRINTF(4, 5) __attribute__((noreturn));

void life_path(char *path, size_t size); /* of a new directory */
void life_open(struct run *run, uint64_t with);
void life_close(struct run *run);
/* Recovers, and writes until `messages` more are durable, or the process dies. */
void life_live(struct run *run, uint64_t messages);
/*
 * Reads the whole log: where it ends. All in it is as it was published, and nothing is missing. next: of each name, what
 * follows on its last number below `below`.
 */
uint64_t life_check_log(const struct run *run, const struct crash_disk *disk, uint64_t below,
			uint64_t next[NAMES]);
/* That alone. */
uint64_t life_log_end(const struct run *run);
/* A start on `disk`, where `run` says what was promised; nothing is changed for the run. */
void life_check_start(const struct run *run, struct crash_disk *disk);

#endif

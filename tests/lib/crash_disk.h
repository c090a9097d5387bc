/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash_disk.h - busd's seam to the disk (io.h), on a disk that crashes and fails as the test wants. Files are real ones,
 * in a directory in memory, so that everything can read them: they are the page cache. Beside each there is its
 * image on the platter, and what was written since it was last synced. Names likewise: what create, rename and remove
 * did is on the platter once the directory is synced.
 *
 * Operations that are submitted wait; each poll begins some of them, in any order that the requests allow. After
 * `crash_at` of them the process is dead: nothing is done any more. Then
 *   disk_power_loss()  makes the directory that a machine finds after a power loss: of what was not synced any part
 *   disk_revive()      another process goes on with the same page cache; what was under way lands now, later or never
 */
#ifndef TESTS_CRASH_DISK_H
#define TESTS_CRASH_DISK_H

#include "io.h"

#define DISK_FILES   512
#define DISK_PENDING 4096
#define DISK_NAMES   512
#define DISK_LATE    64
#define DISK_OPS     32

struct disk_write {
	int file;
	uint64_t off, len; /* data NULL: only the size */
	uint8_t *data;
};

enum disk_name_kind { NAME_CREATE, NAME_RENAME, NAME_REMOVE };
struct disk_name {
	enum disk_name_kind kind;
	int file;
	char from[64], to[64];
};

struct disk_file {
	uint64_t ino;
	int fd;
	uint8_t *platter;
	uint64_t size;
	bool named; /* on the platter */
	char name[64];
};

/* What an operation that the test chose does. */
enum disk_fault {
	DISK_SOUND = 0,
	DISK_EIO,
	DISK_ENOSPC,
	DISK_SHORT, /* a write does some of it; everything else is as it should be */
	DISK_EINTR,
	DISK_NOTHING, /* a write does nothing, for once */
	DISK_SYNC_EIO, /* a sync fails, and what it should have synced is lost though memory has it */
};

struct crash_disk {
	struct io io;
	char path[96]; /* of the directory */
	int dir;
	uint64_t random;
	struct disk_file files[DISK_FILES];
	int file_count;
	struct disk_write pending[DISK_PENDING];
	unsigned pending_count;
	struct disk_name names[DISK_NAMES];
	unsigned name_count;
	struct io_request *queue[DISK_OPS];
	unsigned queued;
	struct disk_write late[DISK_LATE]; /* of dead processes */
	unsigned late_count;
	uint64_t events, crash_at; /* operations done; 0: never */
	bool crashed;
	/* faults: operation number fault_at fails (and all later ones, if it stays) */
	uint64_t ops, fault_at;
	enum disk_fault fault;
	bool fault_stays;
	uint64_t fault_hits;
	bool full; /* no blocks: allocating and extending fail */
	uint64_t syncs;
};

void disk_open(struct crash_disk *d, const char *path, uint64_t seed);
void disk_close(struct crash_disk *d); /* removes the directory */
uint64_t disk_random(struct crash_disk *d, uint64_t below);

/*
 * What a machine finds: `path` gets it. choice: bit i says whether pending write i is on the platter; `wild`: torn,
 * stale and missing in any way instead, and names too. name_count of the newest names are lost otherwise.
 */
void disk_power_loss(struct crash_disk *d, const char *path, uint64_t choice, bool wild);
/* Another process: late writes of the former may still land. */
void disk_revive(struct crash_disk *d);

#endif

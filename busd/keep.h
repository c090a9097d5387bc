/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keep.h - what keeper and worker say to each other, and the worker's side of it.
 *
 * The keeper holds a copy of each descriptor that must outlive a worker, under a number: that of
 * the segment, that of the client (its pidfd), or one of those below. A new worker inherits all of
 * them and a table that says which is which. Messages go one way, from worker to keeper: what a
 * worker sent before it died is read before the next one starts, so nothing needs an answer.
 *
 * The keeper is of one version, its workers are of any: what stands here, the options that a worker
 * is started with (keeper.c) and the table stay as they are. An operation that a keeper does not know
 * it passes over.
 */
#ifndef BUSD_KEEP_H
#define BUSD_KEEP_H

#include "base/base.h"

/* Beyond all numbers of segments and clients. */
#define KEEP_LINK     UINT64_MAX /* the worker's end of the socket to the keeper */
#define KEEP_LISTENER (UINT64_MAX - 1)
#define KEEP_JOURNAL  (UINT64_MAX - 2)
#define KEEP_CONFIG   (UINT64_MAX - 3) /* a copy of the configuration that is in force */

enum keep_op {
	KEEP_HOLD = 1, /* with a descriptor; replaces what had that number */
	KEEP_DROP = 2,
	KEEP_READY = 3, /* the worker serves */
};

struct keep_msg {
	uint32_t op; /* enum keep_op */
	uint32_t pad;
	uint64_t id;
};

/* The table: an array of these in a memfd. */
struct keep_entry {
	uint64_t id;
	int32_t fd;
	uint32_t pad;
};

/* Where a worker leaves because the keeper asked it to make room for the next one. */
#define KEEP_EXIT_RETIRED 75

/* Memory that is nobody else's. A descriptor, or -1 with errno. */
int keep_memfd(const char *name);

/* Takes over what was inherited. 0 or -errno. Without it (tests) all below does nothing. */
int keep_open(int table_fd);
/* The inherited descriptor of that number, the caller's from now on; -1: there is none. */
int keep_take(uint64_t id);
/* The same, and it stays to be taken. */
int keep_look(uint64_t id);
/* Those that nobody took are closed, and the keeper drops them: the journal does not know them. */
void keep_drop_rest(void);
/* Before any client can depend on it. */
void keep_hold(uint64_t id, int fd);
/* At the next keep_flush(): once the journal does not know it any more. */
void keep_drop(uint64_t id);
void keep_flush(void);
void keep_ready(void);
/* A copy of a file in memory. -1: it cannot be read. */
int keep_copy(const char *path);
/* The keeper gets a copy of that file, which has become the configuration. */
void keep_config(const char *path);

#endif

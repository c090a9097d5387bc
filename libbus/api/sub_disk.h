/* SPDX-License-Identifier: Apache-2.0 */
/* sub_disk.h - what is read from a stream's log for one subscription: sub_disk_begin.c (where), sub_disk.c (the rest). */
#ifndef BUS_SUB_DISK_H
#define BUS_SUB_DISK_H

#include "api/log_internal.h"
#include "api/sub_internal.h"

/* Bytes of messages that are borrowed, of a batch that was read before the present one. */
struct chunk {
	struct chunk *next;
	uint8_t *bytes;
	size_t room;
	uint32_t out; /* messages */
};

enum seek { SEEK_NOT = 0, SEEK_NUMBER, SEEK_TIME, SEEK_BACK };

struct sub_disk {
	struct bus__origin origin;
	struct log_dir dir;
	struct log_reader rd;
	bool open;
	bool off;      /* there is no log (any more) for us: what is not in the ring is lost */
	bool gap;      /* rd.gap is to be passed over, once nothing is borrowed */
	bool starting; /* what is older than all that is kept is not missed */
	enum seek seek;
	uint64_t seek_value, seek_end; /* SEEK_BACK: so many before that number */
	uint64_t retry_at;             /* CLOCK_MONOTONIC; 0: now */
	uint32_t soon, early;
	int error; /* why it is tried again, with the sentence; 0 */
	char why[CTL_WHY_MAX];
	/* the present batch: lent are rd.msgs[0 .. at), and `out` of them are borrowed */
	int at;
	uint32_t out;
	/* of earlier ones, oldest first */
	struct chunk *first, **last;
	uint64_t held; /* bytes in them */
	uint8_t *spare;
	size_t spare_room;
	struct sub_end *end;          /* to be filled and left to the subscription */
	uint8_t uuid[LOG_UUID_BYTES]; /* of the stream, once its log was read */
	bool uuid_known;
};

#endif

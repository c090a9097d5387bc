/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sources.h - the publishers of one stream: a named one's number (src), for ever, and the last message of each that
 * is in the log, so that what it publishes again is dropped whenever it comes.
 *
 * A name is on disk before its src is given out (LOG_SOURCES_NAME: 512-byte records, appended). The last numbers
 * follow the log: log_file.c notes each message once it may leave the ring, and writes them all down where a segment
 * begins (LOG_SNAPSHOT_NAME), so that a start reads one snapshot and the slots of the last segment.
 * Only named sources are noted: who has no name cannot come back.
 *
 * What a name costs is a record for ever, so each user may have as many as are still free: one alone half of them, and
 * the next one half of the rest. A name is "UID:NAME" for that. Who has no name costs a record for each RESERVE of them,
 * of which the newest says all that the others said: when the file is written anew it is the only one.
 */
#ifndef BUSD_SOURCES_H
#define BUSD_SOURCES_H

#include "format/board_layout.h"
#include "format/log_format.h"
#include "idmap.h"
#include "io.h"

struct source {
	uint32_t src;
	uint32_t name_len;
	uint64_t next; /* its last number in the log + 1; 0: none */
	uint32_t hash; /* of the name */
	struct source *same_bucket;
	char name[LOG_NAME_MAX + 1];
};

struct sources {
	struct io *io;
	int dir, fd; /* fd -1: the file is to be written anew */
	uint8_t uuid[LOG_UUID_BYTES];
	uint8_t *image; /* of the file, records that could not be read included */
	size_t image_bytes, image_room;
	struct source **all;
	size_t count, room;
	struct idmap by_src;
	struct source **buckets;          /* by name; as many as `room` */
	struct idmap by_user;             /* uid + 1: how many names, as a number */
	uint32_t at_entry[BOARD_SOURCES]; /* names whose src has this remainder */
	struct source *newest;            /* the last one noted */
	uint32_t nameless; /* the last one that was none of ours; a src never becomes one */
	uint32_t next_src, src_limit; /* below src_limit all are reserved on disk */
	uint32_t reserved;            /* src of the newest record without a name; 0: none */
	unsigned bad;                 /* records that are no records: names may be lost */
	bool absent;                  /* there was no file */
};

#define SOURCES_MAX 65536

/* 0, or -errno with a sentence. What cannot be read is counted and kept, not an error. */
int sources_open(struct sources *s, struct io *io, int dir, const uint8_t *uuid, struct why *why);
void sources_close(struct sources *s);
/*
 * The uuid of the stream whose names the directory holds: 0, -ENOENT: there is no such file, -ENODATA: no good record
 * in it, or -errno.
 */
int sources_uuid(struct io *io, int dir, uint8_t *uuid);

/* NULL: nobody has that name. */
struct source *sources_find(const struct sources *s, const char *name, size_t len);
/*
 * Which src the next call of the two below gives: one whose entry of the board is free, as bits, and is no name's where
 * there are such. Two that share an entry cannot be there at once.
 */
void sources_pick(struct sources *s, const uint64_t *free, bool named);
/* A new name, on disk when this returns 0. *ret: the source. -EDQUOT: SOURCES_MAX, or too many of this user's. */
int sources_add(struct sources *s, const char *name, size_t len, struct source **ret,
		struct why *why);
/* A src for somebody without a name: not used before, not to be used again. */
int sources_nameless(struct sources *s, uint32_t *src, struct why *why);

/* Message src_seq of src is in the log. */
void sources_note(struct sources *s, uint32_t src, uint64_t src_seq);
/* No src below `limit` is given again. For recovery. */
void sources_raise(struct sources *s, uint64_t limit);

size_t sources_snapshot_bytes(const struct sources *s);
/* buf has that room. */
void sources_snapshot(const struct sources *s, uint64_t base_seq, void *buf);
/* -EBADMSG: it is none of this stream, or not of base_seq; nothing is changed then. */
int sources_restore(struct sources *s, const void *buf, size_t len, uint64_t base_seq);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* log_own.h - what the log_*.c files here need of each other. Others include log_read.h. */
#ifndef BUS_LOG_OWN_H
#define BUS_LOG_OWN_H

#include "os/log_read.h"

/*
 * Reads until size bytes are there or the file ends: how many; -errno. Never half a result of a disk that
 * failed in between.
 */
ssize_t log_pread_whole(log_pread_fn *read, int fd, void *buf, size_t size, uint64_t at);

/* What is known of a file before it is opened. */
struct log_hints {
	uint64_t named;      /* the number in its name */
	const uint8_t *uuid; /* of the stream; NULL: not known */
};

/* log_segment_open() with hints, by which a header and a copy that differ are told apart; NULL: none. */
int log_segment_open_as(struct log_segment *ret, int fd, log_pread_fn *read,
			const struct log_hints *hints, const char **why);

static inline uint64_t log_slot_off(const struct log_segment *seg, uint64_t seq)
{
	return LOG_SLOTS_OFF + (seq - seg->header.base_seq) * RING_SLOT_BYTES;
}

/*
 * Takes a slot apart. LOG_SOUND: *ret is filled but for head and data, and its bytes lie within the payload
 * area; its checksum is not looked at yet.
 */
enum log_fault log_slot_parse(const struct log_segment *seg, uint64_t seq,
			      const struct log_slot *slot, struct log_message *ret);

/* Whether the checksum over slot and head holds. */
bool log_head_whole(const struct log_segment *seg, const struct log_slot *slot,
		    const struct log_message *msg, const uint8_t *head);

/* From the directory's next entry: limit and attested of the segment that is entry i. */
void log_dir_bound(const struct log_dir *dir, size_t i, struct log_segment *seg);

/* What kind of file it is, by its header. */
void log_entry_look(const struct log_dir *dir, struct log_entry *e);
void log_entries_free(struct log_entry *entries, size_t count);

/* Says what each entry is, and sorts them. 0, -ENOMEM. */
int log_dir_arrange(struct log_dir *dir);

/* Of an origin: asks again for what is around dir->around. 0, -errno. */
int log_dir_ask_again(struct log_dir *dir);

/* Where reading may begin: the oldest message, or a broken file that is older. */
uint64_t log_dir_oldest(const struct log_dir *dir);

/* Entry i turned out not to be readable. */
void log_dir_spoil(struct log_dir *dir, size_t i, int err);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* log_internal.h - what the log*.c files here share: a log of bus_log.h. */
#ifndef BUS_LOG_INTERNAL_H
#define BUS_LOG_INTERNAL_H

#include <bus_log.h>

#include "api/bus_internal.h"
#include "os/log_read.h"

#define LOG_GAPS_MAX 64 /* told one by one between two messages */
#define LOG_TEXT_MAX 256

/* Where bus_log_verify() stands. */
struct bus__log_check {
	int phase;     /* of log_verify.c; 0: not begun */
	size_t at;     /* the entry */
	uint32_t told; /* flaws of it */
	bool open;     /* seg is */
	struct log_segment seg;
	struct log_buffer buf;
	struct log_message *msgs;
	uint64_t seq;       /* the next number */
	uint64_t end, time; /* of the last good message */
	uint64_t good, bytes;
	int count, next; /* msgs read, and looked at */
	enum log_fault stop;
	char what[LOG_TEXT_MAX];
	char file[256];
};

/* busd, as it hands the segments of one stream over. */
struct bus__origin {
	struct log_origin origin;
	struct bus *bus;
	char topic[CTL_TOPIC_MAX];
};

struct bus_log {
	char *path;                 /* of a topic: its name */
	struct bus__origin *origin; /* of a topic; NULL: a directory */
	struct log_dir dir;
	struct log_reader reader;
	int lock; /* flock()ed for BUS_LOG_REPAIR, or -1 */
	uint32_t flags;
	uint32_t gap_count;
	struct log_gap gaps[LOG_GAPS_MAX];
	uint64_t lost;          /* before the next message */
	struct bus_peer *peers; /* of the messages given last */
	struct bus__log_check check;
};

/* log_topic.c */
void bus__origin_init(struct bus__origin *origin, struct bus *bus, const char *topic);
int bus__log_topic_info(struct bus_log *log, struct bus_log_info *ret);

/* log.c */
/* NULL: no memory. */
struct bus_log *bus__log_new(const char *path);
/* The sentence: of what was tried; of a topic busd's stays. Returns err. */
int bus__log_failed(const struct bus_log *log, int err, const char *tried);
/* The time of its first good message, to info. */
void bus__log_first_time(struct bus_log *log, struct bus_log_info *info);

/* Drops what bus_log_verify() holds. */
void bus__log_check_end(struct bus_log *log);

/* What a file that is no segment in use is, in words. Static. */
const char *bus__log_kind_text(const struct log_entry *entry);

#endif

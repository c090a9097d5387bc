/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c - bus_log.h: a stream's log read from its files. The reading is os/log_reader.c's; here it gets the
 * form of messages and sentences.
 */
#include "api/log_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "api/opts.h"

static_assert(BUS_LOG_BATCH == LOG_BATCH, "one limit");
static_assert(BUS_LOG_UNKNOWN == LOG_OPEN_END, "one value");
static_assert((int)BUS_LOG_UNWRITTEN == (int)LOG_UNWRITTEN &&
		      (int)BUS_LOG_UNREADABLE == (int)LOG_UNREADABLE &&
		      (int)BUS_LOG_CUT == (int)LOG_CUT && (int)BUS_LOG_BAD_SLOT == (int)LOG_BAD_SLOT &&
		      (int)BUS_LOG_BAD_BODY == (int)LOG_BAD_BODY &&
		      (int)BUS_LOG_UNSUPPORTED == (int)LOG_UNSUPPORTED &&
		      (int)BUS_LOG_HOLE == (int)LOG_HOLE && (int)BUS_LOG_MISSING == (int)LOG_MISSING &&
		      (int)BUS_LOG_BROKEN == (int)LOG_BROKEN && (int)BUS_LOG_GONE == (int)LOG_GONE,
	      "one numbering");

const char *bus_log_fault_text(uint32_t fault)
{
	return fault == BUS_LOG_SEVERAL ? "for several reasons"
					: log_fault_text((enum log_fault)fault);
}

/* ---- open, close ---- */

static int open_failed(struct bus_log *log, int err, const char *path, const char *tried)
{
	/* the path may be the log's own */
	bus__fail(err, "cannot %s \"%s\": %s", tried, path, strerror(-err));
	bus_log_close(log);
	return err;
}

/* busd holds the same lock for as long as it writes there. */
static int take_lock(struct bus_log *log, int fd)
{
	log->lock = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (log->lock < 0)
		return -errno;
	if (flock(log->lock, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return errno == EWOULDBLOCK ? -EBUSY : -errno;
}

static const char *newer_file(const struct log_dir *dir)
{
	for (size_t i = dir->segments; i < dir->count; i++)
		if (dir->entries[i].kind == LOG_KIND_TOO_NEW)
			return dir->entries[i].name;
	return NULL;
}

static int open_files(struct bus_log *log, int fd)
{
	uint8_t uuid[LOG_UUID_BYTES];
	bool known;
	int err;

	if (log->flags & BUS_LOG_REPAIR) {
		err = take_lock(log, fd);
		if (err == -EBUSY) {
			bus__fail(err,
				  "\"%s\" is in use: a busd writes there, or another repair is under way; "
				  "stop it first",
				  log->path);
			bus_log_close(log);
			return err;
		}
		if (err)
			return open_failed(log, err, log->path, "lock");
	}
	/* strangers may be many */
	known = log_settings_uuid(fd, uuid) == 0;
	err = log_dir_list(&log->dir, fd, known ? uuid : NULL, NULL);
	if (err)
		return open_failed(log, err, log->path, "list");
	if (!(log->flags & BUS_LOG_ANY_VERSION) && newer_file(&log->dir) != NULL) {
		bus__fail(-EPROTONOSUPPORT,
			  "\"%s/%s\" is of a newer format than this library (%s) reads; use a newer one",
			  log->path, newer_file(&log->dir), bus_version());
		bus_log_close(log);
		return -EPROTONOSUPPORT;
	}
	log->dir.any_version = (log->flags & BUS_LOG_ANY_VERSION) != 0;
	err = log_reader_open(&log->reader, &log->dir);
	return err ? open_failed(log, err, log->path, "read") : 0;
}

struct bus_log *bus__log_new(const char *path)
{
	struct bus_log *log = calloc(1, sizeof(*log));

	if (log == NULL)
		return NULL;
	log->dir.fd = log->lock = log->reader.seg.fd = log->check.buf.fd = -1;
	log->path = strdup(path);
	log->peers = calloc(LOG_BATCH, sizeof(*log->peers));
	if (log->path != NULL && log->peers != NULL)
		return log;
	bus_log_close(log);
	return NULL;
}

int bus_log_open(struct bus_log **ret, const char *directory, const struct bus_log_opts *opts)
{
	struct bus_log_opts o;
	struct bus_log *log;
	int fd, err = bus__opts_copy(&o, sizeof(o), opts);

	bus__why_clear();
	if (err)
		return bus__fail(err, "bus_log_open: bad options");
	if (ret == NULL || directory == NULL ||
	    (o.flags & ~(BUS_LOG_ANY_VERSION | BUS_LOG_REPAIR)) != 0)
		return bus__fail(-EINVAL, "bus_log_open: bad arguments");
	log = bus__log_new(directory);
	if (log == NULL)
		return bus__fail(-ENOMEM, "bus_log_open: no memory");
	log->flags = o.flags;
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return open_failed(log, -errno, directory, "open");
	err = open_files(log, fd);
	close(fd);
	if (err)
		return err;
	*ret = log;
	return 0;
}

void bus_log_close(struct bus_log *log)
{
	if (log == NULL)
		return;
	bus__log_check_end(log);
	log_reader_close(&log->reader);
	log_dir_close(&log->dir);
	if (log->lock >= 0)
		close(log->lock);
	free(log->peers);
	free(log->path);
	free(log->origin);
	free(log);
}

int bus__log_failed(const struct bus_log *log, int err, const char *tried)
{
	if (err == -EPROTONOSUPPORT)
		return bus__fail(err,
				 "cannot %s \"%s\": a file is of a newer format than is known here",
				 tried, log->path);
	if (log->origin != NULL && err == -ESTALE)
		return bus__fail(err, "stream \"%s\" was removed, and made anew; open it again",
				 log->path);
	if (log->origin != NULL && bus_why(NULL)[0] != 0)
		return err; /* busd's own */
	return bus__fail(err, "cannot %s \"%s\": %s", tried, log->path, strerror(-err));
}

/* ---- where ---- */

int bus_log_seek(struct bus_log *log, uint32_t place, uint64_t value)
{
	int err;

	bus__why_clear();
	err = log_dir_refresh(&log->dir);
	log->gap_count = 0;
	log->lost = 0;
	if (err < 0)
		return bus__log_failed(log, err, "list");
	switch (place) {
	case BUS_LOG_OLDEST:
		log_reader_seek_oldest(&log->reader);
		return 0;
	case BUS_LOG_SEQ:
		log_reader_seek(&log->reader, value);
		return 0;
	case BUS_LOG_TIME:
		err = log_reader_seek_time(&log->reader, value);
		break;
	case BUS_LOG_BACK:
		err = log_reader_seek_back(&log->reader, value);
		break;
	default:
		return bus__fail(-EINVAL, "bus_log_seek: there is no place %u", place);
	}
	return err < 0 ? bus__log_failed(log, err, "search") : 0;
}

/* ---- messages ---- */

static void fill(struct bus_log *log, const struct log_message *m, const struct bus_peer *from,
		 struct bus_msg *ret)
{
	*ret = (struct bus_msg){
		.data = m->data,
		.len = m->len,
		.seq = m->seq,
		.time_ns = m->time,
		.key = m->key_len ? m->head : NULL,
		.key_len = m->key_len,
		.key_hash = m->key_hash,
		.topic = log->dir.topic,
		.from = from,
	};
	if ((m->flags & RING_FLAG_HEADERS) && m->head_len > m->key_len) {
		ret->headers = m->head + m->key_len;
		ret->headers_len = (uint32_t)(m->head_len - m->key_len);
	}
}

static void note_gap(struct bus_log *log, const struct log_gap *gap)
{
	struct log_gap *last = &log->gaps[LOG_GAPS_MAX - 1];

	if (gap->to != LOG_OPEN_END && gap->why != LOG_HOLE)
		log->lost += gap->to - gap->from;
	if (log->gap_count < LOG_GAPS_MAX) {
		log->gaps[log->gap_count++] = *gap;
		return;
	}
	last->to = gap->to;
	if (last->why != gap->why)
		last->why = (enum log_fault)BUS_LOG_SEVERAL;
}

int bus_log_next(struct bus_log *log, struct bus_msg *msgs, int max)
{
	struct log_reader *rd = &log->reader;
	struct bus_peer *from = log->peers;
	int step;

	if (max <= 0)
		return bus__fail(-EINVAL, "bus_log_next: room for %d messages", max);
	bus__why_clear();
	log->gap_count = 0;
	for (;;) {
		step = log_reader_step(rd, max);
		if (step == LOG_STEP_GAP)
			note_gap(log, &rd->gap);
		else
			break;
	}
	if (step < 0)
		return bus__log_failed(log, step, "read");
	if (step == LOG_STEP_END)
		return 0;
	for (int i = 0; i < rd->count; i++) {
		/* most have the publisher of the one before: its name card serves again */
		if (i == 0 || rd->msgs[i].src != rd->msgs[i - 1].src)
			from = &log->peers[i];
		*from = (struct bus_peer){ .id = rd->msgs[i].src, .name = "" };
		fill(log, &rd->msgs[i], from, &msgs[i]);
	}
	msgs[0].lost = log->lost;
	log->lost = 0;
	return rd->count;
}

int bus_log_gap_next(struct bus_log *log, uint32_t *at, struct bus_log_gap *ret)
{
	const struct log_gap *gap;

	if (*at >= log->gap_count)
		return 0;
	gap = &log->gaps[*at];
	*ret = (struct bus_log_gap){
		.from = gap->from, .to = gap->to, .why = gap->why, .file = gap->file
	};
	(*at)++;
	return 1;
}

/* ---- what there is ---- */

static int tail_info(struct bus_log *log, struct bus_log_info *info)
{
	const struct log_dir *dir = &log->dir;
	struct log_buffer buf = { .fd = -1 };
	struct log_segment seg;
	struct log_tail tail;
	int err = log_dir_segment(dir, dir->segments - 1, &seg);

	if (err)
		return err;
	err = log_segment_tail(&seg, &buf, &tail);
	if (!err) {
		info->end_seq = tail.seq;
		info->synced_seq = seg.mark.seq;
		info->messages += tail.seq - seg.header.base_seq;
		if (tail.seq > seg.header.base_seq || dir->segments > 1)
			info->last_time_ns = tail.time;
	}
	log_segment_close(&seg);
	log_buffer_free(&buf);
	return err;
}

void bus__log_first_time(struct bus_log *log, struct bus_log_info *info)
{
	struct log_segment seg;

	if (log_dir_segment(&log->dir, 0, &seg) < 0)
		return;
	log_segment_time(&seg, seg.header.base_seq, bus_min_u64(seg.limit, info->end_seq),
			 &info->first_time_ns);
	log_segment_close(&seg);
}

int bus_log_info(struct bus_log *log, struct bus_log_info *ret)
{
	const struct log_dir *dir = &log->dir;
	struct bus_log_info info = { .segments = 0 };
	int err;

	bus__why_clear();
	if (log->origin != NULL)
		return bus__log_topic_info(log, ret);
	err = log_dir_refresh(&log->dir);
	if (err < 0)
		return bus__log_failed(log, err, "list");
	memcpy(info.topic, dir->topic, sizeof(info.topic));
	memcpy(info.uuid, dir->uuid, sizeof(info.uuid));
	info.segments = (uint32_t)dir->segments;
	info.others = (uint32_t)(dir->count - dir->segments);
	for (size_t i = 0; i < dir->segments; i++) {
		const struct log_entry *e = &dir->entries[i];

		info.bytes += e->file_bytes;
		if (i + 1 < dir->segments)
			info.messages += bus_min_u64(e->slots, e[1].prev_end > e->base_seq
								       ? e[1].prev_end - e->base_seq
								       : 0);
	}
	if (dir->segments > 0) {
		info.first_seq = dir->entries[0].base_seq;
		err = tail_info(log, &info);
		if (err)
			return bus__fail(err, "cannot read \"%s/%s\": %s", log->path,
					 dir->entries[dir->segments - 1].name, strerror(-err));
		bus__log_first_time(log, &info);
	}
	*ret = info;
	return 0;
}

const char *bus__log_kind_text(const struct log_entry *e)
{
	switch (e->kind) {
	case LOG_KIND_SEGMENT:
		return "";
	case LOG_KIND_BROKEN:
		return e->why != NULL ? e->why : "it is no segment";
	case LOG_KIND_STRANGER:
		return "it belongs to another stream";
	case LOG_KIND_DOUBLE:
		return "another file is the same segment";
	case LOG_KIND_TOO_NEW:
		return "it is of a newer format";
	case LOG_KIND_UNREADABLE:
		return "it cannot be read";
	case LOG_KIND_TEMPORARY:
		return "a segment that was being made; it does not count";
	case LOG_KIND_QUARANTINED:
		return "quarantined";
	case LOG_KIND_OTHER:
		break;
	}
	return "not a file of a log";
}

int bus_log_file_next(struct bus_log *log, uint32_t *at, struct bus_log_file *ret)
{
	struct bus_log_file file = { .flags = 0 };
	const struct log_entry *e;

	if (log->origin != NULL || *at >= log->dir.count)
		return 0;
	e = &log->dir.entries[*at];
	snprintf(file.name, sizeof(file.name), "%s", e->name);
	snprintf(file.what, sizeof(file.what), "%s", bus__log_kind_text(e));
	file.flags = (e->kind == LOG_KIND_SEGMENT ? BUS_LOG_FILE_SEGMENT : 0) |
		     (e->flaws ? BUS_LOG_FILE_FLAWED : 0);
	file.index = e->index;
	file.base_seq = e->base_seq;
	file.prev_end = e->prev_end;
	file.slots = e->slots;
	file.payload_bytes = e->bytes;
	file.created_ns = e->created_ns;
	file.bytes = e->file_bytes;
	*ret = file;
	(*at)++;
	return 1;
}

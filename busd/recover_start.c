/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recover_start.c - where a new writer begins, by what recover.c found; and what the last segment of the former one gives
 * back, once it does. See recover.h.
 */
#include "recover.h"

#include "os/log_read.h"

#include <fcntl.h>
#include <string.h>

/*
 * Files that may have been segments have a place of their own. And one more: should the last of them be read again one
 * day, its own marks say what of it was on disk, and not the header that follows.
 */
static uint64_t next_index(const struct recovered *rec)
{
	return rec->index + (rec->fresh ? 0 : 1) +
	       (rec->strangers_after ? rec->strangers_after + 1 : 0);
}

/* A name that is taken may be so by what does not count only, where each that counts has its own. */
static bool may_move_aside(const struct recovered *rec)
{
	return rec->strangers_after > 0 && rec->misnamed == 0;
}

void recover_start(const struct recovered *rec, uint64_t slot_count, struct log_start *ret)
{
	*ret = (struct log_start){ .index = next_index(rec), .aside = may_move_aside(rec) };
	if (rec->fresh && rec->past == 0)
		return;
	/*
	 * Readers may have seen as many messages as a ring holds beyond what is on disk. The next page: no byte of the
	 * log has two messages.
	 */
	ret->seq = bus_max_u64(rec->past, rec->end_seq) + slot_count;
	ret->prev_end = bus_max_u64(rec->end_seq, rec->others_end);
	ret->pos = BUS_ALIGN_UP(rec->end_pos, (uint64_t)LOG_AREA_ALIGN);
	if (rec->fresh && !rec->others_end)
		ret->prev_end = ret->seq;
}

int recover_start_at(const struct recovered *rec, uint64_t seq, uint64_t pos, struct log_start *ret,
		     struct why *why)
{
	if (!rec->fresh && seq < rec->base_seq)
		return because(
			why, ESTALE,
			"the log's last segment begins with message %llu, and the ring with %llu: the log is "
			"of another ring; move its directory away, or let all of busd start anew",
			(unsigned long long)rec->base_seq, (unsigned long long)seq);
	*ret = (struct log_start){ .seq = seq,
				   .pos = pos,
				   .prev_end = seq,
				   .index = next_index(rec),
				   .aside = may_move_aside(rec) };
	if (rec->fresh)
		return 0;
	/* It was said to be there, and is not: declared, so that readers report it; or it is in a file that is not read. */
	if (rec->end_seq < seq)
		ret->prev_end = bus_min_u64(seq, bus_max_u64(rec->end_seq, rec->others_end));
	if (seq == rec->base_seq) {
		/* A segment without a message of its own. */
		ret->replace = rec->misnamed == 0;
		ret->index = rec->index;
		ret->prev_end = rec->base_prev_end;
	}
	return 0;
}

/* ---- once there is a new segment ---- */

/*
 * By the name under which it was found, which may be another one's: names are exchanged by people, and headers tell. It
 * is looked at once more, since what is punched in the wrong file is gone.
 */
static int open_last(const struct recovered *rec, struct io *io, int dir)
{
	struct log_segment seg = { .fd = -1 };
	char name[64];
	int fd, error;

	snprintf(name, sizeof(name), LOG_SEGMENT_NAME, (unsigned long long)rec->named);
	fd = io->table->open(io, dir, name, O_RDWR);
	if (fd < 0)
		return fd;
	error = log_segment_open(&seg, fd, io->table->pread, NULL);
	if (error == 0 && (seg.header.base_seq != rec->base_seq ||
			   memcmp(seg.header.uuid, rec->uuid, sizeof(rec->uuid)) != 0))
		error = -ESTALE;
	if (error == 0)
		return fd;
	io->table->close(io, fd);
	return error;
}

int64_t recover_give_back(const struct recovered *rec, struct io *io, int dir, uint64_t ring_from)
{
	const uint64_t slots_end =
		BUS_ALIGN_UP(LOG_SLOTS_OFF + (rec->end_seq - rec->base_seq) * RING_SLOT_BYTES,
			     (uint64_t)LOG_AREA_ALIGN);
	const uint64_t bytes_end = BUS_ALIGN_UP(rec->payload_off + (rec->end_pos - rec->base_pos),
						(uint64_t)LOG_AREA_ALIGN);
	struct io_request req;
	int fd, error;

	/* without a message of its own it was replaced: the name is another file's by now */
	if (rec->fresh || ring_from == rec->base_seq)
		return 0;
	/*
	 * What stands behind the end comes again from the ring, if that is there and begins no later. Without a ring, what
	 * is torn may be all that there is of it.
	 */
	if (ring_from == RECOVER_NO_RING ? rec->torn : ring_from > rec->end_seq)
		return 0;
	fd = open_last(rec, io, dir);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	io_begin(&req, NULL, NULL);
	if (slots_end < rec->payload_off)
		io_add(&req, IO_PUNCH, fd, NULL, slots_end, rec->payload_off - slots_end);
	if (bytes_end < rec->size)
		io_add(&req, IO_PUNCH, fd, NULL, bytes_end, rec->size - bytes_end);
	error = req.count ? io_run(io, &req) : 0;
	io->table->close(io, fd);
	if (error < 0)
		return error;
	return (int64_t)(slots_end + bytes_end - rec->payload_off);
}

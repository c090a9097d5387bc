/* SPDX-License-Identifier: Apache-2.0 */
/* spill_open.c - what a stream's directory holds, and its log opened behind that. See spill_disk.h */
#include "spill_disk_internal.h"

#include "log.h"

#include "base/clock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define IO_DEPTH      8
#define RETRY_NS      UINT64_C(100000000) /* what the directory holds could not be read: again */
#define SEGMENT_MIN   (UINT64_C(4) << 20)
#define SEGMENTS_KEPT 8 /* at least so many make up what is kept, where that is little */

static void set_limits(struct spill_disk *d)
{
	d->retention.limits = (struct retention_limits){ .age_ns = d->settings.log.max_age_ns,
							 .bytes = d->settings.log.max_bytes,
							 .messages = d->settings.log.max_messages };
}

/* Payload of a segment: the largest message fits, wherever it begins. */
static uint64_t least_payload(uint64_t ring_bytes)
{
	return BUS_ALIGN_UP(ring_bytes / 4, (uint64_t)LOG_AREA_ALIGN) + LOG_AREA_ALIGN;
}

int spill_check_limits(const struct ctl_log_settings *log, uint64_t ring_bytes, struct why *why)
{
	const uint64_t segment =
		SEGMENT_MIN / 4 + bus_max_u64(SEGMENT_MIN / 4 * 3, least_payload(ring_bytes));
	const unsigned long long least = (2 * segment + ((1u << 20) - 1)) >> 20;

	if (log->max_bytes == 0 || log->max_bytes >= 2 * segment)
		return 0;
	return because(
		why, EINVAL,
		"what is kept on disk goes by segments, and one of a stream whose ring has %llu bytes takes %.1f MiB: give at least two, --max-bytes=%lluM, or a smaller ring by --stream-bytes",
		(unsigned long long)ring_bytes, (double)segment / (1 << 20), least);
}

/* Of a segment: what is kept goes by whole ones, so where that is little they are small. */
static void set_segment(const struct spill_disk *d, struct log_file_opts *opts)
{
	const struct ctl_log_settings *log = &d->settings.log;
	uint64_t bytes = LOG_DEFAULT_BYTES, slots = LOG_DEFAULT_SLOTS;
	const uint64_t least = least_payload(d->o.view.bytes);

	if (log->max_bytes) {
		const uint64_t part = bus_max_u64(log->max_bytes / SEGMENTS_KEPT, SEGMENT_MIN);

		bytes = bus_min_u64(bytes, BUS_ALIGN_UP(part / 4 * 3, (uint64_t)LOG_AREA_ALIGN));
		slots = bus_min_u64(slots, part / 4 / RING_SLOT_BYTES);
	}
	if (log->max_messages)
		slots = bus_min_u64(slots, bus_max_u64(log->max_messages / SEGMENTS_KEPT, 16384));
	opts->bytes = bus_max_u64(bytes, least);
	opts->slots = slots;
}

static int open_log(struct spill_disk *d, struct why *why)
{
	static const enum log_policy policies[] = {
		[CTL_SYNC_NONE] = LOG_SYNC_NONE, [CTL_SYNC_INTERVAL] = LOG_SYNC_INTERVAL, [CTL_SYNC_BATCH] = LOG_SYNC_BATCH
	};
	struct log_file_opts opts = { .view = d->o.view,
				      .dir = d->o.dir,
				      .topic = d->topic,
				      .policy = policies[d->settings.log.sync],
				      .interval_ns = d->settings.log.interval_ns,
				      .punch = true,
				      .sources = &d->sources,
				      .made = spill_made,
				      .owner = d };

	memcpy(opts.uuid, d->settings.uuid, sizeof(opts.uuid));
	set_segment(d, &opts);
	set_limits(d);
	return log_file_open(&d->log, d->io, &opts, &d->start, why);
}

/* A log of another stream is not written to. */
static int take_uuid(const struct spill_settings *settings, struct recovered *rec, struct why *why)
{
	if (rec->new_uuid)
		memcpy(rec->uuid, settings->uuid, sizeof(rec->uuid));
	if (memcmp(rec->uuid, settings->uuid, sizeof(rec->uuid)) == 0)
		return 0;
	return because(why, ESTALE, "the segments in its directory are of another stream");
}

/* Where the log ends, if that is not known from before there was a ring. */
static int find_end(struct spill_disk *d, struct why *why)
{
	int rc;

	if (d->found)
		return 0;
	if (d->o.dir < 0)
		d->o.dir = spill_dir_open(d->o.data_dir, d->topic, d->settings.uuid, why);
	if (d->o.dir < 0)
		return d->o.dir;
	rc = recover_log(&d->rec, d->io, d->o.dir, &d->retention, why);
	if (rc < 0)
		return rc;
	rc = take_uuid(&d->settings, &d->rec, why);
	if (rc == 0)
		rc = recover_start_at(&d->rec, d->from, d->from_pos, &d->start, why);
	if (rc < 0) {
		retention_free(&d->retention);
		return rc;
	}
	d->start.time_ns = d->rec.end_time;
	d->ring_from = d->from;
	d->found = true;
	return 0;
}

static int recover(struct spill_disk *d, struct why *why)
{
	int rc = find_end(d, why);

	if (rc == 0)
		rc = recover_sources(&d->rec, d->io, d->o.dir, d->ring_from, &d->sources, why);
	if (rc < 0)
		return rc;
	if (d->rec.remark[0])
		log_warning("stream \"%s\": %s", d->topic, d->rec.remark);
	d->opened = true;
	return 0;
}

/* Only the disk may be at fault, or a predecessor be there still: it is tried again, and shown. */
bool spill_open_log(struct spill_disk *d)
{
	struct board_log *log = &d->o.board->log;
	struct why why = { "" };
	bool said = false;

	while (bus_load_relaxed(&d->stop) == 0) {
		int rc = d->io ? 0 : io_open(&d->io, IO_BEST, IO_DEPTH, &why);

		if (rc == 0 && !d->opened)
			rc = recover(d, &why);
		d->sources.io = d->io;
		if (rc == 0)
			rc = open_log(d, &why);
		if (rc == 0) {
			spill_set_text(d, log->io, sizeof(log->io), d->io->table->name);
			spill_set_text(d, log->io_why, sizeof(log->io_why), d->io->why);
			spill_show_use(d);
			return true;
		}
		spill_set_state(d, BOARD_LOG_STOPPED, why.text);
		spill_answer_all(d, why.text);
		spill_positions_refuse(d, why.text);
		if (!said)
			log_error("stream \"%s\" cannot be written: %s; tried again until it can",
				  d->topic, why.text);
		said = true;
		usleep(RETRY_NS / 1000);
	}
	return false;
}

int spill_find(struct spill_found *ret, int dir, const struct spill_settings *settings,
	       struct why *why)
{
	struct io *io;
	int rc = io_open(&io, IO_BEST, IO_DEPTH, why);

	if (rc < 0)
		return rc;
	rc = recover_log(&ret->rec, io, dir, &ret->retention, why);
	io_free(io); /* the writer has its own, made in its thread */
	if (rc < 0)
		return rc;
	rc = take_uuid(settings, &ret->rec, why);
	if (rc < 0) {
		spill_found_free(ret);
		return rc;
	}
	recover_start(&ret->rec, settings->stream_slots, &ret->start);
	ret->start.time_ns = ret->rec.end_time;
	return 0;
}

void spill_found_free(struct spill_found *found)
{
	retention_free(&found->retention);
}

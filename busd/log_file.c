/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_file.c - messages from the ring to the segment that is written, and syncs behind them. log_roll.c makes the
 * segments. docs/log.md has the rules.
 */
#include "log_file_internal.h"

#include "base/clock.h"
#include "base/crc32c.h"

#include <stdlib.h>
#include <string.h>

/* One write's; a larger message goes alone. */
#define BATCH_BYTES (UINT64_C(1) << 20)
#define BATCH_SLOTS (BATCH_BYTES / RING_SLOT_BYTES)
/* While a sync is under way, less than this waits for its end, so that the next one finds it in one write. */
#define WORTH_BYTES (UINT64_C(256) << 10)
/* What gathers with policy none before it is synced: a crash of the machine costs no more, and a roll waits for less. */
#define NONE_BYTES (UINT64_C(8) << 20)
/* Without messages, a mark follows the last commit by so much. */
#define MARK_NS 5000000u

static const struct log_slot *slot_of(const struct log_file *log, uint64_t seq)
{
	return &log->opts.view.slots[seq & (log->opts.view.slot_count - 1)];
}

/* Where a message's bytes end, padding included. */
static uint64_t end_of(const struct log_file *log, uint64_t seq)
{
	const struct log_slot *slot = slot_of(log, seq);
	const uint64_t len = (uint32_t)slot->lens, head_len = slot->lens >> 32 & 0xffff;

	return slot->pos + BUS_ALIGN_UP(len + head_len, (uint64_t)RING_POS_ALIGN);
}

void log_file_complain(struct log_file *log, int error, const char *doing)
{
	if (io_is_full(error))
		log->counts.full++;
	else
		log->counts.errors++;
	snprintf(log->why, sizeof(log->why), "%s: %s", doing, strerror(-error));
}

/* ---- what has ended ---- */

static void note_sources(struct log_file *log)
{
	const uint64_t gate = log_file_gate(log);

	if (log->opts.sources) {
		for (uint64_t seq = log->noted; seq < gate; seq++)
			sources_note(log->opts.sources, slot_of(log, seq)->src,
				     slot_of(log, seq)->src_seq);
	}
	log->noted = gate;
}

static void count_sync(struct log_file *log, const struct lane *lane)
{
	const uint64_t ns = log->now - bus_min_u64(log->now, lane->began_ns), us = ns / 1000;
	unsigned bucket = us ? 63 - (unsigned)__builtin_clzll(us) : 0;

	if (bucket >= LOG_HISTOGRAM)
		bucket = LOG_HISTOGRAM - 1;
	log->counts.sync_us[bucket]++;
	log->counts.sync_ns += ns;
	log->counts.syncs++;
}

static void lane_done(struct io_request *req)
{
	struct lane *lane = req->owner;

	lane->ended = true;
	if (req->error == 0)
		return;
	/* Whatever it was: none of this segment's syncs is believed from here on, and none is tried again. */
	lane->log->failing = true;
	lane->log->full = io_is_full(req->error);
	log_file_complain(lane->log, req->error,
			  req->ops[req->at].kind == IO_WRITE ? "writing messages"
							     : "syncing messages");
}

static void take_sync(struct log_file *log, const struct lane *lane)
{
	count_sync(log, lane);
	log->last_sync = log->now;
	if (lane->covers > log->durable) {
		log->durable = lane->covers;
		log->durable_pos = lane->covers_pos;
		log->counts.commits++;
		log->backoff = 0;
	}
}

static void retire_aside(struct log_file *log)
{
	if (!log->aside_busy || !log->aside.ended)
		return;
	log->aside_busy = log->sync_busy = false;
	if (!log->failing)
		take_sync(log, &log->aside);
}

static void retire(struct log_file *log)
{
	retire_aside(log);
	while (log->lane_count && log->lanes[log->lane_first % LANES].ended) {
		const struct lane *lane = &log->lanes[log->lane_first % LANES];

		log->lane_first++;
		log->lane_count--;
		if (lane->syncs)
			log->sync_busy = false;
		if (log->failing)
			continue;
		log->written = lane->to;
		log->written_pos = lane->to_pos;
		if (lane->syncs)
			take_sync(log, lane);
		/* Before the gate is seen to have moved: the slots are still theirs. */
		note_sources(log);
	}
	if (log->failing && log->lane_count == 0 && !log->aside_busy)
		log_roll_give_up(log);
}

/* ---- what is begun ---- */

void log_file_add_mark(struct log_file *log, struct log_out *out, struct io_request *req, uint8_t *buf)
{
	struct log_mark mark = { .magic = LOG_MARK_MAGIC,
				 .base_seq = out->base_seq,
				 .seq = log->durable,
				 .pos = log->durable_pos,
				 .time_ns = bus_realtime_ns() };

	/* Of what an fdatasync has put on disk before: never in the request that is to put it there. */
	if (log->durable <= out->marked)
		return;
	mark.crc = crc32c_extend(crc32c(log->opts.uuid, LOG_UUID_BYTES), &mark,
				 offsetof(struct log_mark, crc));
	memset(buf, 0, LOG_MARK_BYTES);
	memcpy(buf, &mark, sizeof(mark));
	io_add(req, IO_WRITE, out->fd, buf,
	       LOG_MARKS_OFF + (uint64_t)(out->mark_count % LOG_MARKS) * LOG_MARK_BYTES,
	       LOG_MARK_BYTES);
	out->mark_count++;
	out->marked = log->durable;
	log->counts.marks++;
}

/* Whether [log->next, to) fit into the segment and into one write. */
static bool fits(const struct log_file *log, uint64_t to)
{
	const uint64_t end = end_of(log, to - 1);

	if (to - log->cur.base_seq > log->opts.slots || end - log->cur.base_pos > log->opts.bytes)
		return false;
	return to - log->next == 1 ||
	       (to - log->next <= BATCH_SLOTS && end - slot_of(log, log->next)->pos <= BATCH_BYTES);
}

/* The end of the next write: log->next, if not even one message fits. */
static uint64_t batch_end(const struct log_file *log)
{
	uint64_t low = log->next;
	uint64_t high = bus_min_u64(log->offered, log->next + BATCH_SLOTS);

	if (high == low || fits(log, high))
		return high;
	while (high - low > 1) {
		const uint64_t mid = low + (high - low) / 2;

		if (fits(log, mid))
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* Of a ring that waits for it: a publisher does not wait for an interval. */
static bool ring_fills(const struct log_file *log, uint64_t to)
{
	const struct log_view *view = &log->opts.view;

	return to - log->durable >= view->slot_count / 4 ||
	       end_of(log, to - 1) - log->durable_pos >= view->bytes / 4;
}

/* Of all below `to`, once that is written. */
static bool sync_is_due(const struct log_file *log, uint64_t to)
{
	if (log->opts.policy == LOG_SYNC_NONE || to == log->durable)
		return false;
	if (log->flush_to > log->durable || log->opts.policy == LOG_SYNC_BATCH)
		return true;
	return log->now - log->last_sync >= log->opts.interval_ns || ring_fills(log, to);
}

/*
 * Policy none: what is written leaves the ring, so no write may wait for a sync, not even in the order of lanes. The
 * disk is kept busy while a segment fills, so that little is left for the roll to wait for.
 */
static void sync_aside(struct log_file *log)
{
	struct lane *aside = &log->aside;
	const uint64_t bytes = log->written_pos - log->durable_pos +
			       (log->written - log->durable) * RING_SLOT_BYTES;

	if (log->opts.policy != LOG_SYNC_NONE || log->sync_busy || log->failing ||
	    log->roll != ROLL_NO || log->cur.fd < 0 || log->written == log->durable)
		return;
	if (log->flush_to <= log->durable && bytes < NONE_BYTES)
		return;
	io_begin(&aside->req, lane_done, aside);
	io_add(&aside->req, IO_DATASYNC, log->cur.fd, NULL, 0, 0);
	aside->log = log;
	/* what lanes still write is not in it */
	aside->covers = log->written;
	aside->covers_pos = log->written_pos;
	aside->ended = false;
	aside->began_ns = log->now;
	log->aside_busy = log->sync_busy = true;
	io_submit(log->io, &aside->req);
}

static void add_messages(struct log_file *log, struct lane *lane)
{
	const struct log_view *view = &log->opts.view;
	const uint64_t off = LOG_SLOTS_OFF + (lane->from - log->cur.base_seq) * RING_SLOT_BYTES;
	const uint64_t before_wrap = bus_min_u64(
		lane->to - lane->from, view->slot_count - (lane->from & (view->slot_count - 1)));
	const uint64_t pos = slot_of(log, lane->from)->pos;

	io_add(&lane->req, IO_WRITE, log->cur.fd, slot_of(log, lane->from), off,
	       before_wrap * RING_SLOT_BYTES);
	io_add(&lane->req, IO_WRITE, log->cur.fd, view->slots, off + before_wrap * RING_SLOT_BYTES,
	       (lane->to - lane->from - before_wrap) * RING_SLOT_BYTES);
	io_add(&lane->req, IO_WRITE, log->cur.fd, view->payload + (pos & (view->bytes - 1)),
	       log->payload_off + (pos - log->cur.base_pos), lane->to_pos - pos);
	log->last_commit_bytes = lane->to_pos - pos + (lane->to - lane->from) * RING_SLOT_BYTES;
	log->counts.bytes += log->last_commit_bytes;
}

/* Begins a lane for [next, to) (none: to = next), with a sync behind it or not. */
static void begin_lane(struct log_file *log, uint64_t to, bool syncs)
{
	struct lane *lane = &log->lanes[(log->lane_first + log->lane_count) % LANES];

	io_begin(&lane->req, lane_done, lane);
	lane->log = log;
	lane->from = log->next;
	lane->to = to;
	lane->to_pos = to > log->next ? end_of(log, to - 1) : log->next_pos;
	lane->syncs = syncs;
	lane->ended = false;
	lane->began_ns = log->now;
	log_file_add_mark(log, &log->cur, &lane->req, lane->mark);
	if (to > lane->from)
		add_messages(log, lane);
	if (syncs) {
		/* What other lanes still write is not in it. */
		const bool all = log->written == lane->from;

		io_add(&lane->req, IO_DATASYNC, log->cur.fd, NULL, 0, 0);
		lane->covers = all ? to : log->written;
		lane->covers_pos = all ? lane->to_pos : log->written_pos;
		log->sync_busy = true;
	}
	if (to > lane->from)
		log->time_ns = bus_max_u64(log->time_ns, slot_of(log, to - 1)->time);
	log->next = to;
	log->next_pos = lane->to_pos;
	log->lane_count++;
	io_submit(log->io, &lane->req);
}

/* One lane, if there is anything to be begun. */
static bool write_some(struct log_file *log)
{
	uint64_t to, bytes;
	bool syncs;

	if (log->lane_count == LANES || log->failing || log->roll != ROLL_NO || log->cur.fd < 0)
		return false;
	to = batch_end(log);
	if (to == log->next && log->offered > log->next) {
		/* Full. The next one's header waits until all of this one is on disk. */
		log->flush_to = log->next;
		if (log->durable == log->next && log->lane_count == 0) {
			/* an empty one takes any message that a ring of ours has */
			assert(log->next > log->cur.base_seq);
			log_roll_begin(log);
			return false;
		}
	}
	bytes = to > log->next ? end_of(log, to - 1) - slot_of(log, log->next)->pos +
					 (to - log->next) * RING_SLOT_BYTES
			       : 0;
	if (to > log->next && log->sync_busy && !log->aside_busy && bytes < WORTH_BYTES)
		return false;
	/* A sync goes in one request with what it is for. */
	syncs = !log->sync_busy && sync_is_due(log, to);
	if (syncs && to == log->next && log->written == log->durable)
		return false; /* only what is under way would be synced, and it is not there yet */
	if (to == log->next && !syncs)
		return false;
	begin_lane(log, to, syncs);
	return true;
}

/* Nothing else to do: the last commit gets its mark. */
static void mark_when_idle(struct log_file *log)
{
	if (log->lane_count || log->failing || log->roll != ROLL_NO || log->cur.fd < 0 ||
	    log->durable <= log->cur.marked || log->now - log->last_sync < MARK_NS)
		return;
	begin_lane(log, log->next, false);
}

uint64_t log_file_run(struct log_file *log, uint64_t now_ns)
{
	uint64_t due = UINT64_MAX;

	log->now = now_ns;
	retire(log);
	log_numbers_run(log);
	log_roll_run(log);
	while (write_some(log))
		continue;
	sync_aside(log);
	log_roll_run(log);
	mark_when_idle(log);

	if (log->cur.fd >= 0 && log->lane_count == 0 && log->roll == ROLL_NO) {
		if (log->durable > log->cur.marked)
			due = log->last_sync + MARK_NS;
		if (log->next > log->durable && log->opts.policy == LOG_SYNC_INTERVAL)
			due = bus_min_u64(due, log->last_sync + log->opts.interval_ns);
	}
	due = bus_min_u64(due, log_roll_due(log));
	return due == UINT64_MAX ? due : due - bus_min_u64(due, now_ns);
}

void log_file_offer(struct log_file *log, uint64_t head)
{
	assert(head >= log->offered && head - log_file_gate(log) <= log->opts.view.slot_count);
	log->offered = head;
}

void log_file_flush(struct log_file *log)
{
	log->flush_to = log->offered;
}

/* ---- what is said ---- */

uint64_t log_file_next(const struct log_file *log)
{
	return log->next;
}

uint64_t log_file_written(const struct log_file *log)
{
	return log->written;
}

uint64_t log_file_durable(const struct log_file *log)
{
	return log->durable;
}

uint64_t log_file_gate(const struct log_file *log)
{
	return log->opts.policy == LOG_SYNC_NONE ? log->written : log->durable;
}

uint64_t log_file_limit(const struct log_file *log)
{
	if (!log->begun)
		return log->durable;
	return log->opts.policy == LOG_SYNC_NONE ? log->number_limit : UINT64_MAX;
}

enum log_state log_file_state(const struct log_file *log)
{
	const int numbers = log_numbers_error(log);

	if (log->full && (log->roll != ROLL_NO || log->failing))
		return LOG_FULL;
	if (log->failing || (log->roll != ROLL_NO && log->backoff))
		return LOG_FAILING;
	if (numbers)
		return io_is_full(numbers) ? LOG_FULL : LOG_FAILING;
	if (log->roll != ROLL_NO)
		return log->begun ? LOG_ROLLING : LOG_STARTING;
	return LOG_RUNNING;
}

const char *log_file_why(const struct log_file *log)
{
	return log->why;
}

const struct log_counts *log_file_counts(const struct log_file *log)
{
	return &log->counts;
}

/* ---- begin and end ---- */

static int check_opts(struct log_file *log, struct why *why)
{
	const struct log_view *view = &log->opts.view;

	if (!log->opts.slots)
		log->opts.slots = LOG_DEFAULT_SLOTS;
	if (!log->opts.bytes)
		log->opts.bytes = LOG_DEFAULT_BYTES;
	if (!log->opts.numbers_step || log->opts.numbers_step > LOG_NUMBERS_STEP)
		log->opts.numbers_step = LOG_NUMBERS_STEP;
	if (!bus_is_pow2(view->slot_count) || !bus_is_pow2(view->bytes))
		return because(why, EINVAL, "a stream's ring has powers of two of slots and bytes");
	if (log->opts.slots > LOG_MAX_SLOTS || log->opts.bytes > LOG_MAX_BYTES)
		return because(why, EINVAL, "a segment has at most %llu messages and %llu bytes",
			       (unsigned long long)LOG_MAX_SLOTS, (unsigned long long)LOG_MAX_BYTES);
	/* The largest message must fit, wherever in its page it begins. */
	if (log->opts.bytes % LOG_AREA_ALIGN ||
	    log->opts.bytes < BUS_ALIGN_UP(view->bytes / 4, (uint64_t)LOG_AREA_ALIGN) + LOG_AREA_ALIGN)
		return because(why, EINVAL,
			       "a segment has a multiple of %d bytes, and room for the largest message (a "
			       "quarter of the ring's %llu bytes) and %d more",
			       LOG_AREA_ALIGN, (unsigned long long)view->bytes, LOG_AREA_ALIGN);
	if (strlen(log->opts.topic) >= LOG_TOPIC_MAX)
		return because(why, EINVAL, "a topic's name has at most %d bytes", LOG_TOPIC_MAX - 1);
	return 0;
}

int log_file_open(struct log_file **ret, struct io *io, const struct log_file_opts *opts,
		  const struct log_start *start, struct why *why)
{
	struct log_file *log = calloc(1, sizeof(*log));
	int error;

	if (!log)
		return because(why, ENOMEM, "no memory for a log's writer");
	log->io = io;
	log->opts = *opts;
	log->front = calloc(1, FRONT_BYTES);
	error = log->front ? check_opts(log, why) : because(why, ENOMEM, "no memory for a header");
	if (error < 0) {
		free(log->front);
		free(log);
		return error;
	}
	log->payload_off = BUS_ALIGN_UP(LOG_SLOTS_OFF + log->opts.slots * RING_SLOT_BYTES,
					(uint64_t)LOG_AREA_ALIGN);
	log->size = log->payload_off + log->opts.bytes;
	log->start = *start;
	log->time_ns = start->time_ns;
	log->offered = log->next = log->written = log->durable = log->noted = start->seq;
	log->next_pos = log->written_pos = log->durable_pos = start->pos;
	log->serial = start->seq;
	log->cur.fd = log->ahead.fd = log->old.fd = log->snapshot_fd = log->numbers_fd = -1;
	log->roll = ROLL_WANTED;
	/* The memory is written from again and again; refused, it is not registered, and that is all. */
	(void)io->table->use_memory(io, (void *)(uintptr_t)opts->view.slots,
				    opts->view.slot_count * RING_SLOT_BYTES);
	(void)io->table->use_memory(io, (void *)(uintptr_t)opts->view.payload, opts->view.bytes * 2);
	*ret = log;
	return 0;
}

void log_file_close(struct log_file *log)
{
	if (!log)
		return;
	while (log->lane_count || (log->aside_busy && !log->aside.ended) || log->ahead_busy ||
	       log->roll_busy || log->seal_busy || log->numbers_busy) {
		io_poll(log->io, 100);
		while (log->lane_count && log->lanes[log->lane_first % LANES].ended) {
			log->lane_first++;
			log->lane_count--;
		}
	}
	log->io->table->leave_memory(log->io, (void *)(uintptr_t)log->opts.view.slots,
				     log->opts.view.slot_count * RING_SLOT_BYTES);
	log->io->table->leave_memory(log->io, (void *)(uintptr_t)log->opts.view.payload,
				     log->opts.view.bytes * 2);
	log_roll_close(log);
	free(log->front);
	free(log->snapshot);
	free(log);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sub_disk.c - a stream's messages that have left its ring, read from its log (log_topic.c), and back to the ring.
 *
 * Both are read by number alone. Which of the two is asked for number N is decided where nothing that was read
 * waits to be lent: the ring, if N stands there and is not about to be overwritten, else the log. The ring keeps
 * what is not written yet, so one of them has it. docs/memory-model.md, "From the ring to the disk and back".
 *
 * What was read from disk lies in private memory until it is released, and is never void.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/sub_disk.h"

#define AGAIN_NS  100000000u /* after busd did not answer */
#define SOON_NS   1000000u   /* what is said to be written is not there yet: never seen for long */
#define SOON_MAX  2000       /* times in a row, until it counts as lost */
#define EARLY_MAX 6 /* what is not said to be written is asked for up to 2^6 times more seldom */

/* ---- memory ---- */

bool bus__sub_disk_attach(struct sub_ring *r, const struct board_head *board)
{
	struct sub_disk *d;

	if ((board->flags & BOARD_TOPIC_DISK) == 0)
		return true;
	d = calloc(1, sizeof(*d));
	if (d != NULL)
		d->end = calloc(1, sizeof(*d->end));
	if (d == NULL || d->end == NULL) {
		free(d);
		return false;
	}
	d->last = &d->first;
	r->disk = d;
	return true;
}

/* What is borrowed of the present batch stays, and the next one is read elsewhere. 0, -ENOMEM. */
static int put_by(struct sub_disk *d)
{
	struct log_buffer *buf = &d->rd.buf;
	struct chunk *chunk;

	if (d->out == 0)
		return 0;
	chunk = malloc(sizeof(*chunk));
	if (chunk == NULL)
		return -ENOMEM;
	*chunk = (struct chunk){ .bytes = buf->bytes, .room = buf->room, .out = d->out };
	d->held += chunk->room;
	*d->last = chunk;
	d->last = &chunk->next;
	d->out = 0;
	buf->bytes = d->spare;
	buf->room = d->spare_room;
	d->spare = NULL;
	d->spare_room = 0;
	return 0;
}

static void drop_first(struct sub_disk *d)
{
	struct chunk *chunk = d->first;

	d->first = chunk->next;
	if (d->first == NULL)
		d->last = &d->first;
	d->held -= chunk->room;
	if (d->spare == NULL && d->open) {
		d->spare = chunk->bytes;
		d->spare_room = chunk->room;
	} else {
		free(chunk->bytes);
	}
	free(chunk);
}

/* The log is not read for now. Nothing of the present batch is borrowed. */
static void close_log(struct sub_disk *d)
{
	if (d->open) {
		log_reader_close(&d->rd);
		log_dir_close(&d->dir);
	}
	free(d->spare);
	d->spare = NULL;
	d->open = d->gap = false;
	d->rd = (struct log_reader){ .count = 0 };
	d->at = 0;
}

void bus__sub_disk_free(struct sub_disk *d)
{
	if (d == NULL)
		return;
	close_log(d);
	while (d->first != NULL)
		drop_first(d);
	free(d->end);
	free(d);
}

/* ---- one or the other ---- */

bool bus__sub_disk_enter(struct sub_ring *r)
{
	if (r->disk == NULL || r->disk->off)
		return false;
	r->disk->seek = SEEK_NUMBER;
	r->disk->starting = false; /* it had begun in the ring: what has gone since then is missed */
	r->from_disk = true;
	return true;
}

/* In the ring, and a quarter of it away from what is overwritten next. */
static bool is_well_inside(const struct sub_ring *r, const struct ring_peeked *p)
{
	const struct ring_view *v = &r->rd.view;
	uint64_t fs = bus_load_relaxed(&v->page->frontier_seq);
	uint64_t fp = bus_load_relaxed(&v->page->frontier_pos);

	return (int64_t)(fs + v->slot_count / 4 - p->seq - v->slot_count) <= 0 &&
	       (int64_t)(fp + v->bytes / 4 - p->pos - v->bytes) <= 0;
}

/*
 * Whether to go on in the ring. What is not written is nowhere else; and what is about to be overwritten is
 * rather read from disk than twice.
 */
static bool is_rings(const struct sub_ring *r)
{
	uint64_t written = bus_load_acquire(&r->topic->board->spilled_seq), next = r->rd.ahead;
	struct ring_peeked p;

	if (r->disk->seek > SEEK_NUMBER)
		return false;
	if (next >= written)
		return true;
	return ring_reader_peek(&r->rd, &p) == RING_MESSAGE && is_well_inside(r, &p);
}

/* 0, or -ENOMEM: it stays with the log. */
static int to_ring(struct sub_ring *r)
{
	int err = put_by(r->disk);

	if (err < 0)
		return err;
	close_log(r->disk);
	r->disk->starting = false;
	r->disk->soon = r->disk->early = 0;
	r->disk->retry_at = 0;
	r->disk->error = 0;
	r->from_disk = false;
	return 0;
}

static void try_later(struct sub_disk *d, uint64_t ns)
{
	d->retry_at = bus_monotonic_ns() + ns;
}

/*
 * There is nothing to be had from disk: the ring goes on where it can, and counts; where it begins later than that, it
 * would show nothing before it has come round. Once nothing is borrowed.
 */
static int give_up(struct sub_ring *r, bool *again)
{
	struct ring_reader *rd = &r->rd;
	int err;

	if (r->borrowed > 0) {
		try_later(r->disk, SOON_NS);
		return 0;
	}
	*again = true;
	err = to_ring(r);
	if (err < 0)
		return err;
	r->disk->off = true;
	if (rd->cur < rd->first) {
		rd->lost += rd->first - rd->cur;
		rd->lost_unsaid += rd->first - rd->cur;
		rd->cur = rd->ahead = rd->first;
		ring_reader_flush(rd);
	}
	return 0;
}

/* ---- reading ---- */

/* The name may be another stream's by now, whose log was opened then. */
static bool is_anothers(struct sub_ring *r)
{
	struct sub_disk *d = r->disk;

	bus_fence_acquire(); /* set before the name was free */
	if (((const volatile struct board_head *)r->topic->board)->flags & BOARD_TOPIC_REMOVED)
		return true;
	if (d->uuid_known)
		return memcmp(d->uuid, d->dir.uuid, sizeof(d->uuid)) != 0;
	memcpy(d->uuid, d->dir.uuid, sizeof(d->uuid));
	d->uuid_known = true;
	return false;
}

static int open_log(struct sub_ring *r)
{
	struct sub_disk *d = r->disk;
	int err;

	if (d->open)
		return 0;
	bus__origin_init(&d->origin, r->sub->bus, r->topic->name);
	err = log_dir_open_origin(&d->dir, &d->origin.origin, r->rd.ahead, false);
	if (err < 0)
		return err;
	if (is_anothers(r))
		err = -ESTALE;
	else
		err = log_reader_open(&d->rd, &d->dir);
	if (err < 0)
		log_dir_close(&d->dir);
	d->open = err == 0;
	return err;
}

static int find_place(struct sub_ring *r)
{
	struct sub_disk *d = r->disk;
	int err = 0;

	if (d->seek == SEEK_NOT)
		return 0;
	if (d->seek == SEEK_NUMBER)
		log_reader_seek(&d->rd, r->rd.ahead);
	else if (d->seek == SEEK_TIME)
		err = log_reader_seek_time(&d->rd, d->seek_value);
	else
		err = log_reader_seek_back_from(&d->rd, d->seek_end, d->seek_value);
	if (err < 0)
		return err;
	d->seek = SEEK_NOT;
	if (d->rd.seq != r->rd.ahead) {
		r->rd.cur = r->rd.ahead = d->rd.seq;
		ring_reader_flush(&r->rd);
	}
	return 0;
}

static void note_error(struct sub_disk *d, int err)
{
	d->error = err;
	bus__why_save(d->why);
}

/* 0: it is tried again, or the ring goes on (*again); else an error for the caller, who lost nothing. */
static int trouble(struct sub_ring *r, int err, bool *again)
{
	switch (err) {
	case -EPIPE: /* the next busd has it */
		err = bus__fail(err,
				"there is no busd at %s that would hand the log's next file over",
				r->sub->bus->socket);
		/* fall through */
	case -ETIMEDOUT:
	case -EAGAIN:
		note_error(r->disk, err);
		try_later(r->disk, AGAIN_NS);
		return 0;
	case -ENOENT: /* removed, or the right was taken away */
	case -EACCES:
	case -ESTALE:
	case -EOPNOTSUPP:
	case -EPROTO:
	case -EPROTONOSUPPORT:
		return give_up(r, again);
	default:
		return err;
	}
}

/*
 * Everything below is read: only the ring can have more, or what it had is a moment away. Behind the end of all that
 * is written there may also be a hole that busd has still to declare, with its first segment: the disk may be
 * full, and nothing is lost for that. No segment: nothing was ever written.
 */
static int at_end(struct sub_ring *r, bool *again)
{
	const struct log_place *known = &r->disk->dir.known;
	struct sub_disk *d = r->disk;
	struct ring_peeked p;

	if (ring_reader_peek(&r->rd, &p) == RING_MESSAGE ||
	    r->rd.ahead >= bus_load_acquire(&r->rd.view.page->head)) {
		*again = true;
		return to_ring(r);
	}
	if (r->rd.ahead >= known->written_seq || known->segments == 0) {
		try_later(d, SOON_NS << d->early);
		if (d->early == EARLY_MAX)
			note_error(d,
				   bus__fail(-EAGAIN,
					     "busd has not begun to write the log again (bus-topic info %s)",
					     r->topic->name));
		else
			d->early++;
		return 0;
	}
	if (++d->soon < SOON_MAX) {
		try_later(d, SOON_NS);
		return 0;
	}
	return give_up(r, again);
}

/* Nothing is borrowed. */
static int pass_gap(struct sub_ring *r)
{
	struct sub_disk *d = r->disk;
	const struct log_gap *gap = &d->rd.gap;
	bool again;

	d->gap = false;
	if (gap->to == LOG_OPEN_END) /* its last file is none, and nobody knows how far it went */
		return give_up(r, &again);
	if (gap->why != LOG_HOLE && !(gap->why == LOG_GONE && d->starting)) {
		r->rd.lost += gap->to - gap->from;
		r->rd.lost_unsaid += gap->to - gap->from;
	}
	r->rd.cur = r->rd.ahead = gap->to;
	ring_reader_flush(&r->rd);
	if (gap->why == LOG_UNSUPPORTED)
		return bus__fail(-EPROTONOSUPPORT,
				 "a message of \"%s\" needs a newer libbus than " BUS_VERSION
				 ": it was left out",
				 r->topic->name);
	return 0;
}

static bool is_due(struct sub_disk *d)
{
	if (d->retry_at != 0 && bus_monotonic_ns() < d->retry_at)
		return false;
	d->retry_at = 0;
	return true;
}

/*
 * The next batch. 1: there is one; 0: not now, or *again: something else is to be looked at; -errno. As many bytes
 * are lent at a time as the ring could, and a batch.
 */
static int read_batch(struct sub_ring *r, bool *again)
{
	struct sub_disk *d = r->disk;
	int step;

	if (r->borrowed > 0 && (d->gap || d->held >= r->rd.view.bytes))
		return 0;
	step = d->gap ? LOG_STEP_GAP : put_by(d);
	if (step == 0) {
		d->at = 0;
		step = log_reader_step(&d->rd, LOG_BATCH);
	}
	switch (step) {
	case LOG_STEP_MESSAGES:
		d->soon = d->early = 0;
		return 1;
	case LOG_STEP_GAP:
		d->gap = true;
		if (r->borrowed > 0)
			return 0;
		*again = true;
		return pass_gap(r);
	case LOG_STEP_END:
		return at_end(r, again);
	default:
		return step;
	}
}

static int more(struct sub_ring *r, bool *again)
{
	struct sub_disk *d = r->disk;
	int err;

	if (!d->gap && is_rings(r)) {
		*again = true;
		return to_ring(r);
	}
	if (!is_due(d))
		return 0;
	err = open_log(r);
	if (err == 0)
		err = find_place(r);
	if (err == 0) {
		d->error = 0;
		err = read_batch(r, again);
	}
	return err < 0 && !*again ? trouble(r, err, again) : err;
}

static void fill(struct sub_ring *r, const struct log_message *m, struct bus_msg *msg)
{
	*msg = (struct bus_msg){ .data = m->data,
				 .len = m->len,
				 .seq = m->seq,
				 .time_ns = m->time,
				 .topic = r->topic->name,
				 .key = m->key_len ? m->head : NULL,
				 .key_len = m->key_len,
				 .key_hash = m->key_hash,
				 .from = bus__sub_stream_who(r, m->src, m->src_seq) };
	if ((m->flags & RING_FLAG_HEADERS) && m->head_len > m->key_len) {
		msg->headers = m->head + m->key_len;
		msg->headers_len = (uint32_t)(m->head_len - m->key_len);
	}
}

/* BUS_START_TIME: those that are older. Nothing is borrowed. */
static void pass_early(struct sub_ring *r)
{
	struct sub_disk *d = r->disk;

	while (d->at < d->rd.count && d->rd.msgs[d->at].time < r->after_ns) {
		d->at++;
		r->rd.cur++;
		r->rd.ahead++;
	}
	if (d->at < d->rd.count)
		r->after_ns = 0;
}

int bus__sub_disk_take(struct sub_ring *r, struct bus_msg *msgs, uint64_t *pos, int room, bool *again)
{
	struct sub_disk *d = r->disk;
	int n, err;

	if (d->at == d->rd.count) {
		err = more(r, again);
		if (err <= 0)
			return err;
	}
	if (bus_unlikely(r->after_ns != 0)) {
		pass_early(r);
		*again = d->at == d->rd.count;
	}
	for (n = 0; n < room && d->at < d->rd.count; n++, d->at++) {
		fill(r, &d->rd.msgs[d->at], &msgs[n]);
		pos[n] = d->rd.msgs[d->at].pos;
	}
	d->out += (uint32_t)n;
	d->starting = d->starting && n == 0;
	return n;
}

void bus__sub_disk_untake(struct sub_ring *r)
{
	r->disk->at--;
	r->disk->out--;
}

bool bus__sub_disk_ready(const struct sub_ring *r)
{
	const struct sub_disk *d = r->disk;

	return d->at < d->rd.count || d->retry_at == 0 || bus_monotonic_ns() >= d->retry_at;
}

uint64_t bus__sub_disk_due(const struct sub_ring *r)
{
	return r->disk->retry_at;
}

int bus__sub_disk_error(const struct sub_ring *r, const char **why)
{
	*why = r->disk->why;
	return r->disk->error;
}

/* ---- released ---- */

static void give_back(struct sub_disk *d, uint32_t n)
{
	while (n > 0 && d->first != NULL) {
		uint32_t k = bus_min_u64(n, d->first->out);

		d->first->out -= k;
		n -= k;
		if (d->first->out == 0)
			drop_first(d);
	}
	d->out -= n;
}

bool bus__sub_disk_whole(const struct sub_ring *r, bool disk, uint64_t pos)
{
	if (r->voided)
		return false;
	if (disk)
		return true;
	bus_fence_acquire(); /* A1, as in ring_reader_release() */
	return !ring_overwritten(&r->rd.view, r->rd.ahead - r->borrowed, pos);
}

void bus__sub_disk_pass(struct sub_ring *r, uint32_t n, bool disk, uint64_t pos)
{
	struct ring_reader *rd = &r->rd;

	if (disk)
		give_back(r->disk, n);
	rd->cur += n;
	rd->delivered += n;
	if (rd->cur - rd->flushed >= rd->flush_every || pos - rd->flushed_pos >= rd->flush_bytes) {
		rd->flushed_pos = pos;
		ring_reader_flush(rd);
	}
}

void bus__sub_disk_void(struct sub_ring *r, uint32_t n, bool disk, uint64_t told)
{
	if (disk)
		give_back(r->disk, n);
	r->rd.lost_unsaid += told;
	r->voided = r->borrowed > 0;
	if (r->voided)
		return;
	/* read again from the first that is void: what the log read meanwhile lies behind it */
	r->rd.ahead = r->rd.cur;
	r->disk->at = 0;
	r->disk->rd.count = 0;
	r->disk->gap = false;
	r->disk->seek = SEEK_NUMBER;
}

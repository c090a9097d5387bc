/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_message.c - the messages of one segment: slots and payload read in large pieces into private memory
 * and checked there. A length or position counts only once it is within its bounds, a message only with
 * both checksums.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "os/log_own.h"

#define PAGE_SLOTS (4096 / RING_SLOT_BYTES)
#ifndef LOG_SLOTS_HELD      /* the fuzzer has less, so that little messages meet these limits */
#define LOG_SLOTS_HELD 1024 /* 64 KiB of them at a time */
#define LOG_SPAN_BYTES (256u << 10) /* payload read at once: what stays in a core's own cache */
#endif

/* ---- one slot ---- */

static const struct log_slot no_slot;

enum log_fault log_slot_parse(const struct log_segment *seg, uint64_t seq,
			      const struct log_slot *slot, struct log_message *ret)
{
	const struct log_header *h = &seg->header;
	uint64_t total, at;

	if (bus_unlikely(slot->commit != seq + 1))
		return memcmp(slot, &no_slot, sizeof(*slot)) == 0 ? LOG_UNWRITTEN : LOG_BAD_SLOT;
	ret->seq = seq;
	ret->pos = slot->pos;
	ret->time = slot->time;
	ret->src_seq = slot->src_seq;
	ret->src = slot->src;
	ret->len = (uint32_t)slot->lens;
	ret->head_len = (uint16_t)(slot->lens >> 32);
	ret->key_len = (uint8_t)(slot->lens >> 48);
	ret->flags = (uint32_t)slot->attrs;
	ret->key_hash = (uint32_t)(slot->attrs >> 32);
	total = (uint64_t)ret->head_len + ret->len;
	at = slot->pos - h->base_pos;
	if (slot->pos < h->base_pos || at > h->bytes || total > h->bytes - at ||
	    slot->pos % RING_POS_ALIGN != 0 || ret->head_len % RING_HEAD_ALIGN != 0 ||
	    ret->key_len > ret->head_len || slot->lens >> 56 != RING_LAYOUT_VERSION ||
	    (ret->flags & RING_FLAG_INLINE) || slot->zero != 0)
		return LOG_BAD_SLOT;
	return LOG_SOUND;
}

bool log_head_whole(const struct log_segment *seg, const struct log_slot *slot,
		    const struct log_message *msg, const uint8_t *head)
{
	const uint8_t *p = (const uint8_t *)slot;
	uint32_t crc = crc32c_extend(seg->seed, p, offsetof(struct log_slot, head_crc));

	crc = crc32c_extend(crc, p + offsetof(struct log_slot, body_crc),
			    sizeof(*slot) - offsetof(struct log_slot, body_crc));
	if (msg->head_len != 0)
		crc = crc32c_extend(crc, head, msg->head_len);
	return crc == slot->head_crc;
}

static bool body_whole(const struct log_segment *seg, const struct log_slot *slot,
		       const struct log_message *msg)
{
	uint32_t crc = crc32c_extend(seg->seed, &slot->pos, sizeof(slot->pos));

	return crc32c_extend(crc, msg->data, msg->len) == slot->body_crc;
}

/* ---- the buffer ---- */

void log_buffer_free(struct log_buffer *buf)
{
	free(buf->slots);
	free(buf->faults);
	free(buf->bytes);
	*buf = (struct log_buffer){ .fd = -1 };
}

static int buffer_room(struct log_buffer *buf, uint64_t bytes)
{
	size_t room = (size_t)BUS_ALIGN_UP(bus_max_u64(bytes, LOG_SPAN_BYTES), (uint64_t)4096);
	uint8_t *more;

	if (buf->room >= bytes && buf->bytes != NULL)
		return 0;
	more = aligned_alloc(4096, room);
	if (more == NULL)
		return -ENOMEM;
	free(buf->bytes);
	buf->bytes = more;
	buf->room = room;
	return 0;
}

static int buffer_begin(struct log_buffer *buf)
{
	if (buf->slots == NULL)
		buf->slots = aligned_alloc(4096, LOG_SLOTS_HELD * sizeof(*buf->slots));
	if (buf->faults == NULL)
		buf->faults = calloc(LOG_SLOTS_HELD, 1);
	return buf->slots == NULL || buf->faults == NULL ? -ENOMEM : buffer_room(buf, 0);
}

/* Slots [first, first + n) of those held, a page at a time, since reading them all failed. */
static void slots_by_page(const struct log_segment *seg, struct log_buffer *buf, uint64_t first,
			  uint64_t n)
{
	for (uint64_t i = 0; i < n;) {
		uint64_t off = log_slot_off(seg, first + i);
		uint64_t here = bus_min_u64(n - i, PAGE_SLOTS - off / RING_SLOT_BYTES % PAGE_SLOTS);
		ssize_t got = log_pread_whole(seg->pread, seg->fd, buf->slots + i,
					      here * RING_SLOT_BYTES, off);

		for (uint64_t k = 0; k < here; k++)
			buf->faults[i + k] = got < 0 ? LOG_UNREADABLE
					     : (uint64_t)got < (k + 1) * RING_SLOT_BYTES ? LOG_CUT
											 : LOG_SOUND;
		i += here;
	}
}

/* Holds slot seq, and others behind it. seq is below the limit. */
static int slots_load(const struct log_segment *seg, struct log_buffer *buf, uint64_t seq, int max)
{
	uint64_t n =
		bus_min_u64(seg->limit - seq, seq < seg->attested ? LOG_SLOTS_HELD : (uint64_t)max);
	int err = buffer_begin(buf);
	ssize_t got;

	if (err)
		return err;
	if (buf->fd == seg->fd && buf->seed == seg->seed && buf->base == seg->header.base_seq &&
	    seq >= buf->from && seq < buf->sure)
		return 0;
	n = bus_min_u64(n, LOG_SLOTS_HELD);
	got = log_pread_whole(seg->pread, seg->fd, buf->slots, n * RING_SLOT_BYTES,
			      log_slot_off(seg, seq));
	if (got == (ssize_t)(n * RING_SLOT_BYTES))
		memset(buf->faults, LOG_SOUND, n);
	else
		slots_by_page(seg, buf, seq, n);
	buf->fd = seg->fd;
	buf->seed = seg->seed;
	buf->base = seg->header.base_seq;
	buf->from = seq;
	buf->to = seq + n;
	buf->sure = bus_min_u64(buf->to, seg->attested);
	return 0;
}

/* ---- messages ---- */

struct span {
	uint64_t from, to; /* positions; equal: no bytes */
};

/*
 * Fills msgs with those from seq on whose bytes can be read at once. Returns how many; *stop: why not the
 * next one too.
 */
static int take_slots(const struct log_segment *seg, const struct log_buffer *buf, uint64_t seq,
		      struct log_message *msgs, int max, struct span *span, enum log_fault *stop)
{
	uint64_t held = buf->to - seq;
	int n = 0, most = held < (uint64_t)max ? (int)held : max;

	*span = (struct span){ 0, 0 };
	*stop = LOG_SOUND;
	for (; n < most; n++) {
		uint64_t i = seq + (uint64_t)n - buf->from;
		struct log_message *msg = &msgs[n];
		uint64_t total;

		*stop = buf->faults[i];
		if (*stop == LOG_SOUND)
			*stop = log_slot_parse(seg, seq + (uint64_t)n, &buf->slots[i], msg);
		if (bus_unlikely(*stop != LOG_SOUND))
			break;
		total = (uint64_t)msg->head_len + msg->len;
		if (total == 0)
			continue;
		if (total > LOG_SPAN_BYTES) { /* by itself */
			if (n > 0)
				break;
			*span = (struct span){ msg->pos, msg->pos + total };
			return 1;
		}
		if (span->to == span->from)
			span->from = msg->pos;
		else if (msg->pos < span->to || msg->pos + total - span->from > LOG_SPAN_BYTES)
			break;
		span->to = msg->pos + total;
	}
	return n;
}

/* 0; LOG_UNREADABLE, LOG_CUT; -ENOMEM */
static int span_load(const struct log_segment *seg, struct log_buffer *buf, const struct span *span)
{
	uint64_t size = span->to - span->from;
	uint64_t off = seg->header.payload_off + (span->from - seg->header.base_pos);
	ssize_t got;
	int err;

	if (size == 0)
		return 0;
	if (off + size > seg->file_bytes)
		return LOG_CUT;
	err = buffer_room(buf, size);
	if (err)
		return err;
	got = log_pread_whole(seg->pread, seg->fd, buf->bytes, size, off);
	return got < 0 ? LOG_UNREADABLE : (uint64_t)got < size ? LOG_CUT : 0;
}

/* A large message: memory for it is taken only once its slot has proved to be whole. */
static int large_load(const struct log_segment *seg, struct log_buffer *buf,
		      const struct log_slot *slot, const struct log_message *msg,
		      const struct span *span)
{
	struct span head = { msg->pos, msg->pos + msg->head_len };
	int err = span_load(seg, buf, &head);

	if (err)
		return err;
	return log_head_whole(seg, slot, msg, buf->bytes) ? span_load(seg, buf, span) : LOG_BAD_SLOT;
}

static enum log_fault check_message(const struct log_segment *seg, const struct log_slot *slot,
				    struct log_message *msg, const uint8_t *bytes)
{
	msg->head = bytes;
	msg->data = bytes + msg->head_len;
	if (!log_head_whole(seg, slot, msg, msg->head))
		return LOG_BAD_SLOT;
	if (!body_whole(seg, slot, msg))
		return LOG_BAD_BODY;
	return bus_unlikely(msg->flags & RING_FLAG_MUST_MASK & ~RING_FLAG_KNOWN) ? LOG_UNSUPPORTED
										 : LOG_SOUND;
}

int log_segment_read(const struct log_segment *seg, struct log_buffer *buf, uint64_t seq,
		     struct log_message *msgs, int max, enum log_fault *stop)
{
	const struct log_slot *slots;
	struct span span;
	int n, err;

	if (max > LOG_BATCH)
		max = LOG_BATCH;
	if (seq < seg->header.base_seq || seq >= seg->limit) {
		*stop = LOG_LIMIT;
		return 0;
	}
	err = slots_load(seg, buf, seq, max);
	if (err)
		return err;
	slots = &buf->slots[seq - buf->from];
	n = take_slots(seg, buf, seq, msgs, max, &span, stop);
	if (n == 0)
		return 0;
	err = span.to - span.from > LOG_SPAN_BYTES ? large_load(seg, buf, slots, &msgs[0], &span)
						   : span_load(seg, buf, &span);
	if (err > 0 && n > 1) { /* whose bytes they are shows one by one */
		n = take_slots(seg, buf, seq, msgs, 1, &span, stop);
		err = span_load(seg, buf, &span);
	}
	if (err < 0)
		return err;
	if (err > 0) {
		*stop = (enum log_fault)err;
		return 0;
	}
	for (int i = 0; i < n; i++) {
		uint64_t at = msgs[i].head_len + msgs[i].len ? msgs[i].pos - span.from : 0;
		enum log_fault fault = check_message(seg, &slots[i], &msgs[i], buf->bytes + at);

		if (bus_unlikely(fault != LOG_SOUND)) {
			*stop = fault;
			return i;
		}
	}
	return n;
}

/* ---- over what is not there ---- */

/* The slots from seq on that are all zeros, unreadable or cut off, as seq's is: the first that is not. */
static uint64_t stretch(const struct log_segment *seg, struct log_buffer *buf, uint64_t seq,
			uint64_t end, enum log_fault fault)
{
	for (uint64_t at = seq; at < end;) {
		if (fault == LOG_CUT && log_slot_off(seg, at) >= seg->file_bytes)
			return end;
		if (slots_load(seg, buf, at, LOG_SLOTS_HELD) < 0)
			return at;
		for (; at < end && at < buf->to; at++) {
			uint64_t i = at - buf->from;
			enum log_fault here = buf->faults[i];

			if (here == LOG_SOUND &&
			    memcmp(&buf->slots[i], &no_slot, sizeof(no_slot)) == 0)
				here = LOG_UNWRITTEN;
			if (here != fault)
				return at;
		}
	}
	return end;
}

uint64_t log_segment_skip(const struct log_segment *seg, struct log_buffer *buf, uint64_t seq,
			  uint64_t end, enum log_fault fault)
{
	enum log_fault stop = fault;
	struct log_message one;
	uint64_t at = seq;
	int n = 0;

	end = bus_min_u64(end, seg->limit);
	while (n == 0 && stop == fault && at < end) {
		uint64_t from = at;

		if (fault == LOG_UNWRITTEN || fault == LOG_UNREADABLE || fault == LOG_CUT)
			at = stretch(seg, buf, at, end, fault);
		at = bus_max_u64(at, from + 1);
		if (at < end)
			n = log_segment_read(seg, buf, at, &one, 1, &stop);
	}
	return bus_max_u64(at, seq + 1);
}

int log_segment_tail(const struct log_segment *seg, struct log_buffer *buf, struct log_tail *ret)
{
	struct log_tail tail = { .seq = seg->mark.seq,
				 .pos = seg->mark.pos,
				 .time = seg->mark.time_ns };
	struct log_message *msgs;
	int n;

	if (tail.seq >= seg->limit) {
		tail.seq = seg->limit;
		tail.stop = LOG_LIMIT;
		*ret = tail;
		return 0;
	}
	msgs = malloc(LOG_BATCH * sizeof(*msgs));
	if (msgs == NULL)
		return -ENOMEM;
	if (tail.seq > seg->header.base_seq)
		log_segment_time(seg, tail.seq - 1, tail.seq, &tail.time);
	do {
		n = log_segment_read(seg, buf, tail.seq, msgs, LOG_BATCH, &tail.stop);
		if (n == 0 && tail.stop == LOG_UNSUPPORTED) { /* whole, and somebody's */
			n = 1;
			tail.stop = LOG_SOUND;
		}
		if (n <= 0)
			break;
		tail.seq += (uint64_t)n;
		tail.found += (uint64_t)n;
		tail.pos = log_message_end(&msgs[n - 1]);
		tail.time = msgs[n - 1].time;
	} while (tail.stop == LOG_SOUND || tail.stop == LOG_UNSUPPORTED);
	free(msgs);
	if (n < 0)
		return n;
	*ret = tail;
	return 0;
}

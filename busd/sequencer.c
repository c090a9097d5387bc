/* SPDX-License-Identifier: Apache-2.0 */
/* sequencer.c - see sequencer.h */
#include "sequencer.h"

#include "base/crc32c.h"

#include <string.h>

/* tests/unit/busd_sequencer.c breaks one rule after another, and sees it */
#ifdef SEQUENCER_MUTANTS
static struct {
	bool scan_all, head_only, no_scan, taken_first, taken_rarely, no_whole, head_as_it_is,
		any_length;
} sequencer_mutant;
#define MUTANT(name) (sequencer_mutant.name)
#else
#define MUTANT(name) 0
#endif

/* ---- after a restart ---- */

static struct log_slot slot_at(const struct ring_view *view, uint64_t seq)
{
	const struct ring_slot *slot = ring_slot_of(view, seq);
	uint64_t from = bus_load_relaxed(&slot->in[1]);

	return (struct log_slot){
		.commit = bus_load_acquire(&slot->commit),
		.pos = bus_load_relaxed(&slot->pos),
		.time = bus_load_relaxed(&slot->time),
		.lens = bus_load_relaxed(&slot->lens),
		.src_seq = bus_load_relaxed(&slot->in[0]),
		.src = (uint32_t)from,
	};
}

/* Payload area that a message takes: nothing travels inline. */
static uint64_t need_of(uint64_t head_len, uint64_t len)
{
	return BUS_ALIGN_UP(head_len + len, (uint64_t)RING_POS_ALIGN);
}

/* What the newest slots say of their sources, which may not have been told yet. */
static void scan(struct sequencer *seq)
{
	const struct ring_view *view = &seq->out.view;
	uint64_t end = seq->out.n;
	uint64_t count = view->slot_count - 1 + MUTANT(scan_all);
	uint64_t at = end > count ? end - count : 0;

	for (; at < end; at++) {
		struct log_slot slot = slot_at(view, at);
		uint32_t i = slot.src % BOARD_SOURCES;

		if (seq->sources[i].src == slot.src && slot.src_seq >= seq->next[i])
			seq->next[i] = slot.src_seq + 1;
	}
}

/* Where the next message goes: behind the newest. */
static void find_end(struct sequencer *seq)
{
	struct ring_pub *out = &seq->out;
	uint64_t head = bus_load_acquire(&out->view.page->head);
	uint64_t most = head + out->view.slot_count;

	/* head lags: the worker may have died between a commit and it */
	while (!MUTANT(head_only) && head < most && slot_at(&out->view, head).commit == head + 1)
		head++;
	out->n = head;
	/* one that begins anew behind a log has its position there, until it has a message */
	out->pos = BUS_ALIGN_UP(bus_load_relaxed(&out->view.page->frontier_pos),
				(uint64_t)RING_POS_ALIGN);
	if (head > 0) {
		struct log_slot last = slot_at(&out->view, head - 1);

		if (last.commit != head)
			return;
		out->pos = last.pos + need_of((uint16_t)(last.lens >> 32), (uint32_t)last.lens);
		seq->time_ns = last.time;
	}
}

void sequencer_restart(struct sequencer *seq, const struct ring_view *view, uint64_t ring_id,
		       struct board_source *sources, const uint8_t uuid[LOG_UUID_BYTES])
{
	struct ring_pub *out = &seq->out;
	uint32_t i;

	seq->sources = sources;
	seq->uuid_crc = crc32c(uuid, LOG_UUID_BYTES);
	ring_pub_init(out, view, ring_id, 0, &seq->epoch);
	/* W1 is a fence of ours, once for each run: busd is not among those that a sleeper interrupts */
	out->fences = true;
	find_end(seq);
	out->bytes = bus_load_relaxed(&view->page->bytes);
	/* what was said to be overwritten may have been: never less than that */
	out->limit_seq = bus_load_relaxed(&view->page->frontier_seq);
	out->limit_pos = bus_load_relaxed(&view->page->frontier_pos);
	out->written_pos = out->limit_pos;
	for (i = 0; i < BOARD_SOURCES; i++)
		seq->next[i] = bus_load_relaxed(&sources[i].taken);
	if (!MUTANT(no_scan))
		scan(seq);
	for (i = 0; i < BOARD_SOURCES; i++)
		if (seq->next[i] != bus_load_relaxed(&sources[i].taken))
			bus_store_release(&sources[i].taken, seq->next[i]);
	ring_pub_tell(out);
	spill_open(&seq->spill, ring_id, out->n);
}

void sequencer_begin(struct sequencer *seq, struct intake *in)
{
	uint64_t next = seq->next[in->source];

	/* below it all is taken: by a former worker, or by the ring before under the same name */
	if (in->rd.cur < next)
		in->rd.cur = in->rd.ahead = next;
	ring_reader_tag(&in->rd);
	ring_reader_flush(&in->rd);
}

/* ---- one message ---- */

void sequencer_seal(uint32_t uuid_crc, struct log_slot *slot, const void *head, size_t head_len,
		    const void *body, size_t len)
{
	uint32_t crc;

	crc = crc32c_extend(uuid_crc, &slot->pos, sizeof(slot->pos));
	slot->body_crc = crc32c_extend(crc, body, len);
	slot->zero = 0;
	crc = crc32c_extend(uuid_crc, slot, offsetof(struct log_slot, head_crc));
	crc = crc32c_extend(crc, &slot->body_crc, 8);
	slot->head_crc = head_len ? crc32c_extend(crc, head, head_len) : crc;
}

/*
 * A head as the log has it: one that travelled inline was not padded, and whoever wrote another of an odd length shall not
 * make a slot that no reader of the log takes.
 */
static uint32_t head_room(const struct ring_peeked *p)
{
	return MUTANT(head_as_it_is) ? p->head_len : BUS_ALIGN_UP(p->head_len, RING_HEAD_ALIGN);
}

/* The copy is what is checksummed: the publisher may change its bytes while they are copied. */
static void copy(const struct intake *in, const struct ring_peeked *p, uint8_t *to, uint32_t head_len)
{
	const uint8_t *from = p->flags & RING_FLAG_INLINE ? (const uint8_t *)p->in
							  : ring_reader_at(&in->rd, p->pos);

	if (head_len == p->head_len) {
		memcpy(to, from, (size_t)head_len + p->len);
		return;
	}
	memcpy(to, from, p->head_len);
	memset(to + p->head_len, 0, head_len - p->head_len);
	memcpy(to + head_len, from + p->head_len, p->len);
}

static bool has_room(struct ring_pub *out, uint64_t need)
{
	return ring_pub_room(out, need) || ring_pub_refresh(out, need) == RING_ROOM;
}

static void commit(struct sequencer *seq, const struct intake *in, const struct ring_peeked *p,
		   uint8_t *at, uint32_t head_len)
{
	struct ring_pub *out = &seq->out;
	struct log_slot slot = {
		.commit = out->n + 1,
		.pos = out->pos,
		.time = seq->time_ns,
		.lens = ring_pack_lens(p->len, head_len, p->key_len),
		.attrs = ring_pack_attrs(p->flags & ~RING_FLAG_INLINE, p->key_hash),
		.src_seq = p->seq,
		.src = in->src,
	};
	uint64_t words[3];

	sequencer_seal(seq->uuid_crc, &slot, at, head_len, at + head_len, p->len);
	words[0] = slot.src_seq;
	words[1] = slot.src | (uint64_t)slot.head_crc << 32;
	words[2] = slot.body_crc;
	ring_pub_inline(out, words);
	ring_pub_commit_words(out, slot.time, slot.lens, slot.attrs, need_of(head_len, p->len),
			      p->len);
}

static void pass(struct intake *in, const struct ring_peeked *p)
{
	in->pos = p->pos;
	in->rd.ahead = ++in->rd.cur;
	in->rd.delivered++;
	in->bytes += p->flags & RING_FLAG_INLINE ? 0 : need_of(p->head_len, p->len);
}

static enum sequencer_look drop(struct intake *in, const struct ring_peeked *p)
{
	if (in->drop_to != in->rd.cur)
		in->drop_from = in->rd.cur;
	in->drop_to = in->rd.cur + 1;
	in->dropped++;
	pass(in, p);
	return SEQUENCER_TOOK;
}

/* One message more, or why not. */
static enum sequencer_look take_one(struct sequencer *seq, struct intake *in)
{
	struct ring_pub *out = &seq->out;
	struct ring_peeked p;
	enum ring_look look = ring_reader_slot(&in->rd, in->rd.ahead, &p, p.in);
	uint64_t need;
	uint32_t head_len;
	uint8_t *at;

	/* a flag that we do not know is a matter of who reads it: its lengths were checked */
	if (look == RING_EMPTY)
		return SEQUENCER_EMPTY;
	if (look != RING_MESSAGE && look != RING_UNSUPPORTED)
		return SEQUENCER_BROKEN;
	head_len = head_room(&p);
	need = need_of(head_len, p.len);
	/* no ring on a stream grows so far that libbus would send this */
	if (head_len > RING_HEAD_MAX ||
	    need > (MUTANT(any_length) ? out->view.bytes : ring_message_max(out->view.bytes)))
		return SEQUENCER_BROKEN;
	if (!spill_may_number(&seq->spill, out->n))
		return spill_drops(&seq->spill, false) ? drop(in, &p) : SEQUENCER_FULL;
	if (!has_room(out, need))
		return spill_drops(&seq->spill, true) ? drop(in, &p) : SEQUENCER_FULL;
	at = ring_pub_at(out);
	ring_pub_written(out, need);
	copy(in, &p, at, head_len);
	/* it must not write over what it has not got back: then what was copied may be anything */
	if (!ring_reader_whole(&in->rd, p.seq, p.pos) && !MUTANT(no_whole))
		return SEQUENCER_BROKEN;
	if (MUTANT(taken_first))
		bus_store_release(&seq->sources[in->source].taken, in->rd.cur + 1);
	commit(seq, in, &p, at, head_len);
	pass(in, &p);
	return SEQUENCER_TOOK;
}

/* ---- a run ---- */

/* Before taken says that they are done with. */
static void tell_dropped(struct sequencer *seq, struct intake *in)
{
	struct board_source *source = &seq->sources[in->source];
	const uint32_t gen = bus_load_relaxed(&source->drop_gen) | 1;

	bus_store_relaxed(&source->drop_gen, gen);
	bus_fence_release();
	bus_store_relaxed(&source->drop_from, in->drop_from);
	bus_store_relaxed(&source->drop_to, in->drop_to);
	bus_store_release(&source->drop_gen, gen + 1);
	bus_store_relaxed(&source->dropped, bus_load_relaxed(&source->dropped) + in->dropped);
	spill_dropped(&seq->spill, in->dropped);
	in->dropped = 0;
}

/* Tells who reads the stream, and the publisher. All of it stands in the stream already, or is dropped. */
static void tell(struct sequencer *seq, struct intake *in)
{
	seq->next[in->source] = in->rd.cur;
	if (bus_unlikely(in->dropped != 0))
		tell_dropped(seq, in);
	ring_pub_tell(&seq->out);
	spill_committed(&seq->spill, seq->out.n);
	if (!MUTANT(taken_rarely))
		bus_store_release(&seq->sources[in->source].taken, in->rd.cur);
	ring_pub_wake(&seq->out); /* nobody joins by the epoch: never RING_NEWS */
}

static void flush_if_due(struct intake *in)
{
	struct ring_reader *rd = &in->rd;

	if (rd->cur - rd->flushed < rd->flush_every && in->pos - rd->flushed_pos < rd->flush_bytes &&
	    bus_load_relaxed(&rd->view.page->waiting) == 0)
		return;
	rd->flushed_pos = in->pos;
	ring_reader_flush(rd);
}

static enum sequencer_look ended(struct intake *in)
{
	if (in->rd.cur != in->rd.flushed)
		ring_reader_flush(&in->rd);
	return ring_reader_drained(&in->rd) ? SEQUENCER_DRAINED : SEQUENCER_EMPTY;
}

enum sequencer_look sequencer_take(struct sequencer *seq, struct intake *in, uint64_t now_ns)
{
	uint64_t most = bus_min_u64(SEQUENCER_RUN, seq->out.view.slot_count / 4);
	uint64_t from = in->rd.cur, bytes = in->bytes;
	enum sequencer_look look = SEQUENCER_TOOK;

	seq->time_ns = bus_max_u64(seq->time_ns, now_ns);
	while (look == SEQUENCER_TOOK && in->rd.cur - from < most &&
	       in->bytes - bytes < SEQUENCER_RUN_BYTES)
		look = take_one(seq, in);
	if (in->rd.cur != from) {
		tell(seq, in);
		flush_if_due(in);
		return look == SEQUENCER_BROKEN ? look : SEQUENCER_TOOK;
	}
	return look == SEQUENCER_EMPTY ? ended(in) : look;
}

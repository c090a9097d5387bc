/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/log_ring.h"

#include "base/crc32c.h"

#include <stdlib.h>
#include <string.h>

void rig_ring_open(struct log_ring *rig, uint64_t slots, uint64_t bytes)
{
	*rig = (struct log_ring){ 0 };
	rig->slots = aligned_alloc(4096, BUS_ALIGN_UP(slots * RING_SLOT_BYTES, (uint64_t)4096));
	rig->payload = aligned_alloc(4096, bytes * 2);
	rig->messages = calloc(RIG_SEQ_MAX, sizeof(rig->messages[0]));
	rig->src_next = calloc(RIG_SOURCES, sizeof(rig->src_next[0]));
	assert(rig->src_next && rig->slots && rig->payload && rig->messages);
	memset(rig->slots, 0, slots * RING_SLOT_BYTES);
	memset(rig->payload, 0, bytes * 2);
	rig->view = (struct log_view){ rig->slots, rig->payload, slots, bytes };
}

void rig_ring_close(struct log_ring *rig)
{
	free(rig->slots);
	free(rig->payload);
	free(rig->messages);
	free(rig->src_next);
}

void rig_ring_begin(struct log_ring *rig, uint64_t seq, uint64_t pos)
{
	memset(rig->slots, 0, rig->view.slot_count * RING_SLOT_BYTES);
	rig->head = seq;
	rig->pos = pos;
	rig->life++;
}

static uint64_t need_of(uint32_t head_len, uint32_t len)
{
	return BUS_ALIGN_UP((uint64_t)head_len + len, (uint64_t)RING_POS_ALIGN);
}

bool rig_ring_room(const struct log_ring *rig, uint64_t gate, uint32_t head_len, uint32_t len)
{
	uint64_t oldest = rig->pos;

	if (rig->head - gate >= rig->view.slot_count)
		return false;
	if (gate < rig->head)
		oldest = rig->slots[gate & (rig->view.slot_count - 1)].pos;
	return rig->pos + need_of(head_len, len) - oldest <= rig->view.bytes;
}

uint8_t rig_byte(uint32_t life, uint64_t seq, uint64_t i)
{
	return (uint8_t)(((seq + 1) * 2654435761u + life * 40503u + i * 97u) >> 5);
}

static uint32_t seeded(const struct log_ring *rig)
{
	return crc32c(rig->uuid, sizeof(rig->uuid));
}

void rig_ring_put(struct log_ring *rig, uint32_t src, uint32_t head_len, uint32_t len)
{
	struct log_slot *slot = &rig->slots[rig->head & (rig->view.slot_count - 1)];
	const uint64_t at = rig->pos & (rig->view.bytes - 1), need = need_of(head_len, len);
	uint32_t crc;

	for (uint64_t i = 0; i < need; i++) {
		const uint8_t byte =
			i < (uint64_t)head_len + len ? rig_byte(rig->life, rig->head, i) : 0;
		const uint64_t off = (at + i) & (rig->view.bytes - 1);

		rig->payload[off] = byte;
		rig->payload[off + rig->view.bytes] = byte;
	}
	*slot = (struct log_slot){
		.pos = rig->pos,
		.time = ++rig->time,
		.lens = ring_pack_lens(len, head_len, 0),
		.src_seq = rig->src_next[src % RIG_SOURCES]++,
		.src = src,
	};
	slot->commit = rig->head + 1;
	crc = crc32c_extend(seeded(rig), &slot->pos, sizeof(slot->pos));
	slot->body_crc = crc32c_extend(crc, rig->payload + at + head_len, len);
	crc = crc32c_extend(seeded(rig), slot, offsetof(struct log_slot, head_crc));
	crc = crc32c_extend(crc, &slot->body_crc, 8);
	slot->head_crc = crc32c_extend(crc, rig->payload + at, head_len);

	assert(rig->head < RIG_SEQ_MAX && rig->messages[rig->head].life == 0);
	rig->messages[rig->head] =
		(struct rig_message){ rig->life, len, head_len, src, slot->src_seq, RIG_THERE };
	rig->head++;
	rig->pos += need;
	rig->seen = bus_max_u64(rig->seen, rig->head);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* spill.c - see spill.h */
#include "spill.h"

void spill_open(struct spill *spill, uint64_t ring_id, uint64_t durable_seq)
{
	bus_store_relaxed(&spill->gate.cursor, durable_seq);
	bus_store_release(&spill->gate.ring_id, ring_id);
}

struct ring_member spill_member(const struct spill *spill)
{
	static const _Atomic uint32_t awake;

	return (struct ring_member){
		.entry = &spill->gate, .waiting = &awake, .idle = &awake, .gates = true
	};
}

void spill_committed(struct spill *spill, uint64_t head)
{
	bus_store_release(&spill->gate.cursor, head);
}

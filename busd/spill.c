/* SPDX-License-Identifier: Apache-2.0 */
/* spill.c - see spill.h */
#include "spill.h"

#include "base/clock.h"

#include <unistd.h>

void spill_open(struct spill *spill, uint64_t ring_id, uint64_t durable_seq)
{
	spill->disk = spill->drops = false;
	spill->event_fd = -1;
	bus_store_relaxed(&spill->limit, UINT64_MAX);
	bus_store_relaxed(&spill->gate.cursor, durable_seq);
	bus_store_release(&spill->gate.ring_id, ring_id);
}

void spill_hold(struct spill *spill, uint64_t gate_seq, uint64_t head, int event_fd)
{
	spill->disk = true;
	spill->event_fd = event_fd;
	bus_store_relaxed(&spill->offered, head);
	bus_store_relaxed(&spill->limit, 0);
	bus_store_release(&spill->gate.cursor, gate_seq);
}

void spill_release(struct spill *spill)
{
	spill->disk = spill->drops = false;
	bus_store_release(&spill->gate.cursor, bus_load_relaxed(&spill->offered));
	bus_store_release(&spill->limit, UINT64_MAX);
}

struct ring_member spill_member(const struct spill *spill)
{
	static const _Atomic uint32_t awake;

	return (struct ring_member){
		.entry = &spill->gate, .waiting = &awake, .idle = &awake, .gates = true
	};
}

static void wake_writer(struct spill *spill)
{
	const uint64_t one = 1;

	bus_fence_seq_cst(); /* pairs with the writer's: it sees what was stored, or we see it asleep */
	if (bus_load_relaxed(&spill->sleeps) == 0)
		return;
	bus_store_relaxed(&spill->sleeps, 0);
	if (write(spill->event_fd, &one, sizeof(one)) < 0)
		return; /* its counter is full: it is readable already */
}

void spill_committed(struct spill *spill, uint64_t head)
{
	if (!spill->disk) {
		bus_store_release(&spill->gate.cursor, head);
		return;
	}
	bus_store_release(&spill->offered, head);
	wake_writer(spill);
}

bool spill_drops(struct spill *spill, bool may_number)
{
	const uint64_t at = bus_load_relaxed(&spill->gate.cursor);
	uint64_t now;

	if (!spill->drops || (!may_number && bus_load_relaxed(&spill->stuck) == 0))
		return false;
	now = bus_monotonic_ns();
	if (spill->full_since == 0 || at != spill->full_at) {
		spill->full_at = at;
		spill->full_since = now;
	}
	return now - spill->full_since >= SPILL_PATIENCE_NS;
}

void spill_dropped(struct spill *spill, uint64_t n)
{
	bus_store_release(&spill->dropped, bus_load_relaxed(&spill->dropped) + n);
	wake_writer(spill);
}

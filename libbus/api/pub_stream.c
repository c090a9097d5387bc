/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pub_stream.c - how far a publisher's messages have come, by what busd says on the board of a stream; and
 * what it sends again after it had died.
 */
#include <errno.h>
#include <stdlib.h>

#include "api/pub_internal.h"

#define WAIT_SLICE_NS 8000000u /* at most, between two looks at the connection */

/* ---- sending again ---- */

void bus__pub_skip(struct bus_pub *pub)
{
	pub->skip--;
	bus__pub_set_go(pub);
}

int bus_pub_rewind(struct bus_pub *pub, uint64_t seq)
{
	if (pub->magic != BUS__PUB_MAGIC)
		return -ECHILD;
	if (pub->source == NULL || !pub->named)
		return bus__fail(
			-EOPNOTSUPP,
			pub->source == NULL
				? "topic \"%s\" is no stream: nobody knows what was published before"
				: "the publisher on stream \"%s\" has no name: it is a new one each time",
			pub->topic);
	if (seq > pub->ring.n || pub->ring.n != pub->geometry.first_seq || pub->claimed)
		return bus__fail(
			-EINVAL,
			"the next message on stream \"%s\" has number %llu: only before it is sent, and to a lower "
			"one, may be gone back",
			pub->topic, (unsigned long long)pub->ring.n);
	pub->skip = pub->ring.n - seq;
	bus__pub_set_go(pub);
	return 0;
}

/* ---- levels ---- */

static int check_level(const struct bus_pub *pub, uint32_t level)
{
	if (level > BUS_LEVEL_DURABLE)
		return bus__fail(-EINVAL, "there is no level %u", level);
	if (level != BUS_LEVEL_RING && pub->source == NULL)
		return bus__fail(
			-EOPNOTSUPP,
			"topic \"%s\" is no stream: its messages are in the publisher's ring, and nowhere else "
			"(bus-topic create --stream makes one)",
			pub->topic);
	if (level == BUS_LEVEL_DURABLE && pub->board->log.sync == CTL_SYNC_NONE)
		return bus__fail(
			-EOPNOTSUPP,
			"stream \"%s\" has sync policy none: nothing is waited for, so nothing is said to be durable "
			"(a stream with --sync=batch does)",
			pub->topic);
	if (level == BUS_LEVEL_DURABLE && (pub->board->flags & BOARD_TOPIC_DISK) == 0)
		return bus__fail(
			-EOPNOTSUPP,
			"stream \"%s\" lies in memory: nothing of it is kept on disk, so nothing is durable",
			pub->topic);
	return 0;
}

/* Of a source that is ours. Acquire: what it tells of has happened. */
static uint64_t reached(const struct bus_pub *pub, uint32_t level)
{
	uint64_t seq = pub->ring.n;

	if (level == BUS_LEVEL_STREAM)
		seq = bus_load_acquire(&pub->source->taken);
	else if (level == BUS_LEVEL_DURABLE)
		seq = bus_load_acquire(&pub->source->durable);
	return bus_min_u64(seq, pub->ring.n);
}

int bus_pub_reached(struct bus_pub *pub, uint32_t level, uint64_t *seq)
{
	int err;

	if (pub->magic != BUS__PUB_MAGIC)
		return -ECHILD;
	err = check_level(pub, level);
	if (err == 0)
		*seq = reached(pub, level);
	return err;
}

uint64_t bus__pub_dropped(const struct bus_pub *pub)
{
	if (pub->source == NULL)
		return pub->past_dropped;
	return pub->past_dropped + bus_load_relaxed(&pub->source->dropped) - pub->dropped_at;
}

/* What was not told yet is told by the next wait. */
void bus__pub_move_dropped(struct bus_pub *pub, const struct bus_pub *heir)
{
	uint64_t untold;

	if (pub->source == NULL)
		return;
	untold = bus_load_relaxed(&pub->source->dropped) - pub->dropped_told;
	pub->past_dropped = bus__pub_dropped(pub);
	pub->dropped_at = heir->dropped_at;
	pub->dropped_told = heir->dropped_at - untold;
}

/* All that was waited for has come, but for what the stream dropped since that was said last. */
static int say_dropped(struct bus_pub *pub)
{
	uint64_t dropped, more;

	if (pub->source == NULL)
		return 0;
	dropped = bus_load_relaxed(&pub->source->dropped); /* behind an acquire of taken, or durable */
	more = dropped - pub->dropped_told;
	pub->dropped_told = dropped;
	if (bus_likely(more == 0))
		return 0;
	return bus__fail(
		-ENOSPC,
		"stream \"%s\" dropped %llu messages of this publisher: its ring had no room for them, since the disk did "
		"not take what was there (bus-topic info tells why), and it was made to drop what comes then",
		pub->topic, (unsigned long long)more);
}

/* Why it would be waited for in vain; 0: it would not. */
static int lost_hope(struct bus_pub *pub)
{
	bool gone;

	bus__pub_look(pub);
	if (pub->refusal != 0)
		return bus__fail(pub->refusal, "%s", pub->refusal_why);
	if (!bus__is_over(pub->bus, pub->gen))
		return 0;
	/* on disk: the next busd knows, and what it does not have it gets from us; if it comes soon */
	gone = bus_load_acquire(&pub->bus->gone) != 0;
	if (!gone && bus__pub_may_resume(pub) < 0) /* it has said why */
		return -EPIPE;
	if (gone || bus_monotonic_ns() - pub->held_since > pub->bus->timeout_ns)
		return bus__fail(
			-EPIPE,
			"the busd that had stream \"%s\" has gone, and no other one has taken it up: how far the messages came "
			"is not known",
			pub->topic);
	return 0;
}

/* One sleep; whoever sequences wakes us once it has come to seq, as it wakes who waits for room. */
static int sleep_once(struct bus_pub *pub, uint32_t level, uint64_t seq, uint64_t until)
{
	struct wake_word *words;
	uint64_t now;
	int count, err;
	bool slice;

	bus__flush_thread();
	err = bus__pub_bells(pub, &words, &count, &slice); /* bells first */
	if (err < 0)
		return err;
	/* fence W3, pairs with W2: it sees what we wait for, or we see what it has stored */
	ring_pub_wait_until(&pub->ring, seq);
	now = bus_monotonic_ns();
	if (reached(pub, level) < seq && until > now)
		err = wake_wait(words, count,
				(int64_t)bus_min_u64(until - now,
						     slice ? BUS__SLICE_NS : WAIT_SLICE_NS),
				&pub->crowd);
	ring_pub_wait_end(&pub->ring);
	free(words);
	return err == -EINTR ? err : 0;
}

static bool spin(struct bus_pub *pub, uint32_t level, uint64_t seq, uint64_t until)
{
	for (int i = 1; reached(pub, level) < seq; i++) {
		bus_cpu_relax();
		if (i % 32 == 0 && bus_monotonic_ns() >= until)
			return false;
	}
	return true;
}

int bus_pub_wait(struct bus_pub *pub, uint32_t level, uint64_t seq, int64_t timeout_ns)
{
	uint64_t began, deadline;
	int err;

	if (pub->magic != BUS__PUB_MAGIC)
		return -ECHILD;
	err = check_level(pub, level);
	if (err < 0)
		return err;
	if (seq > pub->ring.n)
		return bus__fail(-EINVAL, "message %llu was not sent yet",
				 (unsigned long long)seq - 1);
	if (reached(pub, level) >= seq)
		return level == BUS_LEVEL_RING ? 0 : say_dropped(pub);
	if (pub->claimed)
		return -EBUSY;
	began = bus_monotonic_ns();
	deadline = timeout_ns < 0 ? UINT64_MAX : began + (uint64_t)timeout_ns;
	if (spin(pub, level, seq, polling_until(&pub->level_polling, began, deadline))) {
		polling_learn(&pub->level_polling, began, 0);
		return say_dropped(pub);
	}
	for (;;) {
		bool ended = bus__pub_ring_closed(pub);

		err = lost_hope(pub);
		if (reached(pub, level) >= seq) {
			polling_learn(&pub->level_polling, began, bus_monotonic_ns());
			return say_dropped(pub);
		}
		if (err < 0)
			return err;
		if (ended)
			return bus__fail(-ESHUTDOWN, "stream \"%s\" has ended", pub->topic);
		if (bus_monotonic_ns() >= deadline)
			return -ETIMEDOUT;
		err = sleep_once(pub, level, seq, deadline);
		if (err < 0)
			return err;
	}
}

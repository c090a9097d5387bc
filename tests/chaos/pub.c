/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pub.c - a publisher of a chaos run: lives one after another, each on a topic of its choice, with
 * every way of publishing and every policy for a full ring.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "chaos/notes.h"

#define BATCH_MAX 24

struct run {
	struct bus_pub *pub;
	struct pub_life *life;
	struct chance *chance;
	uint32_t who;
	uint32_t gen;
	uint64_t n; /* next number */
	uint64_t ring_bytes;
};

static uint8_t buffer[SIZE_MAX_];
static uint8_t batch_bytes[BATCH_MAX][256];

static uint32_t choose_size(struct chance *c)
{
	uint32_t kind = chance_below(c, 1000);

	if (kind < 400)
		return sizeof(struct chaos_head); /* travels in its slot */
	if (kind < 800)
		return sizeof(struct chaos_head) + chance_below(c, 200);
	if (kind < 998)
		return sizeof(struct chaos_head) + chance_below(c, 6000);
	return sizeof(struct chaos_head) + chance_below(c, SIZE_MAX_ - sizeof(struct chaos_head));
}

static int try_claim(struct run *r, uint32_t size)
{
	struct bus_claim claim;
	int err = bus_pub_claim(r->pub, size, &claim);

	if (err < 0)
		return err;
	memset(claim.data, 0xdd, claim.len < 512 ? claim.len : 512); /* must never be seen */
	if (chance_below(r->chance, 8) == 0) {
		bus_pub_abort(r->pub, &claim);
		return -EINTR;
	}
	message_fill(claim.data, r->who, r->n, size);
	err = bus_pub_commit(r->pub, &claim);
	return err < 0 ? err : 1;
}

static int try_batch(struct run *r, int count)
{
	struct bus_out out[BATCH_MAX];

	memset(out, 0, sizeof(out));
	for (int i = 0; i < count; i++) {
		uint32_t size = sizeof(struct chaos_head) +
				(i % 3 == 0 ? 0 : (uint32_t)(i * 37) % (256 - 24));

		message_fill(batch_bytes[i], r->who, r->n + (uint64_t)i, size);
		out[i].data = batch_bytes[i];
		out[i].len = size;
	}
	return bus_pub_send_batch(r->pub, out, count);
}

/* One call that publishes; how many messages went, or an error. */
static int try_once(struct run *r)
{
	uint32_t how = chance_below(r->chance, 10), size = choose_size(r->chance);
	int count, err;

	if (how < 6) {
		message_fill(buffer, r->who, r->n, size);
		r->life->intent = r->n + 1;
		err = bus_pub_send(r->pub, buffer, size);
		return err < 0 ? err : 1;
	}
	if (how < 9) {
		r->life->intent = r->n + 1;
		return try_claim(r, size);
	}
	count = 1 + (int)chance_below(r->chance, BATCH_MAX);
	r->life->intent = r->n + (uint64_t)count;
	return try_batch(r, count);
}

/* Whether this life should end: that busd was killed meanwhile is no reason. */
static bool over(void)
{
	return notes->phase != PHASE_RUN;
}

static void note_growth(struct run *r, uint64_t first)
{
	struct bus_pub_info info;

	if (bus_pub_info(r->pub, &info) < 0)
		return;
	r->life->subscribers = info.subscribers;
	r->life->gating = info.gating;
	if (info.ring_bytes == r->ring_bytes)
		return;
	if (r->ring_bytes != 0)
		r->life->grown_at[r->life->grown++ % 4] = first;
	r->ring_bytes = info.ring_bytes;
}

/* Publishes once, however long that takes. false: this life is over. */
static bool put(struct run *r)
{
	uint64_t began = now_ns();
	int n;

	for (;;) {
		n = try_once(r);
		if (n > 0) {
			note_growth(r, r->n);
			r->n += (uint64_t)n;
			r->life->committed = r->n;
			return true;
		}
		switch (n) {
		case -EAGAIN:
			sleep_us(300);
			break;
		case -EINTR: /* an aborted claim */
		case -ETIMEDOUT:
			break;
		case -ESHUTDOWN:
			if (!r->life->removed)
				wrong("topic %s is gone, and nobody removed it",
				      topic_names[r->life->topic]);
			return false;
		case -EPIPE: /* a larger ring is needed, and no busd is there to make it */
			if (notes->gen % 2 == 0 && now_ns() - notes->gen_ns > STUCK_NS)
				wrong("a ring on %s cannot grow: %s", topic_names[r->life->topic],
				      bus_why(NULL));
			sleep_us(1000);
			break;
		default:
			wrong("a publish on %s failed: %s (%s)", topic_names[r->life->topic],
			      strerror(-n), bus_why(NULL));
			return false;
		}
		if (over())
			return false;
		if (now_ns() - began > STUCK_NS) {
			wrong("publisher %u on %s (policy %u) has been held for %u s at message %llu",
			      r->who, topic_names[r->life->topic], r->life->full,
			      (unsigned)(STUCK_NS / 1000000000u), (unsigned long long)r->n);
			return false;
		}
	}
}

static void publish(struct run *r, uint32_t count)
{
	uint32_t burst = 0;

	for (uint32_t i = 0; i < count && !over(); i++) {
		if (!put(r))
			return;
		if (burst-- != 0)
			continue;
		burst = chance_below(r->chance, 150);
		sleep_us(chance_below(r->chance, 4) == 0 ? chance_below(r->chance, 20000)
							 : chance_below(r->chance, 2000));
	}
}

static void one_life(struct bus *bus, uint32_t gen, unsigned slot, struct chance *c)
{
	struct pub_notes *own = pub_notes[slot];
	uint32_t index = own->lives, kills = notes->worker_kills;
	struct pub_life *life = &own->life[index];
	struct run r = { .life = life, .chance = c, .gen = gen };
	uint64_t removals = notes->removals_done;
	int err;

	if (index == PUB_LIVES) {
		wrong("too few places for lives: a shorter run, or a larger PUB_LIVES");
		_exit(1);
	}
	r.who = slot * PUB_LIVES + index;
	life->topic = chance_below(c, TOPICS);
	life->full = chance_below(c, 3);
	life->pid = (uint32_t)getpid();
	life->began_ns = now_ns();
	life->state = LIFE_OPENING;
	own->lives = index + 1;
	if (notes->removals != removals) /* one is under way */
		life->removed = true;
	err = bus_pub_open(&r.pub, bus, topic_names[life->topic],
			   BUS_OPTS(pub, .slots = 32u << chance_below(c, 4), .bytes = 65536,
				    .full = life->full,
				    .full_ns = life->full == BUS_FULL_FAIL ? 0 : FULL_NS));
	if (err < 0) {
		if (!party_excused(gen, kills) && !life->removed)
			wrong("cannot open a publisher on %s: %s", topic_names[life->topic],
			      bus_why(bus));
		notes->excused++;
		life->state = LIFE_FAILED;
		return;
	}
	if (notes->gen == gen)
		life->gen = gen;
	life->state = LIFE_OPEN;
	publish(&r, 50u << chance_below(c, 9));
	bus_pub_close(r.pub);
	life->state = LIFE_CLOSED;
}

void pub_party(unsigned slot, uint64_t seed)
{
	struct chance c = { seed };
	struct bus *bus = NULL;
	char name[20];
	uint32_t gen = 0;

	snprintf(name, sizeof(name), "pub.%u", slot);
	while (notes->phase == PHASE_RUN) {
		if (bus != NULL && chance_below(&c, 2) == 0) {
			bus_close(bus);
			bus = NULL;
		}
		gen = notes->gen;
		if (bus == NULL)
			bus = party_connect(name, &gen);
		if (bus == NULL)
			break;
		one_life(bus, gen, slot, &c);
		sleep_us(chance_below(&c, 10000));
	}
	bus_close(bus);
	_exit(0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sub.c - a subscriber of a chaos run, and the oracle: what it is given is compared, message by
 * message, with what the publishers noted outside the bus.
 *
 *   whole      the checksum over publisher, number, size and bytes holds
 *   once, in order   numbers of one publisher follow one another; a gap is exactly what the next
 *              message's `lost` says
 *   lossless   a reliable subscription has no gap unless it was evicted (and was told so)
 *   sent       nothing was delivered that its publisher had not begun to send
 *   complete   when a subscription ends, everything that was committed by then was delivered, or is
 *              in the count of what was lost
 *   start      a subscription begins where it was opened, not earlier; it has everything that was
 *              begun after bus_sub_open() returned, of a later publisher from number 0
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chaos/notes.h"

#define PEEK_MAX 32
#define PATTERNS 5

static const char *const patterns[PATTERNS] = { ">", "a.*", "*.x", "b.>", "a.y" };
/* which topics match: a bit for each of topic_names */
static const unsigned matching[PATTERNS] = { 0xf, 0x3, 0x5, 0xc, 0x2 };

/* What is known of one publisher's life; of this subscription if `life` is its own number. */
struct account {
	uint64_t next;
	uint32_t life;
	uint32_t evictions; /* of the subscription, when a message of this publisher came last */
};

struct at_open {
	uint32_t lives; /* of the slot */
	uint64_t number;
};

struct reading {
	struct bus_sub *sub;
	struct chance *chance;
	unsigned slot, pattern;
	uint32_t life, gen;
	uint32_t start, policy;
	uint32_t evictions;   /* told by -ESTALE from peek */
	uint32_t unjustified; /* messages that may still come before an eviction explains a loss */
	uint64_t told;        /* lost, by the messages that followed */
	uint64_t opened_ns;
	uint64_t awake_ns;     /* its last call that ended before busd was killed */
	uint32_t worker_kills; /* until it began to open */
	bool sure;             /* opened in a busd that was the same before and after */
	struct at_open before[PUBS], after[PUBS];
};

static struct account *accounts[PUBS];
static uint8_t copy[SIZE_MAX_];

static struct account *account_of(const struct reading *r, uint32_t who)
{
	struct account *a = &accounts[who / PUB_LIVES][who % PUB_LIVES];

	if (a->life != r->life)
		*a = (struct account){ .next = UINT64_MAX, .life = r->life };
	return a;
}

static const char *kind_of(const struct reading *r)
{
	return r->policy == BUS_LOSSY ? "lossy" : "reliable";
}

/*
 * busd has a limited number of descriptors under way to one client; to a subscriber that makes no
 * call (it is stopped, or busy) it announces the rest later. One that makes no call while the
 * worker is replaced comes back to the new one later, too. Where all of busd is killed before that,
 * nobody can announce what has opened meanwhile.
 */
static bool never_announced(const struct reading *r, const struct pub_life *life)
{
	uint64_t told_ns = r->awake_ns;

	if (notes->gen == r->gen)
		return false;
	if (notes->worker_kills != r->worker_kills) {
		uint64_t kill_ns = notes->worker_kill_ns[r->worker_kills % WORKER_KILLS];

		told_ns = kill_ns < told_ns ? kill_ns : told_ns;
	}
	return life->began_ns + 200000000u > told_ns;
}

/* The first message of a publisher: whether the subscription may begin there. */
static void check_start(const struct reading *r, const struct chaos_head *h, uint64_t first)
{
	unsigned slot = h->who / PUB_LIVES;
	uint32_t index = h->who % PUB_LIVES;
	const struct at_open *b = &r->before[slot], *a = &r->after[slot];
	const struct pub_life *life = &pub_notes[slot]->life[index];
	uint64_t committed = index + 1 == b->lives ? b->number : life->committed;

	if (r->start == BUS_START_NOW && index + 1 <= b->lives && first < committed)
		wrong("%s subscriber %u.%u began at %llu of publisher %u, which had committed %llu before",
		      kind_of(r), r->slot, r->life, (unsigned long long)first, h->who,
		      (unsigned long long)committed);
	if (never_announced(r, life))
		return;
	if (index + 1 == a->lives && first > a->number && life->gen == r->gen)
		wrong("%s subscriber %u.%u misses the first: began at %llu of publisher %u, was open at %llu",
		      kind_of(r), r->slot, r->life, (unsigned long long)first, h->who,
		      (unsigned long long)a->number);
	if (index + 1 > a->lives && first != 0 && life->gen == r->gen)
		wrong("%s subscriber %u.%u misses the first: began at %llu of publisher %u, which came later",
		      kind_of(r), r->slot, r->life, (unsigned long long)first, h->who);
}

static void unexplained(const struct reading *r)
{
	wrong("reliable subscriber %u.%u on %s lost messages and was not evicted", r->slot, r->life,
	      patterns[r->pattern]);
}

/*
 * What was published before the subscription was open is there as far as rings still hold it: there
 * may be holes between the rings of one publisher, and one at the end, where it had not heard of
 * the subscription yet.
 */
static bool from_the_past(const struct reading *r, const struct chaos_head *h)
{
	const struct at_open *a = &r->after[h->who / PUB_LIVES];
	uint32_t index = h->who % PUB_LIVES;

	return r->start == BUS_START_OLDEST &&
	       (index + 1 < a->lives ||
		(index + 1 == a->lives && h->number <= a->number + SLOTS_MAX));
}

static void tell_loss(const struct reading *r, const struct account *a, const struct chaos_head *h,
		      uint64_t lost)
{
	unsigned slot = h->who / PUB_LIVES;
	const struct pub_life *life = &pub_notes[slot]->life[h->who % PUB_LIVES];

	fprintf(stderr, "%u subscribers, %u gating of %s at %llu. ", life->subscribers,
		life->gating, topic_names[life->topic], (unsigned long long)life->committed);
	fprintf(stderr,
		"sub %u.%u (start %u): %llu lost before %llu of %u, next was %lld; at opening %u.%u was "
		"at %llu; rings replaced %u times, at %llu %llu %llu %llu\n",
		r->slot, r->life, r->start, (unsigned long long)lost, (unsigned long long)h->number,
		h->who, (long long)a->next, slot * PUB_LIVES, r->after[slot].lives - 1,
		(unsigned long long)r->after[slot].number, life->grown,
		(unsigned long long)life->grown_at[0], (unsigned long long)life->grown_at[1],
		(unsigned long long)life->grown_at[2], (unsigned long long)life->grown_at[3]);
}

/*
 * A reliable subscription loses by eviction only, of which it is told: before the message, or,
 * where busd was stopped just then, soon after it. That busd was killed is no excuse.
 */
static void justify(struct reading *r, const struct account *a, const struct chaos_head *h,
		    uint64_t lost)
{
	const struct pub_life *life = &pub_notes[h->who / PUB_LIVES]->life[h->who % PUB_LIVES];

	if (r->policy == BUS_LOSSY || a->evictions != r->evictions || from_the_past(r, h) ||
	    never_announced(r, life))
		return;
	/* told before; what was still there of the ring before its successor came in between */
	for (int i = 0; i < 4 && r->evictions > 0; i++)
		if (life->grown_at[i] == h->number - lost)
			return;
	if (r->unjustified == 0 && notes->verbose)
		tell_loss(r, a, h, lost);
	if (r->unjustified == 0)
		r->unjustified = 500;
}

/* A message that release() called good. */
static void delivered(struct reading *r, const struct chaos_head *h, uint64_t seq, uint64_t lost,
		      const char *topic)
{
	const struct pub_life *life = &pub_notes[h->who / PUB_LIVES]->life[h->who % PUB_LIVES];
	struct account *a = account_of(r, h->who);
	uint64_t first = h->number - lost;

	if (seq != h->number)
		wrong("message %llu of publisher %u came as number %llu",
		      (unsigned long long)h->number, h->who, (unsigned long long)seq);
	if (h->number >= life->intent)
		wrong("message %llu of publisher %u was never sent: it has begun %llu",
		      (unsigned long long)h->number, h->who, (unsigned long long)life->intent);
	if (strcmp(topic, topic_names[life->topic]) != 0 ||
	    (matching[r->pattern] >> life->topic & 1) == 0)
		wrong("message %llu of publisher %u came on topic %s by pattern %s",
		      (unsigned long long)h->number, h->who, topic, patterns[r->pattern]);
	if (a->next == UINT64_MAX)
		check_start(r, h, first);
	else if (first != a->next)
		wrong("%s subscriber %u.%u: message %llu of publisher %u with %llu lost, %llu was next",
		      kind_of(r), r->slot, r->life, (unsigned long long)h->number, h->who,
		      (unsigned long long)lost, (unsigned long long)a->next);
	if (lost != 0)
		justify(r, a, h, lost);
	else if (r->unjustified != 0 && --r->unjustified == 0)
		unexplained(r);
	a->evictions = r->evictions;
	a->next = h->number + 1;
	r->told += lost;
	notes->sub[r->slot].delivered++;
	notes->sub[r->slot].lost += lost;
}

/* ---- reading ---- */

static bool evicted(struct reading *r, int err)
{
	if (err != -ESTALE) {
		wrong("%s subscriber %u.%u on %s: %s (%s)", kind_of(r), r->slot, r->life,
		      patterns[r->pattern], strerror(-err), bus_why(NULL));
		return false;
	}
	if (r->policy == BUS_LOSSY)
		wrong("a lossy subscription was evicted");
	r->evictions++;
	r->unjustified = 0;
	notes->sub[r->slot].evictions++;
	return true;
}

/* Slow readers make lapped and evicted ones. */
static void dawdle(struct reading *r)
{
	uint32_t x = chance_below(r->chance, 4000);

	if (x == 0)
		sleep_us(FULL_NS / 1000 * 2);
	else if (x < 40)
		sleep_us(chance_below(r->chance, 4000));
}

/* In place. How many were looked at; 0 nothing there; -1 end this life. */
static int read_in_place(struct reading *r)
{
	struct bus_msg m[PEEK_MAX];
	struct chaos_head heads[PEEK_MAX];
	const char *faults[PEEK_MAX];
	int n = bus_sub_peek(r->sub, m, 1 + (int)chance_below(r->chance, PEEK_MAX)), err;

	if (n < 0)
		return evicted(r, n) ? 1 : -1;
	if (n == 0)
		return 0;
	for (int i = 0; i < n; i++)
		faults[i] = message_check(m[i].data, m[i].len, &heads[i]);
	dawdle(r);
	err = bus_sub_release(r->sub, n);
	if (err == -ESTALE) { /* the batch is void */
		notes->sub[r->slot].stale++;
		return n;
	}
	if (err < 0)
		wrong("release: %s", strerror(-err));
	for (int i = 0; i < n; i++) {
		if (faults[i] == NULL && heads[i].who >= PUBS * PUB_LIVES)
			faults[i] = "it names no publisher";
		if (faults[i] != NULL)
			wrong("%s subscriber %u.%u: number %llu of %u bytes: %s", kind_of(r),
			      r->slot, r->life, (unsigned long long)m[i].seq, m[i].len, faults[i]);
		else
			delivered(r, &heads[i], m[i].seq, m[i].lost, m[i].topic);
	}
	return n;
}

static int read_copy(struct reading *r)
{
	struct chaos_head head;
	struct bus_msg m;
	const char *fault;
	int n = bus_sub_recv(r->sub, copy, sizeof(copy), &m);

	if (n < 0)
		return evicted(r, n) ? 1 : -1;
	if (n == 0)
		return 0;
	fault = message_check(m.data, m.len, &head);
	if (fault == NULL && head.who >= PUBS * PUB_LIVES)
		fault = "it names no publisher";
	if (fault != NULL)
		wrong("%s subscriber %u.%u: number %llu of %u bytes, copied: %s", kind_of(r),
		      r->slot, r->life, (unsigned long long)m.seq, m.len, fault);
	else
		delivered(r, &head, m.seq, m.lost, m.topic);
	dawdle(r);
	return 1;
}

/* 1 something was read, 0 nothing came for 50 ms, -1 end this life. */
static int step(struct reading *r, bool copying)
{
	int n = copying ? read_copy(r) : read_in_place(r);

	if (notes->gen == r->gen)
		r->awake_ns = now_ns();
	if (n != 0)
		return n < 0 ? -1 : 1;
	n = bus_sub_wait(r->sub, 50000000);
	if (n < 0)
		wrong("wait: %s", strerror(-n));
	return n < 0 ? -1 : n;
}

/* ---- the end of a subscription ---- */

/* What of a publisher's life is not accounted for, if it was all to be read up to `until`. */
static uint64_t missing_of(struct reading *r, unsigned slot, uint32_t index, uint64_t until)
{
	struct account *a = account_of(r, slot * PUB_LIVES + index);
	uint64_t next = a->next;

	if (next == UINT64_MAX)
		next = index + 1 == r->after[slot].lives ? r->after[slot].number : 0;
	return until > next ? until - next : 0;
}

static bool has_begun(const struct reading *r, unsigned slot, uint32_t index)
{
	return account_of(r, slot * PUB_LIVES + index)->next != UINT64_MAX;
}

/* Whether this subscription must have what that life committed. */
static bool owed(const struct reading *r, unsigned slot, uint32_t index)
{
	const struct pub_life *life = &pub_notes[slot]->life[index];
	uint32_t state = life->state;

	/*
	 * opened at different busds, the beginning is open: a publisher serves subscriptions that
	 * are new at the next busd from when it has gone over, and one that is not back yet gets
	 * what the rings of a new publisher still hold
	 */
	if (never_announced(r, life) || life->gen == 0 ||
	    (life->gen != r->gen && !has_begun(r, slot, index)))
		return false;
	return (state == LIFE_OPEN || state == LIFE_CLOSED || state == LIFE_DEAD) &&
	       (matching[r->pattern] >> life->topic & 1) != 0;
}

struct snapshot {
	uint32_t lives[PUBS];
	uint64_t last[PUBS]; /* committed by the last life of each; earlier ones have ended */
};

static uint64_t missing(struct reading *r, const struct snapshot *s, uint32_t *who)
{
	uint64_t sum = 0;

	for (unsigned slot = 0; slot < PUBS; slot++) {
		uint32_t from = r->after[slot].lives == 0 ? 0 : r->after[slot].lives - 1;

		for (uint32_t i = from; i < s->lives[slot]; i++) {
			const struct pub_life *life = &pub_notes[slot]->life[i];
			uint64_t until = i + 1 == s->lives[slot] ? s->last[slot] : life->committed;
			uint64_t more = owed(r, slot, i) ? missing_of(r, slot, i, until) : 0;

			if (more != 0)
				*who = slot * PUB_LIVES + i;
			sum += more;
		}
	}
	return sum;
}

/*
 * Everything committed until now is in shared memory, whether its publisher lives, stands still or
 * is dead: it must come. Time in which this process is stopped itself does not count: what counts
 * is looks that find nothing.
 */
static void check_complete(struct reading *r, bool copying)
{
	struct bus_sub_info info = { 0 };
	struct snapshot s;
	uint64_t left = 0, untold;
	uint32_t who = 0;

	if (!r->sure)
		return;
	for (unsigned slot = 0; slot < PUBS; slot++) {
		s.lives[slot] = pub_notes[slot]->lives;
		s.last[slot] =
			s.lives[slot] == 0 ? 0 : pub_notes[slot]->life[s.lives[slot] - 1].committed;
	}
	for (int empty = 0; empty < 60;) {
		int n;

		left = missing(r, &s, &who);
		if (left == 0)
			break;
		n = step(r, copying);
		if (n < 0)
			return;
		empty = n == 0 ? empty + 1 : 0;
		if (bus_sub_info(r->sub, &info) < 0)
			wrong("bus_sub_info");
		if (empty > 10 && left <= info.lost - r->told)
			break; /* the last ones were lost, and that was counted */
	}
	notes->sub[r->slot].checked_lives++;
	if (bus_sub_info(r->sub, &info) < 0)
		wrong("bus_sub_info");
	untold = info.lost - r->told;
	if (r->told > info.lost)
		wrong("%s subscriber %u.%u was told of %llu lost messages, bus_sub_info() of %llu",
		      kind_of(r), r->slot, r->life, (unsigned long long)r->told,
		      (unsigned long long)info.lost);
	else if (left > untold)
		wrong("%s subscriber %u.%u on %s (open since %.6f, %u rings) misses %llu messages that were "
		      "committed (%llu counted), some of publisher %u (state %u, committed %llu)",
		      kind_of(r), r->slot, r->life, patterns[r->pattern], (double)r->opened_ns / 1e9,
		      info.rings, (unsigned long long)left, (unsigned long long)untold, who,
		      pub_notes[who / PUB_LIVES]->life[who % PUB_LIVES].state,
		      (unsigned long long)pub_notes[who / PUB_LIVES]->life[who % PUB_LIVES].committed);
	if (r->unjustified != 0)
		unexplained(r);
	notes->sub[r->slot].lost += untold;
}

/* ---- lives ---- */

static void look_at_publishers(struct at_open *at, bool intent)
{
	for (unsigned slot = 0; slot < PUBS; slot++) {
		uint32_t lives = pub_notes[slot]->lives;
		const struct pub_life *life;

		at[slot] = (struct at_open){ .lives = lives };
		if (lives == 0)
			continue;
		life = &pub_notes[slot]->life[lives - 1];
		at[slot].number = intent ? life->intent : life->committed;
	}
}

static void one_life(struct bus *bus, struct reading *r, bool copying)
{
	uint32_t kills = notes->worker_kills;
	uint64_t until = now_ns() + (uint64_t)chance_below(r->chance, 800) * 1000000u;
	int err;

	r->worker_kills = kills;
	look_at_publishers(r->before, false);
	err = bus_sub_open(&r->sub, bus, patterns[r->pattern],
			   BUS_OPTS(sub, .start = r->start, .policy = r->policy,
				    .spin_ns = chance_below(r->chance, 2)));
	if (err < 0) {
		if (!party_excused(r->gen, kills))
			wrong("cannot subscribe to %s: %s", patterns[r->pattern], bus_why(bus));
		notes->excused++;
		return;
	}
	look_at_publishers(r->after, true);
	r->sure = notes->gen == r->gen;
	r->opened_ns = now_ns();
	notes->sub[r->slot].lives++;
	for (;;) {
		bool going = notes->phase == PHASE_END;

		going |= notes->phase == PHASE_RUN && now_ns() > until;
		if (step(r, copying) < 0)
			break;
		if (going) {
			check_complete(r, copying);
			break;
		}
	}
	bus_sub_close(r->sub);
}

void sub_party(unsigned slot, uint64_t seed)
{
	struct chance c = { seed };
	struct bus *bus = NULL;
	char name[20];
	uint32_t gen = 0;

	snprintf(name, sizeof(name), "sub.%u", slot);
	for (int i = 0; i < PUBS; i++) {
		accounts[i] = calloc(PUB_LIVES, sizeof(struct account));
		if (accounts[i] == NULL)
			_exit(1);
	}
	for (uint32_t life = 1; notes->phase == PHASE_RUN; life++) {
		struct reading r = { .chance = &c, .slot = slot, .life = life };

		if (bus != NULL && chance_below(&c, 2) == 0) {
			bus_close(bus);
			bus = NULL;
		}
		gen = notes->gen;
		if (bus == NULL)
			bus = party_connect(name, &gen);
		if (bus == NULL)
			break;
		r.gen = gen;
		r.pattern = chance_below(&c, PATTERNS);
		r.start = chance_below(&c, 3) == 0 ? BUS_START_OLDEST : BUS_START_NOW;
		r.policy = slot % 3 == 2 ? BUS_LOSSY : BUS_RELIABLE;
		one_life(bus, &r, chance_below(&c, 3) == 0);
	}
	bus_close(bus);
	_exit(0);
}

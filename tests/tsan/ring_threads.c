/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring_threads.c - the ring under the thread sanitizer: publisher and readers as threads over ONE
 * mapping.
 *
 * The sanitizer sees no race between two mappings of the same memory, and gcc 12's sees no fence;
 * base/atomic.h makes a fence a read-modify-write in this build. The second half of the payload's
 * address space is the same memory too, but publisher and reader always use the same address for a
 * message, so nothing real stays hidden behind it.
 *
 *   ring_threads [SCENE...]     one, three, sleepy, join, lossy, close; no SCENE: all of them
 *
 * Each scene is played twice: with the fence W1 in the publisher, and with membarrier in the
 * sleeper instead. What is not the ring's is played here: busd is whoever holds the mutex. A sleep
 * that lasts 20 s is a lost wake. Reports come from the sanitizer (exit code 66); wrong or missing
 * messages are exit code 1.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/ring_rig.h"
#include "os/wake.h"

#define READERS  3
#define SLEEP_NS INT64_C(20000000000)

struct scene {
	const char *name;
	uint32_t slots;
	uint64_t bytes;
	unsigned readers, messages;
	unsigned sessions; /* each reader joins this often; 1: before the first message */
	bool lossy;
	bool dies; /* the ring ends by busd's word, not the publisher's */
	unsigned reader_naps, publisher_naps; /* one in so many messages; 0: none */
};

static const struct scene scenes[] = {
	{ "one", 64, 16384, 1, 400000, 1, false, false, 0, 0 },
	{ "three", 64, 16384, 3, 200000, 1, false, false, 0, 0 },
	{ "sleepy", 16, 4096, 2, 8000, 1, false, false, 61, 67 },
	{ "join", 64, 16384, 3, 60000, 200, false, false, 0, 0 },
	{ "lossy", 16, 4096, 3, 400000, 1, true, false, 101, 0 },
	{ "close", 64, 16384, 2, 5000, 1, false, true, 0, 0 },
};

/* What busd knows of a subscriber; under the mutex. */
struct membership {
	struct ring_member member;
	uint64_t number;
};

struct sleeper {
	_Atomic uint32_t bell;
	uint32_t gen;
	unsigned sleeps;
};

static struct ring_rig rig;
static const struct scene *scene;
static pthread_mutex_t busd = PTHREAD_MUTEX_INITIALIZER;
static struct membership memberships[READERS];
static uint64_t membership_number;
static struct sleeper sleepers[READERS], publisher;
static _Atomic uint32_t running; /* readers that still have sessions to come */

static void fail(const char *what, uint64_t a, uint64_t b)
{
	fprintf(stderr, "ring_threads: %s: %s (%lu, %lu)\n", scene->name, what, (unsigned long)a,
		(unsigned long)b);
	exit(1);
}

static void ring_bell(struct sleeper *s)
{
	wake_ring(&s->bell);
}

static void sleep_on(struct sleeper *s, uint32_t seen)
{
	struct wake_word word = { .word = &s->bell, .seen = seen };

	s->sleeps++;
	if (wake_wait(&word, 1, SLEEP_NS, NULL) == -ETIMEDOUT)
		fail("nobody rang the bell", s == &publisher, s->sleeps);
}

static void nap(unsigned one_in, uint64_t seq)
{
	struct timespec ts = { .tv_nsec = 200000 };

	if (one_in != 0 && seq % one_in == 0)
		nanosleep(&ts, NULL);
}

static uint32_t len_of(uint64_t seq)
{
	static const uint32_t lens[] = { 0, 8, 24, 64, 8, 200, 32, 1024, 16, 512, 64 };

	return lens[seq % BUS_ARRAY_LEN(lens)];
}

static uint64_t word_of(uint64_t seq, uint32_t i)
{
	return seq * UINT64_C(0x9e3779b97f4a7c15) + i;
}

/*
 * A lossy reader reads what may be overwritten at that moment: formally a race, which release()
 * makes harmless by voiding what was read. So that the sanitizer speaks of everything else only,
 * that scene writes and reads its payload by relaxed atomic words; all others use plain ones, and
 * there each race is a fault of the ring.
 */
static void fill(uint8_t *at, uint64_t seq, uint32_t len)
{
	uint64_t *words = (uint64_t *)(void *)at;

	for (uint32_t i = 0; i < len / 8; i++) {
		if (scene->lossy)
			bus_store_relaxed((_Atomic uint64_t *)&words[i], word_of(seq, i));
		else
			words[i] = word_of(seq, i);
	}
}

static bool filled(const uint8_t *at, uint64_t seq, uint32_t len)
{
	const uint64_t *words = (const uint64_t *)(const void *)at;

	for (uint32_t i = 0; i < len / 8; i++) {
		uint64_t w = scene->lossy ? bus_load_relaxed((const _Atomic uint64_t *)&words[i])
					  : words[i];

		if (w != word_of(seq, i))
			return false;
	}
	return true;
}

/* The publisher */

static bool wake_reader(struct ring_pub *pub, struct ring_member *member)
{
	(void)pub;
	ring_bell(member->owner);
	return true;
}

/* Takes the memberships that busd sent; what it knows of an unchanged member stays. */
static void take_memberships(void)
{
	static uint64_t taken[READERS];

	pthread_mutex_lock(&busd);
	for (unsigned i = 0; i < READERS; i++) {
		if (memberships[i].number != taken[i])
			rig.members[i] = memberships[i].member;
		taken[i] = memberships[i].number;
	}
	rig.pub.member_count = scene->readers;
	ring_pub_seen(&rig.pub, membership_number);
	pthread_mutex_unlock(&busd);
}

static void block(uint64_t need)
{
	uint32_t seen = bus_load_acquire(&publisher.bell);

	ring_pub_wait_begin(&rig.pub, need);
	if (ring_pub_refresh(&rig.pub, need) == RING_BLOCKED)
		sleep_on(&publisher, seen);
	ring_pub_wait_end(&rig.pub);
}

static void publish(uint64_t seq)
{
	struct ring_message m = { .time = seq, .len = len_of(seq) };
	uint64_t need = ring_need(0, m.len);
	enum ring_room room;

	while ((room = rig_room(&rig, need)) != RING_ROOM) {
		if (room == RING_NEWS)
			take_memberships();
		else if (scene->lossy)
			fail("a lossy reader blocks", seq, need);
		else
			block(need);
	}
	if (need != 0)
		fill(ring_pub_at(&rig.pub), seq, m.len);
	for (uint32_t i = 0; need == 0 && i < m.len / 8; i++)
		m.in[i] = word_of(seq, i);
	ring_pub_commit(&rig.pub, &m);
}

static void wake_all(void)
{
	while (ring_pub_wake(&rig.pub) == RING_NEWS)
		take_memberships();
}

static void *publish_all(void *arg)
{
	uint64_t seq;

	for (seq = 0; seq < scene->messages || bus_load_acquire(&running) != 0; seq++) {
		publish(seq);
		if (seq % 16 == 0 || scene->publisher_naps != 0)
			wake_all();
		nap(scene->publisher_naps, seq + 1);
	}
	if (!scene->dies)
		ring_pub_final(&rig.pub);
	wake_all();
	return arg;
}

/* A reader */

static bool wake_publisher(struct ring_reader *rd)
{
	(void)rd;
	ring_bell(&publisher);
	return true;
}

static void wait_for_more(struct ring_reader *rd, struct sleeper *self)
{
	struct cursor_segment *cursors = rig.readers[self - sleepers].cursors;
	uint32_t seen;

	ring_reader_flush(rd);
	seen = bus_load_acquire(&self->bell);
	bus_store_relaxed(&cursors->waiting, ++self->gen);
	if (rig.pub.fences)
		bus_fence_seq_cst(); /* W3 */
	else
		wake_barrier(); /* W3, where W1 is no fence */
	if (!ring_reader_ready(rd))
		sleep_on(self, seen);
	bus_store_relaxed(&cursors->waiting, 0);
}

/*
 * busd's part of a join: the numbered membership is sent, then the epoch moves, then every bell
 * rings.
 */
static void activate(unsigned i, struct ring_reader *rd)
{
	pthread_mutex_lock(&busd);
	memberships[i].number = ++membership_number;
	memberships[i].member = (struct ring_member){
		.entry = rd->entry,
		.waiting = &rig.readers[i].cursors->waiting,
		.start = bus_load_acquire(&rd->view.page->head),
		.gates = !scene->lossy,
		.owner = &sleepers[i],
		.sub_id = i + 1,
	};
	bus_store_release(&rig.epoch, membership_number);
	bus_fence_seq_cst(); /* F2 */
	pthread_mutex_unlock(&busd);
	ring_bell(&publisher);
}

static void join(unsigned i, struct ring_reader *rd)
{
	ring_reader_init(rd, &rig.reader.view, RIG_RING_ID, &rig.readers[i].cursors->entry[0],
			 &rig.closed, RIG_CLOSED, 0);
	rd->wake = wake_publisher;
	ring_reader_tag(rd);
	activate(i, rd);
	ring_reader_joined_now(rd);
}

/* Borrows up to 8, reads them in place, gives them back. How many; 0: nothing there. */
static unsigned take_batch(struct ring_reader *rd, uint64_t *good)
{
	struct ring_peeked p;
	uint64_t first_pos = 0, first = rd->cur;
	bool whole = true;
	unsigned n = 0;

	for (; n < 8; n++, rd->ahead++) {
		enum ring_look look = ring_reader_peek(rd, &p);

		if (look == RING_EMPTY)
			break;
		if (look == RING_LAPPED && scene->lossy) {
			ring_reader_lapped(rd);
			return 1;
		}
		if (look != RING_MESSAGE)
			fail("a peek that ended wrongly", look, p.seq);
		if (p.seq != first + n || p.time != p.seq || p.len != len_of(p.seq))
			fail("a message that is another one", p.seq, first + n);
		if (n == 0)
			first_pos = p.pos;
		whole &= filled(rig_payload(rd, &p), p.seq, p.len);
		nap(scene->reader_naps, p.seq);
	}
	if (n == 0)
		return 0;
	if (ring_reader_release(rd, n, first_pos)) {
		if (!whole)
			fail("a message with wrong bytes", first, n);
		*good += n;
	} else if (!scene->lossy) {
		fail("a reliable reader was lapped", first, n);
	}
	return n;
}

static void *read_all(void *arg)
{
	struct sleeper *self = arg;
	unsigned i = (unsigned)(self - sleepers);
	struct ring_reader *rd = &rig.readers[i].rd;
	uint64_t good = 0, lost = 0;

	if (scene->sessions > 1) {
		for (unsigned s = 0; s < scene->sessions; s++) {
			uint64_t enough = good + 100 + 50 * i;

			join(i, rd);
			while (good < enough) {
				if (take_batch(rd, &good) == 0)
					wait_for_more(rd, self);
			}
			ring_reader_park(rd);
		}
		bus_add_seq_cst(&running, UINT32_MAX); /* one less */
		return NULL;
	}
	while (!ring_reader_drained(rd)) {
		if (take_batch(rd, &good) == 0 && !rd->drained)
			wait_for_more(rd, self);
	}
	lost = rd->lost;
	if (good + lost != scene->messages || (lost != 0 && !scene->lossy))
		fail("delivered and lost are not what was published", good, lost);
	return NULL;
}

/* Whether the scene was what its name says. */
static void check_scene(void)
{
	unsigned sleeps = 0;
	uint64_t lost = 0;

	for (unsigned i = 0; i < scene->readers; i++) {
		sleeps += sleepers[i].sleeps;
		lost += rig.readers[i].rd.lost;
	}
	printf("ring_threads: %-7s %-10s %lu messages, publisher slept %u times, readers %u, lost %lu\n",
	       scene->name, rig.pub.fences ? "fence" : "membarrier", (unsigned long)rig.pub.n,
	       publisher.sleeps, sleeps, (unsigned long)lost);
	fflush(stdout);
	if (scene->reader_naps != 0 && !scene->lossy && (publisher.sleeps < 10 || sleeps < 10))
		fail("hardly anybody slept", publisher.sleeps, sleeps);
	if (scene->lossy && (lost == 0 || lost == (uint64_t)scene->messages * scene->readers))
		fail("nothing was lost, or everything", lost, 0);
}

static void play(bool fences)
{
	pthread_t publishing, reading[READERS];

	memset(sleepers, 0, sizeof(sleepers));
	memset(&publisher, 0, sizeof(publisher));
	memset(memberships, 0, sizeof(memberships));
	if (rig_make(&rig, scene->slots, scene->bytes, RIG_ONE_MAPPING) < 0)
		fail("no memory", 0, 0);
	rig.pub.wake = wake_reader;
	rig.pub.fences = fences;
	for (unsigned i = 0; i < READERS; i++) { /* announced, not yet there */
		memberships[i].number = ++membership_number;
		memberships[i].member.entry = &rig.readers[i].cursors->entry[0];
		memberships[i].member.waiting = &rig.readers[i].cursors->waiting;
		memberships[i].member.owner = &sleepers[i];
	}
	bus_store_release(&rig.epoch, membership_number);
	bus_store_release(&running, scene->sessions > 1 ? scene->readers : 0);
	for (unsigned i = 0; i < scene->readers && scene->sessions == 1; i++)
		join(i, &rig.readers[i].rd);
	take_memberships();
	for (unsigned i = 0; i < scene->readers; i++)
		pthread_create(&reading[i], NULL, read_all, &sleepers[i]);
	pthread_create(&publishing, NULL, publish_all, NULL);
	pthread_join(publishing, NULL);
	/* the kernel tells busd that the publisher has gone; busd rings for it */
	if (scene->dies) {
		bus_store_release(&rig.closed, RIG_CLOSED);
		bus_fence_seq_cst();
		for (unsigned i = 0; i < scene->readers; i++)
			ring_bell(&sleepers[i]);
	}
	for (unsigned i = 0; i < scene->readers; i++)
		pthread_join(reading[i], NULL);
	check_scene();
	rig_free(&rig);
}

int main(int argc, char **argv)
{
	bool barrier = wake_barrier_register() == 0 && wake_barrier_usable();
	unsigned played = 0;

	if (!barrier)
		puts("ring_threads: no membarrier here: that half is not played");
	for (size_t s = 0; s < BUS_ARRAY_LEN(scenes); s++) {
		bool wanted = argc == 1;

		scene = &scenes[s];
		for (int a = 1; a < argc; a++)
			wanted |= strcmp(argv[a], scene->name) == 0;
		if (wanted) {
			play(true);
			if (barrier)
				play(false);
			played++;
		}
	}
	if (played == 0)
		fprintf(stderr, "ring_threads: no such scene\n");
	return played == 0 ? 2 : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attacks_words.c - a user with every right on the topic writes what he likes into the memory that is
 * his: his cursors, and the slots of his ring; and accuses others of standing still. Two innocents go on
 * exchanging messages on the same topic and lose none. Where he is in somebody's way he is taken out of
 * it, and named.
 *
 * timeout: 100
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "lib/attack_rig.h"

/* ---- his cursors */

static const struct board_sub *find_on_board(const struct attack_loot *loot)
{
	const char *board;
	unsigned i;

	for (i = 0; i < loot->segment_count; i++) {
		if (loot->segments[i].segment.segment_id != loot->ring.board_id)
			continue;
		board = mmap(NULL, BOARD_SIZE, PROT_READ, MAP_SHARED, loot->segments[i].fds[0], 0);
		return (const struct board_sub *)(const void *)(board + BOARD_SUBS_OFF) +
		       loot->ring.sub_index;
	}
	return NULL;
}

/* Good messages read while the cursor is moved as next() says; they must go on as if it were not there. */
static int cursor_moves(uint64_t (*next)(uint64_t head, uint64_t step))
{
	const struct ring_writer_page *page = NULL;
	uint64_t got = bus_load_acquire(&attack_view->got);
	struct proto_client client;
	struct attack_loot loot;
	struct proto_sub sub;
	uint64_t i;

	HOLDS(attack_join_the_good(&client, &sub, &loot, &page) == 0);
	for (i = 0; i < 3000; i++) {
		uint64_t head = bus_load_acquire(&page->head);

		bus_store_release(&sub.cursors->entry[loot.ring.entry].cursor, next(head, i));
		bus_store_release(&sub.cursors->waiting, (uint32_t)i);
		usleep(100);
	}
	/* three laps of the ring at least: nobody waited for him */
	HOLDS(bus_load_acquire(&attack_view->got) > got + 3 * 256);
	attack_drop_loot(&loot);
	return 0;
}

static uint64_t backwards(uint64_t head, uint64_t step)
{
	return head > 10 * step ? head - 10 * step : 0;
}

static uint64_t ahead(uint64_t head, uint64_t step)
{
	return head + (step % 2 ? 1000 * step : UINT64_MAX / 2);
}

static uint64_t anywhere(uint64_t head, uint64_t step)
{
	uint64_t x = (head + step) * UINT64_C(0x9e3779b97f4a7c15);

	return x ^ x >> 29;
}

static int cursor_backwards(void)
{
	return cursor_moves(backwards);
}

static int cursor_ahead(void)
{
	return cursor_moves(ahead);
}

static int cursor_anywhere(void)
{
	return cursor_moves(anywhere);
}

/* He reads nothing: the publisher waits its full_ns (300 ms), then he is out, on the board as well. */
static int cursor_frozen(void)
{
	const struct ring_writer_page *page = NULL;
	const struct board_sub *entry;
	struct proto_client client;
	struct attack_loot loot;
	struct proto_sub sub;
	int i;

	HOLDS(attack_join_the_good(&client, &sub, &loot, &page) == 0);
	entry = find_on_board(&loot);
	HOLDS(entry && entry->uid == EVIL && entry->pid == (uint32_t)getpid());
	for (i = 0; i < 5000 && bus_load_acquire(&entry->evicted) == 0; i++)
		usleep(1000);
	HOLDS(bus_load_acquire(&entry->evicted) == 1);
	attack_drop_loot(&loot);
	return 0;
}

/* Evicted, he joins again and again, and freezes each time. */
static int frozen_again(void)
{
	const struct ring_writer_page *page = NULL;
	const struct board_sub *entry;
	struct proto_client client;
	struct attack_loot loot;
	struct proto_sub sub;
	uint64_t round;

	HOLDS(attack_join_the_good(&client, &sub, &loot, &page) == 0);
	entry = find_on_board(&loot);
	for (round = 1; round <= 3; round++) {
		struct ctl_sub_join again = { .head = PROTO_HEAD(CTL_SUB_REJOIN, sizeof(again)),
					      .sub_id = sub.reply.sub_id,
					      .topic_id = loot.ring.topic_id };
		struct proto_msg msg;

		for (int i = 0; i < 5000 && bus_load_acquire(&entry->evicted) < round; i++)
			usleep(1000);
		HOLDS(bus_load_acquire(&entry->evicted) == round);
		bus_store_release(&sub.cursors->entry[loot.ring.entry].cursor,
				  bus_load_acquire(&page->head));
		HOLDS(proto_ask(&client, &again, &msg) == 0);
	}
	return 0;
}

static int liars_are_named(void)
{
	HOLDS(proto_busd_logged(&attack_busd, "evicted: subscription \"sub\" of \"evil reader\""));
	HOLDS(proto_busd_logged(&attack_busd, "runs backwards, or ahead of"));
	return 0;
}

static int frozen_is_named(void)
{
	struct ctl_info_reply info;

	HOLDS(proto_busd_logged(&attack_busd, "and not moving"));
	HOLDS(attack_info(&info) == 0 && info.evictions >= 4);
	return 0;
}

/* ---- what he writes into his ring, read by the good subscriber's process */

static uint64_t random_word(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Sometimes near what is right, sometimes not at all. */
static uint64_t wild(uint64_t *state, uint64_t near)
{
	switch (random_word(state) % 5) {
	case 0:
		return near;
	case 1:
		return near + random_word(state) % 3 - 1;
	case 2:
		return random_word(state) >> random_word(state) % 64;
	case 3:
		return UINT64_MAX - random_word(state) % 70;
	default:
		return random_word(state);
	}
}

static void scribble(const struct proto_pub *pub, char *base, uint64_t *state)
{
	struct ring_slot *slots = (struct ring_slot *)(void *)(base + pub->reply.geometry.slots_off);
	struct ring_writer_page *page = (struct ring_writer_page *)(void *)base;
	uint64_t i;

	for (i = 0; i < 40; i++) {
		struct ring_slot *slot = &slots[i % pub->reply.geometry.slots];
		uint32_t len = (uint32_t)wild(state, 100);

		bus_store_relaxed(&slot->pos, wild(state, i * 64));
		bus_store_relaxed(&slot->time, wild(state, 1));
		bus_store_relaxed(&slot->lens,
				  random_word(state) % 2
					  ? ring_pack_lens(len, (uint32_t)wild(state, 16) & 0xffff,
							   (uint32_t)wild(state, 3) & 0xff)
					  : wild(state, 0));
		bus_store_relaxed(&slot->attrs, wild(state, random_word(state) % 4));
		bus_store_release(&slot->commit, random_word(state) % 4 ? i + 1 : wild(state, i + 1));
		bus_store_release(&page->head, wild(state, i + 1));
		if (random_word(state) % 8 == 0)
			bus_store_release(&page->frontier_seq, wild(state, i));
		if (random_word(state) % 8 == 0)
			bus_store_release(&page->frontier_pos, wild(state, i * 64));
		if (random_word(state) % 20 == 0)
			bus_store_release(&page->final_seq, wild(state, i + 1));
		bus_store_release(&page->waiting, (uint32_t)wild(state, 0));
	}
}

static int wild_slots(void)
{
	uint64_t seen =
		bus_load_acquire(&attack_view->dirt) + bus_load_acquire(&attack_view->refused);
	uint64_t state = 88172645463325252u;
	struct proto_client client;
	unsigned round;

	HOLDS(proto_greet(&client, attack_busd.path, "evil writer", true) == 0);
	for (round = 0; round < 300; round++) {
		struct proto_pub pub;
		struct proto_msg msg;
		char *base;

		HOLDS(proto_pub_open(&client, "pit.wild", 4096u << round % 5, true, &pub) == 0);
		base = mmap(NULL, pub.reply.geometry.size, PROT_READ | PROT_WRITE, MAP_SHARED,
			    pub.fd, 0);
		HOLDS(base != MAP_FAILED);
		HOLDS(proto_pub_ready(&client, &pub) == 0);
		for (int i = 0; i < 5; i++) {
			scribble(&pub, base, &state);
			usleep(200);
		}
		munmap(base, pub.reply.geometry.size);
		HOLDS(proto_pub_close(&client, &pub) == 0);
		while (proto_take(client.ev, &msg, 0) == 1)
			proto_close_fds(&msg);
	}
	/* the good subscriber did look at it */
	HOLDS(bus_load_acquire(&attack_view->dirt) + bus_load_acquire(&attack_view->refused) >
	      seen + 100);
	return 0;
}

/* Each of them alone, as the first message of a ring: it is refused, and none is delivered. */
static int wrong_messages(void)
{
	const uint64_t bytes = 4096;
	const struct {
		uint64_t pos, lens, attrs;
	} wrong[] = {
		{ 0, ring_pack_lens((uint32_t)bytes + 1, 0, 0), 0 },
		{ 0, ring_pack_lens(UINT32_MAX, 0, 0), 0 },
		{ 0, ring_pack_lens((uint32_t)bytes - 15, 16, 0), 0 },
		{ 0, ring_pack_lens(UINT32_MAX, 65520, 255), 0 },
		{ 0, ring_pack_lens(10, 16, 17), 0 },
		{ 8, ring_pack_lens(10, 0, 0), 0 },
		{ UINT64_MAX, ring_pack_lens(10, 0, 0), 0 },
		{ 0, ring_pack_lens(RING_INLINE_MAX + 1, 0, 0), RING_FLAG_INLINE },
		{ 0, ring_pack_lens(RING_INLINE_MAX, 16, 0), RING_FLAG_INLINE },
		{ 0, 10, 0 },                                             /* version 0 */
		{ 0, ring_pack_lens(10, 0, 0) + (UINT64_C(1) << 56), 0 }, /* a version to come */
		{ 0, ring_pack_lens(10, 0, 0), 1u << 31 }, /* what must be understood, and is not */
	};
	struct proto_client client;
	uint64_t dirt;
	unsigned i;

	HOLDS(proto_greet(&client, attack_busd.path, "evil writer", true) == 0);
	dirt = bus_load_acquire(&attack_view->dirt);
	for (i = 0; i < BUS_ARRAY_LEN(wrong); i++) {
		uint64_t refused = bus_load_acquire(&attack_view->refused);
		struct ring_slot *slot;
		struct proto_pub pub;
		struct proto_msg msg;

		HOLDS(proto_pub_open(&client, "pit.wrong", bytes, true, &pub) == 0);
		HOLDS(pub.reply.geometry.bytes == bytes);
		slot = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, pub.fd,
			    (off_t)pub.reply.geometry.slots_off);
		HOLDS(slot != MAP_FAILED && proto_pub_ready(&client, &pub) == 0);
		bus_store_relaxed(&slot->pos, wrong[i].pos);
		bus_store_relaxed(&slot->lens, wrong[i].lens);
		bus_store_relaxed(&slot->attrs, wrong[i].attrs);
		bus_store_release(&slot->commit, 1);
		proto_pub_publish(&pub, 1);
		for (int n = 0; n < 3000 && bus_load_acquire(&attack_view->refused) == refused; n++)
			usleep(1000);
		HOLDS(bus_load_acquire(&attack_view->refused) > refused);
		HOLDS(bus_load_acquire(&attack_view->dirt) == dirt);
		munmap(slot, 4096);
		HOLDS(proto_pub_close(&client, &pub) == 0);
		while (proto_take(client.ev, &msg, 0) == 1)
			proto_close_fds(&msg);
	}
	return 0;
}

/*
 * He says that the good subscriber holds him up: his ring is full of messages that cannot be read.
 * It loses its place at his ring, if any, and not those at the rings of others.
 */
static int false_accusation(void)
{
	struct ctl_evict evict = { .head = PROTO_HEAD(CTL_EVICT, sizeof(evict)), .grace_ns = 1 };
	struct proto_client client;
	struct proto_pub pub;
	struct proto_msg msg;

	HOLDS(proto_greet(&client, attack_busd.path, "evil accuser", true) == 0);
	HOLDS(proto_pub_open(&client, PIT, 0, false, &pub) == 0);
	proto_pub_publish(&pub, 1000000);
	evict.pub_id = pub.reply.pub_id;
	evict.ring_id = pub.reply.ring_id;
	for (int i = 0; i < 100; i++) {
		HOLDS(proto_ask(&client, &evict, &msg) == 0);
		usleep(5000);
	}
	return 0;
}

static void show_messages(struct ring_slot *slots, uint64_t count, uint64_t commit)
{
	for (uint64_t i = 0; i < count; i++)
		bus_store_relaxed(&slots[i].commit, commit);
	bus_fence_seq_cst();
}

/*
 * The same by one who shows busd a message when it comes to look, and takes it back before the
 * reader sees it: that one is evicted, again and again, from his ring; not from that of others.
 */
static int false_evidence(void)
{
	struct ctl_evict evict = { .head = PROTO_HEAD(CTL_EVICT, sizeof(evict)), .grace_ns = 1 };
	uint64_t evictions = 0;
	struct ring_slot *slots;
	struct proto_client client;
	struct proto_pub pub;
	struct proto_msg msg;

	HOLDS(proto_greet(&client, attack_busd.path, "evil witness", true) == 0);
	HOLDS(proto_pub_open(&client, PIT, 0, true, &pub) == 0);
	slots = mmap(NULL, pub.reply.geometry.slots * sizeof(*slots), PROT_READ | PROT_WRITE,
		     MAP_SHARED, pub.fd, (off_t)pub.reply.geometry.slots_off);
	HOLDS(slots != MAP_FAILED && proto_pub_ready(&client, &pub) == 0);
	evict.pub_id = pub.reply.pub_id;
	evict.ring_id = pub.reply.ring_id;
	proto_pub_publish(&pub, 1000);
	bus_store_release(&attack_view->bearable, UINT64_MAX);
	for (int i = 0; i < 400 && evictions < 3; i++) {
		HOLDS(proto_ask(&client, &evict, &msg) == 0); /* from now on the time counts */
		usleep(12000);
		show_messages(slots, pub.reply.geometry.slots, UINT64_C(1) << 40);
		HOLDS(proto_ask(&client, &evict, &msg) == 0);
		show_messages(slots, pub.reply.geometry.slots, 0);
		evictions += msg.evict.evicted_sub != 0;
		proto_pub_publish(&pub, 1000);
	}
	/* he is too late when the reader happens to be awake */
	printf("      %llu evictions from his ring came about\n", (unsigned long long)evictions);
	fflush(stdout);
	return 0;
}

int main(void)
{
	int rc = attack_open("");

	if (rc)
		return rc;
	attack("a cursor that runs backwards", cursor_backwards);
	attack("a cursor ahead of what was published", cursor_ahead);
	attack("a cursor that is anywhere", cursor_anywhere);
	attack_check("  ... is named, and taken off the ring", liars_are_named);
	attack("a cursor that freezes", cursor_frozen);
	attack("a cursor that freezes, joins again and freezes", frozen_again);
	attack_check("  ... is evicted, counted and named", frozen_is_named);
	attack("lengths, positions, flags that cannot be", wrong_messages);
	attack("wild lengths, positions, numbers in slots", wild_slots);
	attack("an innocent reader accused of standing still", false_accusation);
	attack("  ... with evidence that he takes back", false_evidence);
	return attack_close();
}

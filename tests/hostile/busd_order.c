/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_order.c - the order of what busd tells and does: memberships, epoch, board, bells, answers; succession,
 * eviction.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/proto_board.h"

static void joining_is_numbered(void **state)
{
	const struct board_head *board;
	struct proto_pub pub;
	struct proto_sub sub;
	struct proto_msg msg;
	uint64_t before;
	uint32_t bell_before;

	(void)state;
	assert_int_equal(proto_pub_open(&p, "t", 0, false, &pub), 0);
	board = take_board(&p);
	assert_int_equal(epoch(board), pub.number);
	proto_pub_publish(&pub, 7);
	before = epoch(board);
	assert_int_equal(proto_sub_open(&s, "t", 0, CTL_START_NOW, true, &sub), 0);
	assert_int_equal(sub.reply.rings, 1);
	next_event(&s, CTL_EV_RING, &msg);
	assert_int_equal(msg.ring.ring_id, pub.reply.ring_id);
	assert_int_equal(msg.ring.flags, 0);
	assert_int_equal(msg.ring.client_id, p.hello.client_id);
	assert_int_equal(msg.ring.bell_word, p.hello.slot);
	assert_string_equal(msg.ring.topic, "t");
	/* opened is not joined: nobody is told, nothing gates */
	assert_int_equal(epoch(board), before);
	assert_int_equal(bus_load_acquire(&board->subs_used), 0);
	bell_before = bell(&p);
	assert_int_equal(proto_sub_join(&s, &sub), 0);
	assert_int_equal(epoch(board), before + 1);
	assert_true(bell(&p) != bell_before);
	next_member(&p, &msg);
	assert_int_equal(msg.member.op, CTL_MEMBER_ADD);
	assert_int_equal(msg.member.flags, CTL_MEMBER_GATES);
	assert_int_equal(msg.member.number, before + 1);
	assert_int_equal(msg.member.pub_id, pub.reply.pub_id);
	assert_int_equal(msg.member.ring_id, pub.reply.ring_id);
	assert_int_equal(msg.member.start, 7);
	assert_int_equal(msg.member.segment_id, sub.reply.segment_id);
	assert_int_equal(msg.member.bell_word, s.hello.slot);
	assert_int_equal(sub_on(board, 0)->state, BOARD_SUB_ACTIVE);
	assert_int_equal(sub_on(board, 0)->sub_id, sub.reply.sub_id);
	assert_int_equal(proto_sub_close(&s, &sub), 0);
	next_member(&p, &msg);
	assert_int_equal(msg.member.op, CTL_MEMBER_REMOVE);
	assert_int_equal(msg.member.number, before + 2);
	assert_int_equal(epoch(board), before + 2);
	next_event(&p, CTL_EV_SEGMENT_GONE, &msg);
	assert_int_equal(sub_on(board, 0)->state, BOARD_SUB_FREE);
}

static void a_new_publisher_finds_its_readers(void **state)
{
	const struct board_head *board;
	struct proto_pub pub, second;
	struct proto_client p2;
	struct proto_sub sub;
	struct proto_msg msg;
	uint32_t bell_before;

	(void)state;
	assert_int_equal(proto_sub_open(&s, "n.>", 0, CTL_START_NOW, false, &sub), 0);
	assert_int_equal(sub.reply.rings, 0);
	bell_before = bell(&s);
	assert_int_equal(proto_pub_open(&p, "n.a", 0, false, &pub), 0);
	assert_true(bell(&s) != bell_before);
	board = take_board(&s);
	next_event(&s, CTL_EV_RING, &msg);
	assert_int_equal(msg.ring.flags, CTL_RING_FRESH);
	assert_int_equal(msg.ring.start, 0);
	next_member(&p, &msg);
	assert_int_equal(msg.member.flags, CTL_MEMBER_GATES);
	assert_int_equal(msg.member.start, 0);
	assert_int_equal(msg.member.number, pub.number);
	/* the first publisher is told that nothing changes for it, or its epoch would outrun it */
	assert_int_equal(proto_greet(&p2, busd.path, "p2", true), 0);
	assert_int_equal(proto_pub_open(&p2, "n.a", 0, false, &second), 0);
	assert_int_equal(second.number, pub.number + 1);
	assert_int_equal(epoch(board), second.number);
	next_event(&p, CTL_EV_MEMBER, &msg);
	assert_int_equal(msg.member.op, CTL_MEMBER_NONE);
	assert_int_equal(msg.member.number, second.number);
	next_event(&s, CTL_EV_RING, &msg);
	assert_int_equal(msg.ring.entry, 1);
	proto_leave(&p2);
}

static void opened_but_not_ready_is_nobodys_ring(void **state)
{
	struct proto_pub pub;
	struct proto_sub sub;
	struct proto_msg msg;

	(void)state;
	assert_int_equal(proto_pub_open(&p, "r", 0, true, &pub), 0);
	assert_int_equal(proto_sub_open(&s, "r", 0, CTL_START_OLDEST, true, &sub), 0);
	assert_int_equal(sub.reply.rings, 0);
	/* READY between OPEN and JOIN: announced without FRESH, activated with the rest */
	assert_int_equal(proto_pub_ready(&p, &pub), 0);
	next_event(&s, CTL_EV_RING, &msg);
	assert_int_equal(msg.ring.flags, 0);
	proto_pub_publish(&pub, 5);
	assert_int_equal(proto_sub_join(&s, &sub), 0);
	next_member(&p, &msg);
	assert_int_equal(msg.member.start, 5);
	/* READY twice, JOIN twice */
	assert_int_equal(proto_pub_ready(&p, &pub), -EINVAL);
	assert_int_equal(proto_sub_join(&s, &sub), -EALREADY);
}

static void succession(void **state)
{
	const struct board_head *board;
	struct proto_pub pub, larger;
	struct proto_sub sub;
	struct proto_msg msg;

	(void)state;
	assert_int_equal(proto_sub_open(&s, "g", 0, CTL_START_NOW, false, &sub), 0);
	assert_int_equal(proto_pub_open(&p, "g", 65536, false, &pub), 0);
	board = take_board(&p);
	next_event(&s, CTL_EV_RING, &msg);
	proto_pub_publish(&pub, 10);
	assert_int_equal(grow(&p, pub.reply.pub_id, 10, UINT64_C(1) << 40, &larger), -EMSGSIZE);
	assert_non_null(strstr(p.why, "16.0 MiB"));
	assert_non_null(strstr(p.why, "max_ring_bytes"));
	assert_int_equal(grow(&p, pub.reply.pub_id, UINT64_MAX, 100000, &larger), -EINVAL);
	assert_int_equal(grow(&p, pub.reply.pub_id + 1000, 10, 100000, &larger), -ENOENT);
	assert_int_equal(grow(&p, pub.reply.pub_id, 10, 100000, &larger), 0);
	assert_int_equal(larger.reply.geometry.bytes, 524288);
	assert_int_equal(larger.reply.geometry.first_seq, 10);
	assert_int_equal(ring_state(board, pub.reply.board_index), BOARD_RING_OPEN);
	assert_int_equal(grow(&p, pub.reply.pub_id, 10, 100000, &larger), -EINVAL); /* one at a time */
	assert_int_equal(proto_pub_ready(&p, &larger), 0);
	assert_int_equal(ring_state(board, pub.reply.board_index), BOARD_RING_CLOSED);
	assert_int_equal(ring_on(board, pub.reply.board_index)->next_ring, larger.reply.ring_id);
	assert_int_equal(ring_state(board, larger.reply.board_index), BOARD_RING_OPEN);
	next_event(&s, CTL_EV_RING, &msg);
	assert_int_equal(msg.ring.prev_ring, pub.reply.ring_id);
	assert_int_equal(msg.ring.start, 10);
	assert_int_equal(msg.ring.flags, CTL_RING_FRESH);
	assert_int_equal(msg.ring.pub_id, pub.reply.pub_id);
	do
		next_member(&p, &msg);
	while (msg.member.ring_id != larger.reply.ring_id);
	assert_int_equal(msg.member.start, 10);
	assert_int_equal(msg.member.number, larger.number);
	/* a later reader that wants the past gets both, in order */
	assert_int_equal(proto_sub_close(&s, &sub), 0);
	assert_int_equal(proto_sub_open(&s, "g", 0, CTL_START_OLDEST, true, &sub), 0);
	assert_int_equal(sub.reply.rings, 2);
	next_event(&s, CTL_EV_RING, &msg);
	assert_int_equal(msg.ring.flags, CTL_RING_CLOSED);
	next_event(&s, CTL_EV_RING, &msg);
	assert_int_equal(msg.ring.prev_ring, pub.reply.ring_id);
}

static int evict(struct proto_pub *pub, uint64_t grace_ns, struct ctl_evict_reply *reply)
{
	struct ctl_evict ask = { .head = PROTO_HEAD(CTL_EVICT, sizeof(ask)),
				 .pub_id = pub->reply.pub_id,
				 .ring_id = pub->reply.ring_id,
				 .grace_ns = grace_ns };
	struct proto_msg answer;
	int rc = proto_ask(&p, &ask, &answer);

	if (rc == 0)
		*reply = answer.evict;
	return rc;
}

/* A publisher whose slots can be written; messages that busd can see are there. */
static struct ring_slot *open_with_slots(const char *topic, struct proto_pub *pub)
{
	void *slots;

	assert_int_equal(proto_pub_open(&p, topic, 0, true, pub), 0);
	slots = mmap(NULL, pub->reply.geometry.slots * sizeof(struct ring_slot),
		     PROT_READ | PROT_WRITE, MAP_SHARED, pub->fd,
		     (off_t)pub->reply.geometry.slots_off);
	assert_true(slots != MAP_FAILED);
	assert_int_equal(proto_pub_ready(&p, pub), 0);
	return slots;
}

static void commit(struct ring_slot *slots, struct proto_pub *pub, uint64_t count)
{
	uint64_t head = bus_load_relaxed(&pub->page->head);

	for (uint64_t seq = head; seq < head + count; seq++)
		bus_store_release(&slots[seq].commit, seq + 1);
	proto_pub_publish(pub, count);
}

static void eviction_needs_a_standstill(void **state)
{
	struct ctl_evict_reply reply = { .again_ns = 0 };
	const struct board_head *board;
	struct proto_pub pub, other;
	struct proto_sub sub, lossy;
	struct proto_msg msg;
	struct ring_slot *slots;
	uint64_t ring_id;

	(void)state;
	slots = open_with_slots("e", &pub);
	board = take_board(&p);
	ring_id = pub.reply.ring_id;
	assert_int_equal(evict(&pub, 1, &reply), 0);
	assert_int_equal(reply.evicted_sub, 0);
	assert_int_equal(reply.again_ns, 0); /* nobody gates */
	assert_int_equal(proto_sub_open(&s, "e", BOARD_SUB_LOSSY, CTL_START_NOW, false, &lossy), 0);
	assert_int_equal(evict(&pub, 1, &reply), 0);
	assert_int_equal(reply.again_ns, 0);
	assert_int_equal(proto_sub_open(&s, "e", 0, CTL_START_NOW, false, &sub), 0);
	next_member(&p, &msg);
	assert_int_equal(msg.member.flags, 0);
	next_member(&p, &msg);
	assert_int_equal(msg.member.flags, CTL_MEMBER_GATES);
	tag(&sub, 0, ring_id, 0);
	/* it has read all there is: it is not what the publisher waits for */
	for (int i = 0; i < 3; i++) {
		assert_int_equal(evict(&pub, 1, &reply), 0);
		assert_int_equal(reply.evicted_sub, 0);
		usleep(15000);
	}
	/* what is said to be there and is not holds up nobody but who says so */
	proto_pub_publish(&pub, 100);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(evict(&pub, 1, &reply), 0);
		assert_int_equal(reply.evicted_sub, 0);
		usleep(15000);
	}
	assert_true(proto_busd_logged(&busd, "has published nothing that could be read"));
	bus_store_release(&pub.page->head, 0);
	commit(slots, &pub, 100);
	tag(&sub, 0, ring_id, 1);
	/* it moves: never */
	for (uint64_t at = 2; at < 10; at++) {
		assert_int_equal(evict(&pub, 1, &reply), 0);
		assert_int_equal(reply.evicted_sub, 0);
		usleep(15000);
		tag(&sub, 0, ring_id, at);
	}
	/* it stands still, but not for the floor of 10 ms, whatever the publisher says */
	assert_int_equal(evict(&pub, 1, &reply), 0);
	assert_int_equal(reply.evicted_sub, 0);
	assert_int_equal(evict(&pub, 1, &reply), 0);
	assert_int_equal(reply.evicted_sub, 0);
	assert_true(reply.again_ns > 0 && reply.again_ns <= 10000000);
	assert_int_equal(proto_pub_open(&p, "e", 0, false, &other), 0);
	while (proto_event(&p, CTL_EV_MEMBER, &msg, 50) == 1)
		continue;
	assert_int_equal(sub_on(board, 1)->evicted, 0);
	assert_int_equal(evict(&pub, 1, &reply), 0);
	assert_int_equal(reply.evicted_sub, sub.reply.sub_id);
	assert_int_equal(sub_on(board, 1)->evicted, 1);
	next_member(&p, &msg);
	assert_int_equal(msg.member.op, CTL_MEMBER_ADD);
	assert_int_equal(msg.member.flags, 0);
	assert_int_equal(msg.member.ring_id, ring_id);
	assert_int_equal(msg.member.sub_id, sub.reply.sub_id);
	assert_int_equal(msg.member.number, epoch(board));
	/* the other publisher goes on waiting for it */
	next_event(&p, CTL_EV_MEMBER, &msg);
	assert_int_equal(msg.member.pub_id, other.reply.pub_id);
	assert_int_equal(msg.member.op, CTL_MEMBER_NONE);
	assert_true(proto_busd_logged(&busd, "evicted: subscription \"sub\" of \"s\""));
	assert_int_equal(evict(&pub, 1, &reply), 0);
	assert_int_equal(reply.again_ns, 0); /* it gates no more */
}

static void joining_again(void **state)
{
	struct ctl_sub_join rejoin = { .head = PROTO_HEAD(CTL_SUB_REJOIN, sizeof(rejoin)) };
	struct ctl_evict_reply reply = { .again_ns = 0 };
	struct proto_pub pub, fresh;
	struct proto_sub sub;
	struct proto_msg msg;
	struct ring_slot *slots;
	uint32_t entry;

	(void)state;
	assert_int_equal(proto_sub_open(&s, "j", 0, CTL_START_NOW, false, &sub), 0);
	slots = open_with_slots("j", &pub);
	next_event(&s, CTL_EV_RING, &msg);
	entry = msg.ring.entry;
	rejoin.topic_id = msg.ring.topic_id;
	rejoin.sub_id = sub.reply.sub_id;
	commit(slots, &pub, 50);
	assert_int_equal(evict(&pub, 1, &reply), 0);
	usleep(12000);
	assert_int_equal(evict(&pub, 1, &reply), 0);
	assert_int_equal(reply.evicted_sub, sub.reply.sub_id);
	/* it is from this publisher's ring that it was evicted: another one waits for it */
	assert_int_equal(proto_pub_open(&p, "j", 0, false, &fresh), 0);
	do
		next_member(&p, &msg);
	while (msg.member.ring_id != fresh.reply.ring_id);
	assert_int_equal(msg.member.flags, CTL_MEMBER_GATES);
	tag(&sub, entry, pub.reply.ring_id, 50);
	assert_int_equal(proto_ask(&s, &rejoin, &msg), 0);
	next_member(&p, &msg);
	assert_int_equal(msg.member.flags, CTL_MEMBER_GATES);
	assert_int_equal(msg.member.start, 50);
	assert_int_equal(msg.member.ring_id, pub.reply.ring_id);
	/* and nothing changes at the other one */
	assert_int_equal(proto_event(&p, CTL_EV_MEMBER, &msg, 200), 1);
	assert_int_equal(msg.member.op, CTL_MEMBER_NONE);
	assert_int_equal(msg.member.pub_id, fresh.reply.pub_id);
	rejoin.topic_id += 1000;
	assert_int_equal(proto_ask(&s, &rejoin, &msg), -ENOENT);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(joining_is_numbered),
		TEST(a_new_publisher_finds_its_readers),
		TEST(opened_but_not_ready_is_nobodys_ring),
		TEST(succession),
		TEST(eviction_needs_a_standstill),
		TEST(joining_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

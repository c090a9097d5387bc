/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto_board.h - a busd with two clients of proto_rig.h, and what they see: boards, bells, events one after another. For
 * cmocka's programs.
 */
#ifndef TESTS_PROTO_BOARD_H
#define TESTS_PROTO_BOARD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/mman.h>

#include "lib/proto_rig.h"

static struct proto_busd busd;
static struct proto_client p, s; /* a publisher's and a subscriber's connection */

static int setup(void **state)
{
	(void)state;
	if (proto_busd_start(&busd, "keep_time: 700ms\nkeep_rings: 3\n", 0) < 0)
		return -1;
	return proto_greet(&p, busd.path, "p", true) < 0 ? -1 : proto_greet(&s, busd.path, "s", true);
}

static int teardown(void **state)
{
	(void)state;
	proto_leave(&p);
	proto_leave(&s);
	return proto_busd_stop(&busd);
}

static inline uint32_t bell(const struct proto_client *client)
{
	return bus_load_acquire(&client->busd_bell->word[client->hello.slot]);
}

/*
 * The board of a topic, from the segments that a client was sent; events before it are passed over.
 */
static inline const struct board_head *take_board(struct proto_client *client)
{
	struct proto_msg msg;

	while (proto_event(client, CTL_EV_SEGMENT, &msg, 2000) == 1) {
		void *map = MAP_FAILED;

		if (msg.segment.kind == CTL_SEG_BOARD)
			map = mmap(NULL, msg.segment.size, PROT_READ, MAP_SHARED, msg.fds[0], 0);
		proto_close_fds(&msg);
		if (map != MAP_FAILED)
			return map;
	}
	fail_msg("no board was announced");
	return NULL;
}

static inline const struct board_ring *ring_on(const struct board_head *board, uint32_t index)
{
	return (const struct board_ring *)(const void *)((const char *)board + BOARD_RINGS_OFF) +
	       index;
}

static inline const struct board_sub *sub_on(const struct board_head *board, uint32_t index)
{
	return (const struct board_sub *)(const void *)((const char *)board + BOARD_SUBS_OFF) + index;
}

static inline uint64_t epoch(const struct board_head *board)
{
	return bus_load_acquire(&board->epoch);
}

static inline uint32_t ring_state(const struct board_head *board, uint32_t index)
{
	return bus_load_acquire(&ring_on(board, index)->state);
}

static inline void tag(struct proto_sub *sub, uint32_t entry, uint64_t ring_id, uint64_t cursor)
{
	bus_store_release(&sub->cursors->entry[entry].cursor, cursor);
	bus_store_release(&sub->cursors->entry[entry].ring_id, ring_id);
}

static inline void next_event(struct proto_client *client, uint16_t type, struct proto_msg *msg)
{
	assert_int_equal(proto_event(client, type, msg, 2000), 1);
}

/* Reads on until a MEMBER that is not OP_NONE. */
static inline void next_member(struct proto_client *client, struct proto_msg *msg)
{
	do
		next_event(client, CTL_EV_MEMBER, msg);
	while (msg->member.op == CTL_MEMBER_NONE);
}

static inline int grow(struct proto_client *client, uint64_t pub_id, uint64_t next_seq,
		       uint64_t need, struct proto_pub *ret)
{
	struct ctl_pub_grow ask = { .head = PROTO_HEAD(CTL_PUB_GROW, sizeof(ask)),
				    .pub_id = pub_id,
				    .next_seq = next_seq,
				    .need_bytes = need,
				    .node = -1 };
	struct proto_msg answer;
	int rc = proto_ask(client, &ask, &answer);

	if (rc < 0)
		return rc;
	ret->reply = answer.pub;
	ret->fd = answer.fds[0];
	ret->page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ret->fd, 0);
	return ret->page == MAP_FAILED ? -ENOMEM : 0;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * timeout: 90
 * Proves: who says at a new busd that he is a subscription of the former one's is believed for his
 * own user's only: a publisher does not leave its ring for the sake of a liar, and its real reader,
 * who stands still meanwhile, loses nothing. Nor is a publisher believed who says that he continues
 * another user's: the reader goes on to the ring that does. (The same lie of the same user is believed:
 * processes of one user are no boundary, and the test sees that it would see the difference.)
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api/pub_internal.h"
#include "api/sub_internal.h"
#include "lib/bus_rig.h"
#include "lib/proto_rig.h"

#define CONFIG \
	"log: stderr\nlog_level: error\nsocket_mode: \"0666\"\nrules:\n" \
	"  - {topics: \"former\", allow: {publish: [\"4711\"], subscribe: [\"4711\"]}}\n"

/* Says that it has the ring, as a subscription does. */
static void have(struct cursor_segment *cursors, const struct ctl_ev_ring *ring)
{
	struct cursor_entry *entry = &cursors->entry[ring->entry];

	bus_store_release(&entry->cursor, ring->start);
	bus_store_release(&entry->ring_id, ring->ring_id);
}

/* A subscription that says whose it is. */
static void lie(uid_t uid, uint64_t line)
{
	struct ctl_sub_open open = { .head = PROTO_HEAD(CTL_SUB_OPEN, sizeof(open)),
				     .node = -1,
				     .pattern = "former",
				     .name = "liar",
				     .line = line };
	struct proto_msg answer, event;
	struct cursor_segment *cursors;
	struct proto_client client;
	struct proto_sub sub;

	CHECK(setgid(uid) == 0 && setuid(uid) == 0);
	EQUAL(proto_greet(&client, rig_socket(), "liar", true), 0);
	EQUAL(proto_ask(&client, &open, &answer), 0);
	EQUAL(answer.fd_count, 1);
	sub = (struct proto_sub){ .reply = answer.sub, .fd = answer.fds[0] };
	cursors = mmap(NULL, sub.reply.size, PROT_READ | PROT_WRITE, MAP_SHARED, sub.fd, 0);
	CHECK(cursors != MAP_FAILED);
	EQUAL(proto_sub_join(&client, &sub), 0);
	bus_store_release(&cursors->taken, 1);
	rig_post(1);
	for (int i = 0; i < 600; i++)
		if (proto_event(&client, CTL_EV_RING, &event, 100) == 0)
			have(cursors, &event.ring);
	rig_exit(1);
}

/* A publisher that says whom he continues, and that a million messages are missing in between. */
static void lie_as_publisher(uid_t uid, uint64_t line)
{
	struct ctl_pub_open open = { .head = PROTO_HEAD(CTL_PUB_OPEN, sizeof(open)),
				     .node = -1,
				     .topic = "former",
				     .name = "liar",
				     .line = line,
				     .first_seq = 1000000 };
	struct proto_client client;
	struct proto_msg answer;
	struct proto_pub pub = { .fd = -1 };

	CHECK(setgid(uid) == 0 && setuid(uid) == 0);
	EQUAL(proto_greet(&client, rig_socket(), "liar", true), 0);
	EQUAL(proto_ask(&client, &open, &answer), 0);
	EQUAL(answer.fd_count, 1);
	pub.reply = answer.pub;
	pub.fd = answer.fds[0];
	EQUAL(proto_pub_ready(&client, &pub), 0);
	rig_post(1);
	rig_sleep_ms(60000);
	rig_exit(1);
}

/* Until the subscription is at the second busd, and has been told of the liar's ring there. */
static void await_liar(struct bus_sub *sub)
{
	int ms = 0;

	while ((sub->gen != 2 || sub->ring_count < 2) && ms++ < 8000) {
		EQUAL(bus_sub_wait(sub, 1000000), 0);
		rig_sleep_ms(1);
	}
	EQUAL(sub->gen, 2);
	EQUAL(sub->ring_count, 2);
	rig_post(2);
}

/* Up to the message that says the end; waits for the liar once it has read `pause` messages. */
static void reader(uint64_t pause)
{
	struct bus *bus = rig_connect("reader");
	struct bus_sub *sub;
	struct bus_msg m;
	uint64_t n = 0, value;

	OK(bus_sub_open(&sub, bus, "former", NULL));
	rig_post(0);
	do {
		if (n == pause)
			await_liar(sub);
		rig_next(sub, &m);
		memcpy(&value, m.data, sizeof(value));
		if (value == UINT64_MAX)
			break;
		EQUAL(value, n++);
		EQUAL(m.lost, 0);
		EQUAL(bus_sub_release(sub, 1), 0);
	} while (true);
	rig_exit(0);
}

/* Sends for a while, until it has gone over. */
static uint64_t send_some(struct bus_pub *pub, uint64_t n, unsigned ms)
{
	for (unsigned i = 0; i < ms && pub->gen == 1; i++, n++) {
		OK(bus_pub_send(pub, &n, sizeof(n)));
		rig_sleep_ms(1);
	}
	return n;
}

static void one_liar(uid_t uid, unsigned round)
{
	struct bus *bus = rig_connect("writer");
	uint64_t n = 0, end = UINT64_MAX;
	const struct pub_member *pm;
	struct bus_pub *pub;
	pid_t child, liar;

	child = rig_fork();
	if (child == 0)
		reader(UINT64_MAX);
	rig_await(0, round);
	OK(bus_pub_open(&pub, bus, "former", BUS_OPTS(pub, .slots = 8192, .full = BUS_FULL_BLOCK)));
	n = send_some(pub, 0, 50);
	rig_kill(child, SIGSTOP);
	rig_busd_kill();
	rig_busd_again(NULL);
	EQUAL(pub->ring.member_count, 1);
	pm = pub->ring.members[0].owner;
	liar = rig_fork();
	if (liar == 0)
		lie(uid, pm->line);
	rig_await(1, round);
	n = send_some(pub, n, 1000);
	EQUAL(pub->gen, uid == 0 ? 2 : 1);
	rig_kill(child, SIGCONT);
	n = send_some(pub, n, 8000);
	EQUAL(pub->gen, 2);
	rig_kill(liar, SIGKILL);
	EQUAL(rig_wait(liar), -SIGKILL);
	if (uid != 0) {
		OK(bus_pub_send(pub, &end, sizeof(end)));
		EQUAL(rig_wait(child), 0);
	} else {
		rig_kill(child, SIGKILL);
		EQUAL(rig_wait(child), -SIGKILL);
	}
	bus_close(bus);
}

static void lying_publisher(unsigned round)
{
	struct bus *bus = rig_connect("writer");
	uint64_t n = 0, end = UINT64_MAX, line;
	struct bus_pub *pub;
	pid_t child, liar;

	child = rig_fork();
	if (child == 0)
		reader(50);
	rig_await(0, round);
	OK(bus_pub_open(&pub, bus, "former", NULL));
	n = send_some(pub, 0, 50);
	rig_busd_kill();
	rig_busd_again(NULL);
	line = pub->line; /* a child finds nothing in *pub */
	liar = rig_fork();
	if (liar == 0)
		lie_as_publisher(4711, line);
	rig_await(1, round);
	rig_await(2, 1);
	n = send_some(pub, n, 8000);
	EQUAL(pub->gen, 2);
	OK(bus_pub_send(pub, &end, sizeof(end)));
	EQUAL(rig_wait(child), 0);
	rig_kill(liar, SIGKILL);
	EQUAL(rig_wait(liar), -SIGKILL);
	bus_close(bus);
}

int main(void)
{
	if (geteuid() != 0) {
		puts("only root can be two users");
		return 77;
	}
	rig_busd_start(CONFIG);
	rig_let_others_in();
	one_liar(4711, 1);
	one_liar(0, 2);
	lying_publisher(3);
	return rig_done();
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: a busd that dies when it has told a publisher that a subscription of a former busd joined, but not yet the
 * subscription that it did, costs nobody a message: the publisher does not leave the ring that is read for one that
 * nobody knows of. The same where the subscription was not told of the publisher's new ring.
 *
 * How: this program's own recvmsg() takes what libbus receives in the subscriber's process, and lets one packet of
 * busd's disappear with busd.
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "format/control_proto.h"
#include "lib/bus_rig.h"

static struct {
	_Atomic uint64_t sent;
	_Atomic uint32_t busd;         /* pid */
	_Atomic uint32_t armed;        /* type of the packet that is lost, once */
	_Atomic uint32_t joined;       /* answers to SUB_JOIN that came */
	_Atomic uint32_t paused, over; /* what the publisher is to do */
} * shared;

/* ---- the packet that is lost ---- */

static bool is_of(const struct msghdr *mh, ssize_t n, uint32_t type)
{
	const struct ctl_head *head = mh->msg_iov[0].iov_base;

	return n >= (ssize_t)sizeof(*head) && head->type == type;
}

ssize_t recvmsg(int fd, struct msghdr *mh, int flags)
{
	static ssize_t (*real)(int, struct msghdr *, int);
	ssize_t n;

	if (real == NULL)
		*(void **)&real = dlsym(RTLD_NEXT, "recvmsg");
	n = real(fd, mh, flags);
	if (n <= 0 || shared == NULL)
		return n;
	if (shared->armed == 0 || !is_of(mh, n, shared->armed)) {
		shared->joined += is_of(mh, n, CTL_REPLY | CTL_SUB_JOIN);
		return n;
	}
	shared->armed = 0;
	while (shared->busd == 0)
		rig_sleep_ms(1);
	rig_sleep_ms(300); /* the publisher, which goes by busd's word, would go over now */
	kill((pid_t)atomic_load(&shared->busd), SIGKILL);
	return 0;
}

/* ---- who sends, who reads ---- */

static void publisher(int posts)
{
	struct bus *bus = rig_connect("publisher");
	struct bus_pub *pub;

	OK(bus_pub_open(&pub, bus, "mid", BUS_OPTS(pub, .slots = 4096, .full_ns = 20000000000)));
	rig_post(posts);
	for (uint64_t i = 0; !shared->over; i++) {
		OK(bus_pub_send(pub, &i, sizeof(i)));
		atomic_store(&shared->sent, i + 1);
		do {
			rig_sleep_ms(1);
		} while (shared->paused);
	}
	bus_close(bus);
	rig_exit(0);
}

static void subscriber(int posts)
{
	struct bus *bus = rig_connect("subscriber");
	uint64_t next = 0, value, until = 0;
	struct bus_sub *sub;
	struct bus_msg m;

	OK(bus_sub_open(&sub, bus, "mid", NULL));
	rig_post(posts);
	while (!shared->over || next < shared->sent) {
		OK(bus_sub_wait(sub, 20000000));
		if (shared->over && until == 0)
			until = rig_now_ns() + 10000000000u;
		CHECK(until == 0 || rig_now_ns() < until);
		if (OK(bus_sub_peek(sub, &m, 1)) == 0)
			continue;
		memcpy(&value, m.data, sizeof(value));
		EQUAL(value, next);
		EQUAL(m.lost, 0);
		EQUAL(bus_sub_release(sub, 1), 0);
		next++;
	}
	bus_close(bus);
	rig_exit(0);
}

static void await(const _Atomic uint32_t *word, uint32_t value)
{
	for (int i = 0; i < 2000 && atomic_load(word) != value; i++)
		rig_sleep_ms(10);
	EQUAL(atomic_load(word), value);
}

/* first: the subscription comes to the busd that dies before the publisher does. */
static void loses(uint32_t type, bool first)
{
	pid_t reads, writes;

	memset(shared, 0, sizeof(*shared));
	rig_busd_start("log: stderr\nlog_level: error\n");
	reads = rig_fork();
	if (reads == 0)
		subscriber(first ? 2 : 0);
	rig_await(first ? 2 : 0, 1);
	writes = rig_fork();
	if (writes == 0)
		publisher(first ? 3 : 1);
	rig_await(first ? 3 : 1, 1);
	rig_sleep_ms(50);
	shared->paused = first;
	rig_sleep_ms(50);
	rig_busd_kill();
	shared->joined = 0;
	shared->armed = type;
	rig_busd_again(NULL);
	shared->busd = (uint32_t)rig_busd_pid();
	if (first)
		await(&shared->joined, 1);
	shared->paused = 0;
	await(&shared->armed, 0); /* it is lost, and busd dies */
	rig_sleep_ms(500);
	rig_busd_kill();
	rig_busd_again(NULL);
	rig_sleep_ms(500);
	shared->over = 1;
	EQUAL(rig_wait(reads), 0);
	EQUAL(rig_wait(writes), 0);
	rig_busd_stop();
}

int main(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(shared != MAP_FAILED);
	loses(CTL_REPLY | CTL_SUB_JOIN, false);
	loses(CTL_EV_RING, true);
	return rig_done();
}

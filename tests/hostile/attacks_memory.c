/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attacks_memory.c - a user with every right on the topic does what he can to the memory that he is
 * given, others' and his own, and to who sleeps there: each line is refused, or hurts nobody but
 * himself, while two innocents go on exchanging messages on the same topic and lose none. (What he
 * writes into his own: attacks_words.c.)
 *
 * timeout: 100
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "lib/attack_rig.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif

static int reopen(int fd, int flags)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, flags | O_CLOEXEC);
}

/* ---- the descriptors of others */

/* Calls check for each descriptor that the subscription to the good topic was given. */
static int for_each_loot(int (*check)(int fd, size_t size))
{
	struct proto_client client;
	struct attack_loot loot;
	struct proto_sub sub;
	int line = 0;
	unsigned i;

	HOLDS(proto_greet(&client, attack_busd.path, "evil", true) == 0);
	HOLDS(attack_subscribe(&client, &sub, &loot) == 0);
	HOLDS(loot.segment_count >= 2);
	for (i = 0; i < loot.segment_count && !line; i++)
		line = check(loot.segments[i].fds[0], loot.segments[i].segment.size);
	attack_drop_loot(&loot);
	return line;
}

static int no_reopening(int fd, size_t size)
{
	int own = memfd_create("own", MFD_CLOEXEC);

	(void)size;
	/* what is one's own can be reopened: this process may use /proc/self/fd */
	HOLDS(own >= 0 && reopen(own, O_RDWR) >= 0);
	HOLDS(reopen(fd, O_RDWR) < 0 && errno == EACCES);
	HOLDS(reopen(fd, O_WRONLY | O_TRUNC) < 0 && errno == EACCES);
	HOLDS(fchmod(fd, 0666) < 0 && errno == EPERM);
	HOLDS(fchown(fd, EVIL, EVIL) < 0 && errno == EPERM);
	return 0;
}

static int reopening(void)
{
	return for_each_loot(no_reopening);
}

static int no_mprotect(int fd, size_t size)
{
	void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);

	HOLDS(map != MAP_FAILED);
	HOLDS(mprotect(map, size, PROT_READ | PROT_WRITE) < 0 && errno == EACCES);
	HOLDS(mprotect(map, size, PROT_WRITE) < 0 && errno == EACCES);
	HOLDS(mprotect(map, size, PROT_READ | PROT_EXEC) < 0 || (fcntl(fd, F_GET_SEALS) & 0x20));
	HOLDS(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	munmap(map, size);
	return 0;
}

static int protection(void)
{
	return for_each_loot(no_mprotect);
}

static int no_holes(int fd, size_t size)
{
	HOLDS(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)size) < 0);
	HOLDS(ftruncate(fd, 0) < 0);
	HOLDS(ftruncate(fd, (off_t)size * 2) < 0);
	HOLDS(pwrite(fd, "x", 1, 0) < 0);
	HOLDS(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0);
	return 0;
}

static int holes(void)
{
	return for_each_loot(no_holes);
}

/* busd's and the innocents' own descriptors and memory, by way of /proc */
static int processes_of_others(void)
{
	const uint64_t pids[] = { (uint64_t)attack_busd.pid,
				  bus_load_acquire(&attack_view->publisher),
				  bus_load_acquire(&attack_view->subscriber) };
	char path[64];
	unsigned i;
	int fd;

	for (i = 0; i < BUS_ARRAY_LEN(pids); i++) {
		for (fd = 0; fd < 40; fd++) {
			snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)pids[i], fd);
			HOLDS(open(path, O_RDWR | O_CLOEXEC) < 0 && errno == EACCES);
		}
		snprintf(path, sizeof(path), "/proc/%d/mem", (int)pids[i]);
		HOLDS(open(path, O_RDWR | O_CLOEXEC) < 0 && errno == EACCES);
		HOLDS(kill((pid_t)pids[i], SIGSTOP) < 0 && errno == EPERM);
	}
	return 0;
}

/* ---- his own segments, which others map */

static int writing_after_the_seal(void)
{
	struct proto_client client;
	struct proto_pub pub;
	size_t size;
	int kept;

	HOLDS(proto_greet(&client, attack_busd.path, "evil", true) == 0);
	HOLDS(proto_pub_open(&client, "pit.kept", 0, true, &pub) == 0);
	size = pub.reply.geometry.size;
	kept = fcntl(pub.fd, F_DUPFD_CLOEXEC, 100);
	HOLDS(ftruncate(kept, 0) < 0 && errno == EPERM);
	HOLDS(proto_pub_ready(&client, &pub) == 0);
	HOLDS(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, kept, 0) == MAP_FAILED &&
	      errno == EPERM);
	HOLDS(ftruncate(kept, 0) < 0 && errno == EPERM);
	HOLDS(ftruncate(kept, (off_t)size * 2) < 0 && errno == EPERM);
	HOLDS(pwrite(kept, "x", 1, 0) < 0 && errno == EPERM);
	HOLDS(fallocate(kept, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)size) < 0 &&
	      errno == EPERM);
	HOLDS(madvise(pub.page, 4096, MADV_REMOVE) < 0);
	HOLDS(fcntl(kept, F_ADD_SEALS, F_SEAL_WRITE) < 0);
	return 0;
}

/* The good subscriber reads this ring too: where memory is short, a page that is not there kills it. */
static int a_hole_before_the_seal(void)
{
	struct proto_client client;
	struct ring_slot *slots;
	struct proto_pub pub;
	uint64_t dirt = bus_load_acquire(&attack_view->dirt);
	struct stat st;
	size_t size;
	int kept;

	HOLDS(proto_greet(&client, attack_busd.path, "evil", true) == 0);
	HOLDS(proto_pub_open(&client, "pit.hole", 0, true, &pub) == 0);
	size = pub.reply.geometry.size;
	slots = (struct ring_slot *)((char *)mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
						  pub.fd, 0) +
				     pub.reply.geometry.slots_off);
	HOLDS(fallocate(pub.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, (off_t)size) == 0);
	kept = fcntl(pub.fd, F_DUPFD_CLOEXEC, 100);
	HOLDS(fstat(kept, &st) == 0 && st.st_blocks == 0);
	HOLDS(proto_pub_ready(&client, &pub) == 0);
	/* all of it is there again: a reader's access never waits for memory that may not come */
	HOLDS(fstat(kept, &st) == 0 && (uint64_t)st.st_blocks * 512 >= size);
	/* a message whose payload lies where the hole was, longer than any page */
	bus_store_relaxed(&slots[0].pos, 0);
	bus_store_relaxed(&slots[0].lens, ring_pack_lens(50000, 0, 0));
	bus_store_release(&slots[0].commit, 1);
	proto_pub_publish(&pub, 1);
	for (int i = 0; i < 3000 && bus_load_acquire(&attack_view->dirt) == dirt; i++)
		usleep(1000);
	HOLDS(bus_load_acquire(&attack_view->dirt) > dirt);
	return 0;
}

static int seals_of_his_own(void)
{
	static const int seals[] = { F_SEAL_SEAL, F_SEAL_SEAL | F_SEAL_FUTURE_WRITE | F_SEAL_WRITE,
				     F_SEAL_WRITE | F_SEAL_SEAL };
	struct proto_client client;
	struct proto_pub pub;
	struct proto_sub sub;
	unsigned i;

	HOLDS(proto_greet(&client, attack_busd.path, "evil sealer", true) == 0);
	for (i = 0; i < BUS_ARRAY_LEN(seals); i++) {
		HOLDS(proto_pub_open(&client, "pit.sealed", 0, true, &pub) == 0);
		munmap(pub.page, pub.reply.geometry.slots_off);
		HOLDS(fcntl(pub.fd, F_ADD_SEALS, seals[i]) == 0);
		HOLDS(proto_pub_ready(&client, &pub) == -EPERM);
	}
	HOLDS(strstr(client.why, "tampered"));
	HOLDS(proto_sub_open(&client, PIT, 0, CTL_START_NOW, true, &sub) == 0);
	munmap(sub.cursors, sub.reply.size);
	HOLDS(fcntl(sub.fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL) == 0);
	HOLDS(proto_sub_join(&client, &sub) == -EPERM);
	return 0;
}

static int he_is_named(void)
{
	HOLDS(proto_busd_logged(&attack_busd, "a ring of \"evil sealer\""));
	HOLDS(proto_busd_logged(&attack_busd, "tampered"));
	HOLDS(proto_busd_logged(&attack_busd, "uid 64103"));
	return 0;
}

/* ---- bells */

/* Sleeps on each word of a page, as its sleepers do; a waker wakes all who sleep there. */
static void steal_wakes(const _Atomic uint32_t *words, int seconds)
{
	for (int i = 0; i < 48; i++) {
		if (fork() != 0)
			continue;
		for (uint64_t end = (uint64_t)time(NULL) + (uint64_t)seconds;
		     (uint64_t)time(NULL) < end;) {
			const struct timespec most = { .tv_nsec = 100000000 };

			syscall(SYS_futex, &words[i], FUTEX_WAIT, words[i], &most, NULL, 0);
		}
		_exit(0);
	}
}

static int wakes_of_others(void)
{
	const struct ring_writer_page *page = NULL;
	struct proto_client client;
	struct attack_loot loot;
	struct proto_sub sub;
	unsigned bells = 0;
	unsigned i;

	HOLDS(attack_join_the_good(&client, &sub, &loot, &page) == 0);
	for (i = 0; i < loot.segment_count; i++) {
		const struct ctl_ev_segment *info = &loot.segments[i].segment;
		void *map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, loot.segments[i].fds[0], 0);

		if (info->kind == CTL_SEG_BELL) {
			/* a page on which the good publisher rings, for the sleepers of this user only */
			HOLDS(info->uid == EVIL);
			bells++;
		}
		steal_wakes(map, 2);
		for (int w = 0; w < 1024; w++)
			syscall(SYS_futex, (uint32_t *)map + w, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
	}
	steal_wakes(client.busd_bell->word, 2);
	(void)bells;
	for (i = 0; i < 2000; i++) {
		bus_store_release(&sub.cursors->entry[loot.ring.entry].cursor,
				  bus_load_acquire(&page->head));
		usleep(1000);
	}
	return 0;
}

/* The page on which he is to wake the good publisher: he rings all its words without end. */
static int ringing_for_nothing(void)
{
	struct ctl_evc want = { .head = PROTO_HEAD(CTL_EVC_WANT_BELL, sizeof(want)),
				.id = GOOD_PUBLISHER };
	struct ctl_evc ready = { .head = PROTO_HEAD(CTL_EVC_SEGMENT_READY, sizeof(ready)) };
	const struct ring_writer_page *page = NULL;
	struct bell_page *bell = NULL;
	struct proto_client client;
	struct attack_loot loot;
	struct proto_sub sub;
	struct proto_msg msg;

	HOLDS(attack_join_the_good(&client, &sub, &loot, &page) == 0);
	HOLDS(proto_send(client.ev, &want, sizeof(want)) == 0);
	while (!bell && proto_event(&client, CTL_EV_SEGMENT, &msg, 2000) == 1) {
		if (msg.segment.kind == CTL_SEG_BELL && msg.segment.flags & CTL_SEG_OWN) {
			HOLDS(msg.segment.uid == GOOD_PUBLISHER);
			bell = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, msg.fds[0], 0);
			ready.id = msg.segment.segment_id;
		}
		proto_close_fds(&msg);
	}
	HOLDS(bell && bell != MAP_FAILED);
	HOLDS(proto_send(client.ev, &ready, sizeof(ready)) == 0);
	for (int i = 0; i < 200; i++) {
		for (int w = 0; w < BELL_WORDS; w++) {
			bus_add_seq_cst(&bell->word[w], 1);
			syscall(SYS_futex, &bell->word[w], FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
		}
		bus_store_release(&sub.cursors->entry[loot.ring.entry].cursor,
				  bus_load_acquire(&page->head));
	}
	return 0;
}

int main(void)
{
	int rc = attack_open("");

	if (rc)
		return rc;
	attack("others' descriptors: reopened through /proc/self/fd", reopening);
	attack("others' descriptors: mprotect, a writable mapping", protection);
	attack("others' descriptors: holes, truncation, write, seals", holes);
	attack("/proc of busd and of the innocents", processes_of_others);
	attack("own ring: mapped, cut, punched after the seal", writing_after_the_seal);
	attack("own ring: a hole before the seal", a_hole_before_the_seal);
	attack("own ring and cursors: other seals before busd's", seals_of_his_own);
	attack_check("  ... is named in the log", he_is_named);
	attack("sleeping on words, waking whom one can", wakes_of_others);
	attack("ringing the publisher's bell for nothing", ringing_for_nothing);
	return attack_close();
}

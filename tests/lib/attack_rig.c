/* SPDX-License-Identifier: Apache-2.0 */
/* attack_rig.c - see attack_rig.h */
#include "lib/attack_rig.h"

#include "base/clock.h"

#include <bus.h>

#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ENOUGH   100 /* good messages that must come through after each attack */
#define WAIT_NS  UINT64_C(15000000000)
#define FULL_NS  300000000 /* after which the good publisher has a subscriber evicted */
#define GOOD_MAX 400       /* bytes */

struct attack_view *attack_view;
struct proto_busd attack_busd;
static pid_t publisher, subscriber;
static unsigned failures, attacks;
static uint64_t began_ns;

struct good {
	uint64_t number;
	uint8_t bytes[GOOD_MAX];
};

void attack_note(const char *file, int line, const char *what)
{
	fprintf(stderr, "    %s:%d: does not hold: %s (errno: %s)\n", file, line, what,
		strerror(errno));
}

static void say(const char *what, long long number, int error)
{
	if (bus_add_seq_cst(&attack_view->wrong, 1) == 0)
		snprintf(attack_view->said, sizeof(attack_view->said), "%s (%lld): %s %s", what,
			 number, error ? strerror(-error) : "", error ? bus_why(NULL) : "");
}

static uint32_t good_len(uint64_t number)
{
	return (uint32_t)(offsetof(struct good, bytes) + number * 37 % GOOD_MAX);
}

static void become(uid_t uid)
{
	if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
		_exit(250);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void publish(void)
{
	const struct timespec pause_time = { .tv_nsec = 300000 };
	struct bus_pub *pub;
	struct bus *bus;
	struct good msg;
	int rc;

	rc = bus_connect(&bus, BUS_OPTS(connect, .name = "good publisher"));
	if (rc == 0)
		rc = bus_pub_open(&pub, bus, PIT, BUS_OPTS(pub, .full_ns = FULL_NS, .slots = 256));
	if (rc < 0)
		say("the publisher cannot begin", 0, rc);
	memset(&msg, 0, sizeof(msg));
	while (rc == 0) {
		uint32_t len = good_len(msg.number);

		memset(msg.bytes, (uint8_t)msg.number, sizeof(msg.bytes));
		rc = bus_pub_send(pub, &msg, len);
		if (rc < 0)
			say("publishing", (long long)msg.number, rc);
		msg.number++;
		bus_store_release(&attack_view->sent, msg.number);
		/* now a burst, now a pause: both sides sleep, and both find the other awake */
		if (msg.number % 4 == 0)
			nanosleep(&pause_time, NULL);
	}
}

static void check_good(const struct bus_msg *msg, uint64_t *next)
{
	const struct good *good = msg->data;
	uint32_t i;

	if (msg->lost)
		say("lost", (long long)msg->lost, 0);
	if (msg->len < offsetof(struct good, bytes) || good->number != *next ||
	    msg->len != good_len(*next)) {
		say("not the next message", (long long)*next, 0);
		return;
	}
	for (i = 0; i < msg->len - offsetof(struct good, bytes); i++)
		if (good->bytes[i] != (uint8_t)*next) {
			say("other bytes", (long long)*next, 0);
			break;
		}
	++*next;
}

/* To its last byte, and its key and headers: a length that lies would end in SIGSEGV. */
static void read_dirt(const struct bus_msg *msg)
{
	static volatile uint8_t sum;
	struct bus_header header;
	uint32_t at = 0;
	uint32_t i;

	for (i = 0; i < msg->len; i++)
		sum += ((const uint8_t *)msg->data)[i];
	for (i = 0; i < msg->key_len; i++)
		sum += ((const uint8_t *)msg->key)[i];
	while (bus_msg_header_next(msg, &at, &header) == 1)
		for (i = 0; i < header.value_len; i++)
			sum += ((const uint8_t *)header.value)[i];
	bus_add_seq_cst(&attack_view->dirt, 1);
	if (msg->from->uid != EVIL)
		bus_add_seq_cst(&attack_view->dirty_ids, 1);
}

static void take(const struct bus_msg *msg, uint64_t *next, uint64_t *last_ns)
{
	uint64_t now_ns = bus_monotonic_ns();

	if (msg->from->uid != GOOD_PUBLISHER || strcmp(msg->topic, PIT) != 0) {
		read_dirt(msg);
		return;
	}
	if (msg->from->pid != bus_load_acquire(&attack_view->publisher))
		say("another publisher", msg->from->pid, 0);
	check_good(msg, next);
	if (now_ns - *last_ns > bus_load_relaxed(&attack_view->longest_ns))
		bus_store_relaxed(&attack_view->longest_ns, now_ns - *last_ns);
	*last_ns = now_ns;
	bus_store_release(&attack_view->got, *next);
}

static void subscribe(void)
{
	uint64_t next = 0, last_ns = bus_monotonic_ns();
	struct bus_sub_info info;
	struct bus_msg msgs[64];
	struct bus_sub *sub;
	struct bus *bus;
	int rc;

	rc = bus_connect(&bus, BUS_OPTS(connect, .name = "good subscriber"));
	if (rc == 0)
		rc = bus_sub_open(&sub, bus, "pit.>", NULL);
	if (rc < 0)
		say("the subscriber cannot begin", 0, rc);
	bus_store_release(&attack_view->subscriber, (uint64_t)getpid());
	while (rc >= 0) {
		int n, i;

		rc = bus_sub_wait(sub, 1000000000);
		n = rc < 0 ? 0 : bus_sub_peek(sub, msgs, BUS_ARRAY_LEN(msgs));
		if (n < 0) {
			bus_add_seq_cst(&attack_view->refused, 1);
			continue;
		}
		for (i = 0; i < n; i++)
			take(&msgs[i], &next, &last_ns);
		if (n > 0 && bus_sub_release(sub, n) < 0)
			bus_add_seq_cst(&attack_view->refused, 1);
		if (bus_sub_info(sub, &info) == 0)
			bus_store_relaxed(&attack_view->evictions, info.evictions);
	}
	say("waiting", 0, rc);
}

static bool comes_to(const _Atomic uint64_t *count, uint64_t value)
{
	uint64_t end_ns = bus_monotonic_ns() + WAIT_NS;

	while (bus_load_acquire(count) < value) {
		if (bus_monotonic_ns() > end_ns || bus_load_acquire(&attack_view->wrong))
			return false;
		usleep(500);
	}
	return true;
}

static pid_t start(uid_t uid, void (*work)(void))
{
	pid_t pid = fork();

	if (pid == 0) {
		become(uid);
		work();
		_exit(1);
	}
	return pid;
}

int attack_open(const char *config)
{
	char text[2048];
	int rc;

	if (geteuid() != 0) {
		puts("needs root: it runs as several users");
		return 77;
	}
	began_ns = bus_monotonic_ns();
	attack_view = mmap(NULL, sizeof(*attack_view), PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	snprintf(text, sizeof(text),
		 "socket_mode: 0666\n"
		 "rules:\n"
		 "- topics: pit.>\n"
		 "  allow: {publish: [%d, %d], subscribe: [%d, %d]}\n"
		 "- topics: own.>\n"
		 "  allow: {publish: [%d], subscribe: [%d], admin: [%d]}\n"
		 "%s",
		 GOOD_PUBLISHER, EVIL, GOOD_SUBSCRIBER, EVIL, EVIL, EVIL, EVIL, config);
	rc = proto_busd_start(&attack_busd, text, 0);
	if (attack_view == MAP_FAILED || rc < 0 || chmod(attack_busd.dir, 0755) < 0) {
		fprintf(stderr, "cannot start: %s\n", strerror(-rc));
		return 1;
	}
	setenv("BUS_SOCKET", attack_busd.path, 1);
	setenv("BUS_AUTOSTART", "0", 1);
	subscriber = start(GOOD_SUBSCRIBER, subscribe);
	if (!comes_to(&attack_view->subscriber, 1)) {
		fprintf(stderr, "no subscriber: %s\n", attack_view->said);
		return 1;
	}
	publisher = start(GOOD_PUBLISHER, publish);
	bus_store_release(&attack_view->publisher, (uint64_t)publisher);
	if (!comes_to(&attack_view->got, ENOUGH)) {
		fprintf(stderr, "the good pair does not run: %s\n", attack_view->said);
		return 1;
	}
	return 0;
}

/* Both live, nothing was wrong, and messages go on coming. */
static bool innocents_go_on(void)
{
	uint64_t got = bus_load_acquire(&attack_view->got);
	bool go_on = comes_to(&attack_view->got, got + ENOUGH);

	if (waitpid(publisher, NULL, WNOHANG) != 0 || waitpid(subscriber, NULL, WNOHANG) != 0)
		return false;
	return go_on && bus_load_acquire(&attack_view->wrong) == 0 &&
	       bus_load_acquire(&attack_view->evictions) <= bus_load_acquire(&attack_view->bearable) &&
	       bus_load_acquire(&attack_view->dirty_ids) == 0;
}

static void judge(const char *what, int line, uint64_t from_ns, uint64_t before)
{
	double ms = (double)(bus_monotonic_ns() - from_ns) / 1e6;
	bool good = innocents_go_on();

	attacks++;
	failures += line != 0 || !good;
	printf("%-5s %-58s %7.0f ms, %llu good messages meanwhile\n",
	       line == 0 && good ? "ok" : "FAIL", what, ms,
	       (unsigned long long)(bus_load_acquire(&attack_view->got) - before));
	if (line)
		printf("      it was not refused: line or exit code %d\n", line);
	if (!good)
		printf("      the innocents: %llu sent, %llu read, %llu wrong (%s), %llu evictions, %llu forged\n",
		       (unsigned long long)bus_load_acquire(&attack_view->sent),
		       (unsigned long long)bus_load_acquire(&attack_view->got),
		       (unsigned long long)bus_load_acquire(&attack_view->wrong), attack_view->said,
		       (unsigned long long)bus_load_acquire(&attack_view->evictions),
		       (unsigned long long)bus_load_acquire(&attack_view->dirty_ids));
	fflush(stdout);
}

void attack_as(uid_t uid, const char *what, int (*attempt)(void))
{
	uint64_t before = bus_load_acquire(&attack_view->got);
	uint64_t from_ns = bus_monotonic_ns();
	int status = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		become(uid);
		/* a line does not fit into an exit code: it was said */
		_exit(attempt() ? 1 : 0);
	}
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	judge(what, WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), from_ns,
	      before);
}

void attack(const char *what, int (*attempt)(void))
{
	attack_as(EVIL, what, attempt);
}

void attack_check(const char *what, int (*check)(void))
{
	uint64_t before = bus_load_acquire(&attack_view->got);
	uint64_t from_ns = bus_monotonic_ns();

	judge(what, check(), from_ns, before);
}

int attack_close(void)
{
	int rc;

	kill(publisher, SIGKILL);
	kill(subscriber, SIGKILL);
	waitpid(publisher, NULL, 0);
	waitpid(subscriber, NULL, 0);
	rc = proto_busd_stop(&attack_busd);
	if (rc != 0) {
		printf("FAIL  busd ended with %d\n", rc);
		failures++;
	}
	printf("%u attacks, %u not held; %llu good messages, the longest pause between two %.0f ms; %.1f s\n",
	       attacks, failures, (unsigned long long)bus_load_acquire(&attack_view->got),
	       (double)bus_load_acquire(&attack_view->longest_ns) / 1e6,
	       (double)(bus_monotonic_ns() - began_ns) / 1e9);
	return failures != 0;
}

/* ---- what attackers need */

int attack_subscribe(struct proto_client *client, struct proto_sub *sub, struct attack_loot *loot)
{
	struct proto_msg msg;
	bool found = false;
	int rc;

	memset(loot, 0, sizeof(*loot));
	rc = proto_sub_open(client, PIT, 0, CTL_START_NOW, true, sub);
	while (rc == 0 && proto_take(client->ev, &msg, found ? 50 : 2000) == 1) {
		if (msg.head.type == CTL_EV_SEGMENT && msg.fd_count == 1 &&
		    loot->segment_count < BUS_ARRAY_LEN(loot->segments))
			loot->segments[loot->segment_count++] = msg;
		else
			proto_close_fds(&msg);
		if (msg.head.type == CTL_EV_RING && msg.ring.uid == GOOD_PUBLISHER) {
			loot->ring = msg.ring;
			found = true;
		}
	}
	return rc < 0 ? rc : found ? 0 : -ENOENT;
}

void attack_drop_loot(struct attack_loot *loot)
{
	while (loot->segment_count > 0)
		proto_close_fds(&loot->segments[--loot->segment_count]);
}

static unsigned files_of(pid_t pid)
{
	char path[64];
	unsigned count = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

unsigned attack_busd_files(void)
{
	unsigned count = files_of(attack_busd.pid);
	char path[64];
	FILE *children;
	int pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)attack_busd.pid,
		 (int)attack_busd.pid);
	children = fopen(path, "re");
	while (children && fscanf(children, "%d", &pid) == 1)
		count += files_of(pid);
	if (children)
		fclose(children);
	return count;
}

int attack_info(struct ctl_info_reply *ret)
{
	struct ctl_head ask = PROTO_HEAD(CTL_INFO, sizeof(ask));
	struct proto_client client;
	struct proto_msg answer;
	int rc = proto_greet(&client, attack_busd.path, "root", true);

	if (rc == 0)
		rc = proto_ask(&client, &ask, &answer);
	if (rc == 0)
		*ret = answer.info;
	proto_leave(&client);
	return rc;
}

int attack_join_the_good(struct proto_client *client, struct proto_sub *sub,
			 struct attack_loot *loot, const struct ring_writer_page **page)
{
	unsigned i;

	HOLDS(proto_greet(client, attack_busd.path, "evil reader", true) == 0);
	HOLDS(attack_subscribe(client, sub, loot) == 0);
	for (i = 0; i < loot->segment_count; i++)
		if (loot->segments[i].segment.kind == CTL_SEG_RING &&
		    loot->segments[i].segment.segment_id == loot->ring.segment_id)
			*page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, loot->segments[i].fds[0], 0);
	HOLDS(*page && *page != MAP_FAILED);
	bus_store_release(&sub->cursors->entry[loot->ring.entry].cursor,
			  bus_load_acquire(&(*page)->head));
	bus_store_release(&sub->cursors->entry[loot->ring.entry].ring_id, loot->ring.ring_id);
	HOLDS(proto_sub_join(client, sub) == 0);
	return 0;
}

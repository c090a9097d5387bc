/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exhaustion.c - the Nth malloc, mmap, memfd_create, fallocate, socket, ... fails, for N = 1, 2, ...
 * until no such call is left: in busd while it starts, in busd while it serves, in libbus. Each
 * failure is an error of the call that needed it (or is survived), never a crash, never a wait; the
 * next try works; at the end neither side has a byte or a descriptor more than before. The same
 * with fewer and fewer descriptors (RLIMIT_NOFILE).
 *
 * exhaustion [full]: by default N goes up by one to 40, then by growing steps; full: every N, and
 * failures that last.
 *
 * timeout: 120
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bus.h>
#include <bus_stat.h>

#include "base/clock.h"
#include "lib/preload/fail_nth.h"
#include "lib/proto_rig.h"

#define SLOW_S 12 /* what takes longer hangs */

static const char *const kind_names[FAIL_KINDS] = {
	[FAIL_MALLOC] = "malloc",
	[FAIL_MMAP] = "mmap",
	[FAIL_MEMFD] = "memfd_create",
	[FAIL_FALLOCATE] = "fallocate",
	[FAIL_SOCKET] = "socket",
	[FAIL_ACCEPT] = "accept",
	[FAIL_DESCRIPTOR] = "descriptor",
	[FAIL_EPOLL] = "epoll_ctl",
	[FAIL_OPEN] = "open",
	[FAIL_SEND] = "sendmsg",
	[FAIL_THREAD] = "pthread_create",
};

static struct proto_busd busd;
static struct fail_control *in_busd, *in_us;
static bool full;
static bool lasting; /* what fails goes on failing: then the deadline of a call is an answer too */
static unsigned failures, injected;
static char doing[128];
static const char *step; /* of the scenario */

static void hangs(int sig)
{
	static const char text[] = "HANGS: ";

	(void)sig;
	(void)!write(2, text, sizeof(text) - 1);
	(void)!write(2, doing, strlen(doing));
	(void)!write(2, " at ", 4);
	(void)!write(2, step ? step : "?", step ? strlen(step) : 1);
	(void)!write(2, "\n", 1);
	kill(busd.pid, SIGKILL);
	_exit(1);
}

static void bad(const char *what, int rc)
{
	printf("FAILED: %s: %s at %s: %s (%s)\n", doing, what, step ? step : "start", strerror(-rc),
	       bus_why(NULL));
	failures++;
}

static struct fail_control *map_control(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *map;

	if (fd < 0 || ftruncate(fd, sizeof(struct fail_control)) < 0)
		return NULL;
	map = mmap(NULL, sizeof(struct fail_control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return map == MAP_FAILED ? NULL : map;
}

static void arm(struct fail_control *control, enum fail_kind kind, long n, unsigned burst)
{
	atomic_store(&control->kind, FAIL_NOTHING);
	atomic_store(&control->failed, 0);
	atomic_store(&control->countdown, n);
	atomic_store(&control->burst, burst);
	atomic_store(&control->kind, (int)kind);
}

/* How many calls it made fail. */
static unsigned disarm(struct fail_control *control)
{
	atomic_store(&control->kind, FAIL_NOTHING);
	return atomic_load(&control->failed);
}

/* ---- what is tried: all that a program does with the bus */

struct things {
	struct bus *one, *two;
	struct bus_pub *pub, *wide;
	struct bus_sub *sub, *wild;
	struct bus_stat *stat;
};

#define TRY(name, call) \
	do { \
		step = (name); \
		rc = (call); \
		if (rc < 0) \
			return rc; \
	} while (0)

/*
 * A subscription is not told that busd gave its connection up (guarantees.md); the next thing that
 * busd is asked says it.
 */
static int ask_busd(struct bus *bus)
{
	struct bus_topic_info info = { .name = "" };
	int rc = bus_topic_next(bus, "ex.a", &info);

	return rc < 0 && rc != -ENOENT ? rc : -ETIMEDOUT;
}

static int take_one(struct bus *bus, struct bus_sub *sub, uint32_t len)
{
	struct bus_msg msg;
	int rc;

	for (;;) {
		rc = bus_sub_wait(sub, 1500000000);
		if (rc <= 0)
			return rc < 0 ? rc : ask_busd(bus);
		rc = bus_sub_peek(sub, &msg, 1);
		if (rc < 0)
			return rc;
		if (rc == 0)
			continue;
		rc = msg.len == len ? bus_sub_release(sub, 1) : -EBADMSG;
		return rc;
	}
}

static int use(struct things *t)
{
	static char large[200000];
	const struct bus_stat_topic *topics;
	struct bus_stat_daemon daemon;
	uint64_t now_ns;
	int rc;

	TRY("connecting",
	    bus_connect(&t->one, BUS_OPTS(connect, .name = "one",
					  .timeout_ns = lasting ? 300000000 : 5000000000)));
	TRY("connecting again",
	    bus_connect(&t->two, BUS_OPTS(connect, .name = "two",
					  .timeout_ns = lasting ? 300000000 : 5000000000)));
	TRY("creating", bus_topic_create(t->one, "ex.a", NULL));
	TRY("subscribing", bus_sub_open(&t->sub, t->one, "ex.a", NULL));
	TRY("publishing", bus_pub_open(&t->pub, t->two, "ex.a", NULL));
	TRY("subscribing to a pattern",
	    bus_sub_open(&t->wild, t->two, "ex.>",
			 BUS_OPTS(sub, .policy = BUS_LOSSY, .flags = BUS_SUB_FD_THREAD)));
	TRY("sending", bus_pub_send(t->pub, "hello", 5));
	TRY("receiving", take_one(t->one, t->sub, 5));
	TRY("receiving by the pattern", take_one(t->two, t->wild, 5));
	TRY("growing", bus_pub_send(t->pub, large, sizeof(large)));
	TRY("receiving what is large", take_one(t->one, t->sub, sizeof(large)));
	TRY("a descriptor for epoll", bus_sub_fd(t->sub));
	TRY("another descriptor for epoll", bus_sub_fd(t->wild));
	/* so large that busd has a thread touch it */
	TRY("publishing on a large ring",
	    bus_pub_open(&t->wide, t->two, "ex.a", BUS_OPTS(pub, .bytes = 5 << 20)));
	TRY("observing", bus_stat_open(&t->stat, t->one, "ex.>"));
	TRY("looking", bus_stat_refresh(t->stat, &topics, &now_ns));
	TRY("asking", bus_stat_daemon(t->one, &daemon));
	return 0;
}

static int scenario(void)
{
	struct things t;
	int rc;

	memset(&t, 0, sizeof(t));
	alarm(SLOW_S);
	rc = use(&t);
	/* closing cannot fail, whatever is short */
	if (t.stat)
		bus_stat_close(t.stat);
	bus_sub_close(t.sub);
	bus_sub_close(t.wild);
	bus_pub_close(t.pub);
	bus_pub_close(t.wide);
	bus_close(t.one);
	bus_close(t.two);
	alarm(0);
	return rc;
}

/* What the scenario leaves behind on purpose, and only where it got so far. */
static int remove_topic(void)
{
	struct bus *bus;
	int rc;

	step = "removing";
	alarm(SLOW_S);
	rc = bus_connect(&bus, BUS_OPTS(connect, .timeout_ns = lasting ? 300000000 : 5000000000));
	if (rc == 0) {
		rc = bus_topic_remove(bus, "ex.a", BUS_TOPIC_FORCE);
		bus_close(bus);
	}
	alarm(0);
	return rc == -ENOENT ? 0 : rc;
}

/* busd's worker; 0: there is none at the moment */
static pid_t worker_of(pid_t keeper)
{
	char path[64];
	int pid = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)keeper, (int)keeper);
	file = fopen(path, "re");
	if (file && fscanf(file, "%d", &pid) != 1)
		pid = 0;
	if (file)
		fclose(file);
	return pid;
}

/* Keeper and worker, and it is the worker of the beginning. */
static bool busd_lives(void)
{
	static pid_t worker;
	int status;

	if (waitpid(busd.pid, &status, WNOHANG) == 0) {
		pid_t now = worker_of(busd.pid);

		if (worker && now != worker) {
			printf("FAILED: %s: busd's worker ended\n", doing);
			failures++;
		}
		worker = now;
		return true;
	}
	printf("FAILED: %s: busd ended by %s %d\n", doing, WIFSIGNALED(status) ? "signal" : "code",
	       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	failures++;
	exit(1);
}

/* Of a failure that is said, and not of a wait that ended. */
static bool is_said(int rc)
{
	return rc == -ENOMEM || rc == -EDQUOT || rc == -EMFILE || rc == -ENOSPC || rc == -ENOBUFS ||
	       rc == -EAGAIN || rc == -EPIPE || rc == -ECONNRESET || rc == -ENOTCONN ||
	       rc == -ESHUTDOWN || rc == -ENOENT || (lasting && rc == -ETIMEDOUT);
}

/* One N. false: there is no Nth call any more. */
static bool try_one(struct fail_control *control, enum fail_kind kind, long n, unsigned burst)
{
	const char *where = control == in_busd ? "busd" : "libbus";
	unsigned fired;
	int rc;

	snprintf(doing, sizeof(doing), "%s: %s number %ld%s fails", where, kind_names[kind], n,
		 burst > 1 ? " and those after it" : "");
	arm(control, kind, n, burst);
	lasting = burst > 1;
	rc = scenario();
	fired = disarm(control);
	injected += fired;
	busd_lives();
	if (rc < 0 && fired == 0)
		bad("it failed without cause", rc);
	else if (rc < 0 && !is_said(rc))
		bad("an error that does not say it", rc);
	lasting = false;
	rc = remove_topic();
	if (rc < 0)
		bad("afterwards", rc);
	rc = scenario();
	if (rc < 0)
		bad("the next try", rc);
	rc = remove_topic();
	if (rc < 0)
		bad("at the end", rc);
	busd_lives();
	return fired > 0;
}

static long next_n(long n)
{
	if (full || n < 40)
		return n + 1;
	return n + n / 15;
}

/* ---- nothing may stay */

static unsigned count_dir(const char *path)
{
	DIR *dir = opendir(path);
	unsigned count = 0;

	while (dir && readdir(dir))
		count++;
	if (dir)
		closedir(dir);
	return count;
}

static unsigned count_maps(void)
{
	FILE *file = fopen("/proc/self/maps", "re");
	unsigned count = 0;
	char line[512];

	while (file && fgets(line, sizeof(line), file))
		count += strstr(line, "memfd:") != NULL;
	if (file)
		fclose(file);
	return count;
}

struct remains {
	unsigned own_files, own_maps, busd_files;
	uint64_t memory, clients, topics, rings, subscriptions;
};

static void look(struct remains *ret)
{
	struct ctl_head ask = PROTO_HEAD(CTL_INFO, sizeof(ask));
	struct proto_client client;
	struct proto_msg msg;
	char path[64];

	memset(ret, 0, sizeof(*ret));
	/* what closed a moment ago is noticed soon */
	for (int i = 0; i < 200; i++) {
		if (proto_greet(&client, busd.path, "look", true) < 0 ||
		    proto_ask(&client, &ask, &msg) < 0)
			return;
		proto_leave(&client);
		if (msg.info.clients == 1 && msg.info.topics == 0 && msg.info.rings == 0)
			break;
		usleep(10000);
	}
	ret->memory = msg.info.memory_bytes;
	ret->clients = msg.info.clients;
	ret->topics = msg.info.topics;
	ret->rings = msg.info.rings;
	ret->subscriptions = msg.info.subscriptions;
	ret->own_files = count_dir("/proc/self/fd");
	ret->own_maps = count_maps();
	usleep(50000);
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)busd.pid);
	ret->busd_files = count_dir(path);
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)worker_of(busd.pid));
	ret->busd_files += count_dir(path);
}

static void compare(const struct remains *before)
{
	struct remains now;

	/* what is given back beside the loop, or by the keeper, comes when the machine has time */
	for (int i = 0; i < 100; i++) {
		look(&now);
		if (memcmp(&now, before, sizeof(now)) == 0)
			return;
	}
	printf("FAILED: %s: what stays: descriptors here %u, were %u; mappings %u, were %u; busd's descriptors %u, "
	       "were %u; memory %llu, was %llu; %llu clients, %llu topics, %llu rings, %llu subscriptions\n",
	       doing, now.own_files, before->own_files, now.own_maps, before->own_maps,
	       now.busd_files, before->busd_files, (unsigned long long)now.memory,
	       (unsigned long long)before->memory, (unsigned long long)now.clients,
	       (unsigned long long)now.topics, (unsigned long long)now.rings,
	       (unsigned long long)now.subscriptions);
	failures++;
	*(struct remains *)(uintptr_t)before = now;
}

static void every_call(struct fail_control *control, struct remains *before)
{
	for (int kind = FAIL_MALLOC; kind < FAIL_KINDS; kind++) {
		uint64_t from_ns = bus_monotonic_ns();
		unsigned was = injected;
		long n = 1;

		while (try_one(control, (enum fail_kind)kind, n, 1) && failures < 20)
			n = next_n(n);
		if (full)
			for (long m = 1; m < n && failures < 20; m += 1 + m / 10)
				try_one(control, (enum fail_kind)kind, m, 1000000);
		compare(before);
		printf("%-7s %-15s %4u failures, %6.1f s\n", control == in_busd ? "busd" : "libbus",
		       kind_names[kind], injected - was,
		       (double)(bus_monotonic_ns() - from_ns) / 1e9);
		fflush(stdout);
	}
}

/* ---- starting */

static int start_busd(const char *control)
{
	char path[4096];
	int rc;

	snprintf(path, sizeof(path), "%s", getenv("FAIL_NTH_CONTROL"));
	setenv("FAIL_NTH_CONTROL", control, 1);
	rc = proto_busd_start(&busd,
			      "log_level: error\nsocket_mode: 0666\n"
			      "rules:\n- topics: a.>\n  allow: {publish: [\"*\"]}\n"
			      "namespaces:\n- {name: ex, topics: 5, rings: 50}\n",
			      0);
	setenv("FAIL_NTH_CONTROL", path, 1);
	return rc;
}

static void remove_dir(const char *dir)
{
	char command[320];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	if (system(command) != 0)
		failures++;
}

/* It ended with code 1 (or 2) and has said why. */
static void ended_in_words(unsigned fired)
{
	int status = 0;

	for (int i = 0; i < 500 && waitpid(busd.pid, &status, WNOHANG) == 0; i++)
		usleep(10000);
	if (!WIFEXITED(status) || WEXITSTATUS(status) == 0 || fired == 0)
		bad("it started, and neither serves nor ends", 0);
	else if (!proto_busd_logged(&busd, " "))
		bad("it ends without a word", 0);
	remove_dir(busd.dir);
}

/* false: it starts and there is no Nth call. */
static bool start_one(const char *control, enum fail_kind kind, long n)
{
	unsigned fired;
	int rc;

	step = "start";
	snprintf(doing, sizeof(doing), "busd starts: %s number %ld fails", kind_names[kind], n);
	alarm(SLOW_S);
	arm(in_busd, kind, n, 1);
	rc = start_busd(control);
	fired = disarm(in_busd);
	injected += fired;
	setenv("BUS_SOCKET", busd.path, 1);
	if (rc < 0) {
		/* it ended: with a sentence */
		if (rc != -ECHILD || fired == 0)
			bad("it does not start", rc);
		else if (!proto_busd_logged(&busd, " "))
			bad("it ends without a word", rc);
		remove_dir(busd.dir);
	} else {
		/* it listens before it serves */
		rc = scenario();
		if (rc < 0)
			ended_in_words(fired);
		else if (proto_busd_stop(&busd) != 0)
			bad("it started, and does not leave in order", 0);
	}
	alarm(0);
	return fired > 0;
}

static void every_start(const char *control)
{
	for (int kind = FAIL_MALLOC; kind < FAIL_KINDS; kind++) {
		uint64_t from_ns = bus_monotonic_ns();
		unsigned was = injected;
		long n = 1;

		while (start_one(control, (enum fail_kind)kind, n) && failures < 20)
			n = full ? n + 1 : n + 1 + n / 6;
		printf("%-7s %-15s %4u failures, %6.1f s\n", "start", kind_names[kind],
		       injected - was, (double)(bus_monotonic_ns() - from_ns) / 1e9);
		fflush(stdout);
	}
}

/* ---- fewer and fewer descriptors */

static void fewer_files(pid_t pid, rlim_t from, const char *who, struct remains *before)
{
	unsigned said = 0, worked = 0;
	struct rlimit all;

	prlimit(pid, RLIMIT_NOFILE, NULL, &all);
	for (rlim_t n = from; n < 90; n += full || n < from + 10 ? 1 : 5) {
		struct rlimit few = { n, all.rlim_max };
		int rc;

		snprintf(doing, sizeof(doing), "%s has %u descriptors", who, (unsigned)n);
		prlimit(pid, RLIMIT_NOFILE, &few, NULL);
		rc = scenario();
		prlimit(pid, RLIMIT_NOFILE, &all, NULL);
		said += rc < 0;
		worked += rc == 0;
		if (rc < 0 && !is_said(rc))
			bad("an error that does not say it", rc);
		busd_lives();
		rc = remove_topic();
		if (rc == 0)
			rc = scenario();
		if (rc == 0)
			rc = remove_topic();
		if (rc < 0)
			bad("with all descriptors again", rc);
	}
	if (said < 3 || worked < 3)
		bad("the limits that were tried show nothing", 0);
	compare(before);
	printf("%-7s RLIMIT_NOFILE   %4u failures, %u times it was enough\n", who, said, worked);
}

/* Once more, with the library in front. */
static int run_preloaded(char **argv, const char *dir)
{
	const char *build = getenv("BUS_BUILD");
	char library[4096], control[512];

	snprintf(library, sizeof(library), "%s/tests/fail_nth.so", build ? build : "build");
	snprintf(control, sizeof(control), "%s/us", dir);
	if (access(library, R_OK) < 0) {
		fprintf(stderr, "%s is missing\n", library);
		return 1;
	}
	if (!map_control(control))
		return 1;
	setenv("LD_PRELOAD", library, 1);
	setenv("FAIL_NTH_CONTROL", control, 1);
	execv("/proc/self/exe", argv);
	return 1;
}

int main(int argc, char **argv)
{
	const char *san = getenv("BUS_SAN"), *tmp = getenv("TMPDIR");
	char dir[256], busd_control[512];
	const char *own = getenv("FAIL_NTH_CONTROL");
	struct remains before;

	full = argc > 1 && strcmp(argv[1], "full") == 0;
	if (san && *san) {
		puts("not under a sanitizer, which has a malloc of its own");
		return 77;
	}
	if (!own) {
		snprintf(dir, sizeof(dir), "%s/exhaustion.XXXXXX", tmp ? tmp : "/tmp");
		return mkdtemp(dir) ? run_preloaded(argv, dir) : 1;
	}
	snprintf(dir, sizeof(dir), "%s", own);
	*strrchr(dir, '/') = 0;
	snprintf(busd_control, sizeof(busd_control), "%s/busd", dir);
	in_us = map_control(own);
	in_busd = map_control(busd_control);
	if (!in_us || !in_busd)
		return 1;
	signal(SIGALRM, hangs);
	setenv("BUS_AUTOSTART", "0", 1);
	/* proto_busd_start() makes the path anew each time */
	if (start_busd(busd_control) < 0)
		return 1;
	setenv("BUS_SOCKET", busd.path, 1);
	snprintf(doing, sizeof(doing), "at first");
	for (int i = 0; i < 3; i++) {
		int rc = scenario();

		if (rc < 0 || remove_topic() < 0) {
			bad("the scenario does not run at all", rc);
			return 1;
		}
	}
	look(&before);
	every_call(in_busd, &before);
	every_call(in_us, &before);
	/* with less busd has not even its reserve, from which it says so */
	fewer_files(worker_of(busd.pid), 10, "busd", &before);
	fewer_files(getpid(), 3, "libbus", &before);
	if (proto_busd_stop(&busd) != 0)
		bad("busd does not leave in order", 0);
	every_start(busd_control);
	remove_dir(dir);
	printf("%u calls failed, %u things wrong\n", injected, failures);
	return failures != 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attach.c - a process is killed at the n-th instruction of connecting, opening or closing, for n
 * spread over the whole path. Each time busd must have let go of everything (clients, topics, rings,
 * subscriptions, memory, descriptors as before), and another pair must work.
 *
 * The path is walked once instruction by instruction, to know its length and where its system calls
 * are. A victim is then run from system call to system call up to the last one before its point,
 * and from there by single instructions.
 */
#include "step/step.h"

#include <bus_stat.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#define CALLS_MAX 1000 /* system calls of one path */

enum path { PATH_CONNECT, PATH_PUB_OPEN, PATH_PUB_CLOSE, PATH_SUB_OPEN, PATH_SUB_CLOSE, PATHS };
static const char *const path_names[PATHS] = { "bus_connect", "bus_pub_open", "bus_pub_close",
					       "bus_sub_open", "bus_sub_close" };

struct profile {
	uint64_t length;        /* instructions */
	uint64_t at[CALLS_MAX]; /* instructions that were done when the system call had returned */
	uint32_t calls;
};

/* What busd has, in numbers. */
struct holdings {
	uint64_t clients, topics, rings, subscriptions, memory, descriptors;
};

static struct bus *own;
static struct bus_pub *own_pub;
static struct bus_sub *own_sub;

/* ---- what the victim does ---- */

static void walk(enum path path, struct bus **bus, struct bus_pub **pub, struct bus_sub **sub)
{
	switch (path) {
	case PATH_CONNECT:
		OK(bus_connect(bus, BUS_OPTS(connect, .name = "victim")));
		break;
	case PATH_PUB_OPEN:
		OK(bus_pub_open(pub, *bus, "step.a", BUS_OPTS(pub, .slots = 16, .bytes = 4096)));
		break;
	case PATH_PUB_CLOSE:
		bus_pub_close(*pub);
		break;
	case PATH_SUB_OPEN:
		OK(bus_sub_open(sub, *bus, "step.*", NULL));
		break;
	default:
		bus_sub_close(*sub);
	}
}

static void victim_walks(void *arg)
{
	enum path path = *(const enum path *)arg;
	struct bus *bus = NULL;
	struct bus_pub *pub = NULL;
	struct bus_sub *sub = NULL;

	if (path != PATH_CONNECT)
		walk(PATH_CONNECT, &bus, &pub, &sub);
	if (path == PATH_PUB_CLOSE)
		walk(PATH_PUB_OPEN, &bus, &pub, &sub);
	if (path == PATH_SUB_CLOSE)
		walk(PATH_SUB_OPEN, &bus, &pub, &sub);
	step_begin();
	walk(path, &bus, &pub, &sub);
	step_end();
	bus_close(bus);
}

static void measure(enum path path, struct profile *p)
{
	struct victim v;
	bool in_call = false;

	memset(p, 0, sizeof(*p));
	victim_start(&v, victim_walks, &path);
	while (victim_step_profile(&v)) {
		p->length++;
		if (in_call && p->calls < CALLS_MAX)
			p->at[p->calls++] = p->length;
		in_call = v.syscall;
	}
	victim_finish(&v);
}

/* ---- what busd holds ---- */

static uint64_t descriptors_of(pid_t pid)
{
	char path[64];
	struct dirent *e;
	uint64_t n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	d = opendir(path);
	if (d == NULL)
		return 0;
	while ((e = readdir(d)) != NULL)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

/* Of busd and, where it has one, of its worker. */
static uint64_t descriptors(void)
{
	uint64_t n = descriptors_of(rig_busd_pid());
	char path[64];
	FILE *f;
	int pid;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)rig_busd_pid(),
		 (int)rig_busd_pid());
	f = fopen(path, "r");
	while (f != NULL && fscanf(f, "%d", &pid) == 1)
		n += descriptors_of(pid);
	if (f != NULL)
		fclose(f);
	return n;
}

static struct holdings holdings(void)
{
	struct bus_topic_info info = { .name = "" };
	struct holdings h = { .descriptors = descriptors() };
	struct bus_stat_daemon d;

	EQUAL(bus_sub_wait(own_sub, 0), 0); /* the victim's ring, once it is closed, is let go */
	OK(bus_stat_daemon(own, &d));
	h.clients = d.clients;
	h.topics = d.topics;
	h.rings = d.rings;
	h.subscriptions = d.subscriptions;
	while (OK(bus_topic_next(own, NULL, &info)) == 1)
		h.memory += info.memory_bytes;
	return h;
}

/* Once those who came and went before are gone: no change for a while. */
static struct holdings settled_holdings(void)
{
	struct holdings h = holdings(), next;

	for (int same = 0; same < 50; same++) {
		rig_sleep_ms(2);
		next = holdings();
		if (memcmp(&h, &next, sizeof(h)) != 0)
			same = -1;
		h = next;
	}
	return h;
}

static void check_released(const struct holdings *want, enum path path, uint64_t n)
{
	uint64_t until = rig_now_ns() + 5000000000u;
	struct holdings h;

	for (;;) {
		h = holdings();
		if (memcmp(&h, want, sizeof(h)) == 0)
			return;
		if (rig_now_ns() >= until)
			break;
		rig_sleep_ms(1);
	}
	step_wrong("%s, instruction %llu: busd holds %llu clients, %llu topics, %llu rings, %llu "
		   "subscriptions, %llu bytes, %llu descriptors; before %llu %llu %llu %llu %llu %llu",
		   path_names[path], (unsigned long long)n, (unsigned long long)h.clients,
		   (unsigned long long)h.topics, (unsigned long long)h.rings,
		   (unsigned long long)h.subscriptions, (unsigned long long)h.memory,
		   (unsigned long long)h.descriptors, (unsigned long long)want->clients,
		   (unsigned long long)want->topics, (unsigned long long)want->rings,
		   (unsigned long long)want->subscriptions, (unsigned long long)want->memory,
		   (unsigned long long)want->descriptors);
}

/* Those who were attached to the victim's topic before it came go on. */
static void check_others(enum path path, uint64_t n)
{
	struct bus_msg m;

	for (uint64_t i = 0; i < 20; i++) {
		OK(bus_pub_send(own_pub, &i, sizeof(i)));
		rig_next(own_sub, &m);
		if (m.len != sizeof(i) || memcmp(m.data, &i, sizeof(i)) != 0 || m.lost != 0)
			step_wrong("%s, instruction %llu: the others' message %llu did not come",
				   path_names[path], (unsigned long long)n, (unsigned long long)i);
		OK(bus_sub_release(own_sub, 1));
	}
}

/* Another pair comes and goes. */
static void check_newcomers(enum path path, uint64_t n)
{
	struct bus *bus = rig_connect("newcomer");
	struct bus_pub *pub;
	struct bus_sub *sub;
	struct bus_msg m;

	OK(bus_sub_open(&sub, bus, "step.n", NULL));
	OK(bus_pub_open(&pub, bus, "step.n", BUS_OPTS(pub, .slots = 16, .bytes = 4096)));
	OK(bus_pub_send(pub, &n, sizeof(n)));
	rig_next(sub, &m);
	if (m.len != sizeof(n) || memcmp(m.data, &n, sizeof(n)) != 0)
		step_wrong("%s, instruction %llu: a new pair does not work", path_names[path],
			   (unsigned long long)n);
	OK(bus_sub_release(sub, 1));
	bus_close(bus);
}

/* ---- death ---- */

static void die_at(enum path path, const struct profile *p, uint64_t n)
{
	struct victim v;
	uint32_t calls = 0;
	uint64_t left = n;

	while (calls < p->calls && p->at[calls] <= n)
		left = n - p->at[calls++];
	victim_start(&v, victim_walks, &path);
	for (uint32_t i = 0; i < calls && victim_syscall(&v); i++)
		;
	for (uint64_t i = 0; i < left && victim_step(&v); i++)
		;
	victim_kill(&v);
}

static void one_path(enum path path, uint64_t points)
{
	uint64_t wrong = step_counts.wrong;
	struct holdings before;
	static struct profile p;

	measure(path, &p);
	check_newcomers(path, 0);
	before = settled_holdings();
	for (uint64_t i = 0; i < points && step_counts.wrong == wrong; i++) {
		uint64_t n = p.length * i / points;

		die_at(path, &p, n);
		check_others(path, n);
		check_newcomers(path, n);
		check_released(&before, path, n);
	}
	printf("  %-14s %llu instructions, %u system calls, killed at %llu of them\n",
	       path_names[path], (unsigned long long)p.length, p.calls, (unsigned long long)points);
}

void step_attach(bool full)
{
	own = rig_connect("other");
	OK(bus_sub_open(&own_sub, own, "step.a", NULL));
	OK(bus_pub_open(&own_pub, own, "step.a", BUS_OPTS(pub, .slots = 16, .bytes = 4096)));
	for (enum path path = 0; path < PATHS; path++)
		one_path(path, full ? 500 : 60);
	bus_close(own);
}

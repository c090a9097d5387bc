/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: all of a ring's memory is there when bus_pub_open() returns (the file's blocks, and mincore()
 * on the publisher's own mapping), so nobody can get SIGBUS later; it has the NUMA policy that the
 * topic asks for; where bus_stat says it is, move_pages() finds it; an absent node is refused by a
 * sentence that names those that there are.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bus_stat.h>

#include "lib/bus_rig.h"

/* From the kernel's mempolicy.h, which is not where its library's header is. */
#define POLICY_PREFERRED  1
#define POLICY_INTERLEAVE 3
#define POLICY_OF_ADDRESS 2ul
#define NODES_MOST        1024

#define RING_BYTES (1u << 20)
#define RING_SLOTS 256u

static struct bus *bus;
static size_t page;
static int nodes[64];
static unsigned node_count;

/* "0-1,4" */
static void read_nodes(void)
{
	char text[256] = "0", *at = text;
	FILE *f = fopen("/sys/devices/system/node/has_memory", "r");

	if (f != NULL) {
		CHECK(fgets(text, sizeof(text), f) != NULL);
		fclose(f);
	}
	while (*at >= '0' && *at <= '9') {
		long from = strtol(at, &at, 10), to = from;

		if (*at == '-')
			to = strtol(at + 1, &at, 10);
		for (; from <= to && node_count < 64; from++)
			nodes[node_count++] = (int)from;
		at += *at == ',';
	}
	CHECK(node_count > 0);
}

/* The part of a ring that this process has mapped to write, from its beginning. */
struct mapping {
	uint8_t *addr;
	size_t size;
};

static bool find_ring(struct mapping *ret)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long begin, end, offset, inode = 0, of = 0;
	char rights[8], name[64], line[512];

	CHECK(f != NULL);
	*ret = (struct mapping){ NULL, 0 };
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "%lx-%lx %7s %lx %*s %lu %63s", &begin, &end, rights, &offset,
			   &inode, name) != 6 ||
		    strncmp(name, "/memfd:busd.", 12) != 0 || !strstr(name, ".ring.") ||
		    strncmp(rights, "rw", 2) != 0)
			continue;
		if (ret->addr == NULL && offset == 0) {
			ret->addr = (uint8_t *)begin;
			of = inode;
		}
		/* the payload once more behind the end is the same pages again */
		if (inode == of && ret->addr != NULL && offset == ret->size)
			ret->size += end - begin;
	}
	fclose(f);
	return ret->addr != NULL;
}

/* The worker: its keeper has the same files, a moment later. */
static int worker_pid(void)
{
	int keeper = (int)rig_busd_pid(), pid = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", keeper, keeper);
	f = fopen(path, "re");
	CHECK(f != NULL && fscanf(f, "%d", &pid) == 1);
	fclose(f);
	return pid;
}

/* busd's memory files of a kind: each allocated to its last byte. How many there are. */
static unsigned check_blocks(const char *kind)
{
	char path[400], dir[64], target[128], wanted[64];
	struct dirent *e;
	unsigned count = 0;
	DIR *d;

	snprintf(dir, sizeof(dir), "/proc/%d/fd", worker_pid());
	snprintf(wanted, sizeof(wanted), "/memfd:busd.%d.%s.", (int)rig_busd_pid(), kind);
	d = opendir(dir);
	CHECK(d != NULL);
	while ((e = readdir(d)) != NULL) {
		struct stat st;
		ssize_t len;

		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		len = readlink(path, target, sizeof(target) - 1);
		if (len < 0)
			continue;
		target[len] = '\0';
		if (strncmp(target, wanted, strlen(wanted)) != 0)
			continue;
		CHECK(stat(path, &st) == 0);
		EQUAL((long long)st.st_blocks * 512, st.st_size);
		count++;
	}
	closedir(d);
	return count;
}

static void check_resident(const struct mapping *map)
{
	size_t count = map->size / page;
	unsigned char *resident = calloc(count, 1);
	size_t there = 0;

	CHECK(resident != NULL);
	CHECK(mincore(map->addr, map->size, resident) == 0);
	for (size_t i = 0; i < count; i++)
		there += resident[i] & 1;
	EQUAL(there, count);
	free(resident);
}

/* Pages on each node, as the kernel says of our own mapping. */
static void count_pages(const struct mapping *map, unsigned *on)
{
	size_t count = map->size / page;
	void **pages = calloc(count, sizeof(*pages));
	int *status = calloc(count, sizeof(*status));

	CHECK(pages != NULL && status != NULL);
	for (size_t i = 0; i < count; i++) {
		pages[i] = map->addr + i * page;
		(void)*(volatile uint8_t *)pages[i]; /* into our page table, or it is not found */
	}
	if (syscall(SYS_move_pages, 0, count, pages, NULL, status, 0) < 0) {
		printf("move_pages: %s: where pages are cannot be seen here\n", strerror(errno));
		rig_busd_stop();
		rig_exit(77);
	}
	for (size_t i = 0; i < count; i++) {
		CHECK(status[i] >= 0 && status[i] < NODES_MOST);
		on[status[i]]++;
	}
	free(pages);
	free(status);
}

static const struct bus_stat_pub *publisher(struct bus_stat *stat, const char *topic)
{
	const struct bus_stat_topic *topics;
	uint64_t now;
	int n = OK(bus_stat_refresh(stat, &topics, &now));

	for (int i = 0; i < n; i++)
		if (strcmp(topics[i].name, topic) == 0 && topics[i].publisher_count == 1)
			return &topics[i].publishers[0];
	CHECK(!"the topic has a publisher");
	return NULL;
}

static void check_reported(const char *topic, const struct mapping *map)
{
	const struct bus_stat_pub *pub;
	struct bus_stat *stat;
	unsigned on[NODES_MOST] = { 0 };

	count_pages(map, on);
	OK(bus_stat_open(&stat, bus, NULL));
	pub = publisher(stat, topic);
	EQUAL((size_t)pub->page_kib * 1024, page);
	for (int i = 0; i < BUS_STAT_NODES - 1; i++)
		EQUAL(pub->node_pages[i], on[i]);
	bus_stat_close(stat);
}

static void check_policy(const struct mapping *map, int32_t numa)
{
	unsigned long mask[NODES_MOST / (8 * sizeof(unsigned long))] = { 0 };
	int mode = -1;

	if (syscall(SYS_get_mempolicy, &mode, mask, (unsigned long)NODES_MOST, map->addr,
		    POLICY_OF_ADDRESS) < 0) {
		printf("get_mempolicy: %s: policies cannot be seen here\n", strerror(errno));
		rig_busd_stop();
		rig_exit(77);
	}
	EQUAL(mode, numa == BUS_NUMA_INTERLEAVE ? POLICY_INTERLEAVE : POLICY_PREFERRED);
	if (numa == BUS_NUMA_INTERLEAVE) {
		for (unsigned i = 0; i < node_count; i++)
			CHECK(mask[nodes[i] / 64] >> nodes[i] % 64 & 1);
	} else if (numa > 0) {
		EQUAL(mask[(numa - 1) / 64], 1ul << (numa - 1) % 64);
	}
}

/* Opens, looks before anything is published, publishes a ring full and more, looks again. */
static void place(const char *topic, int32_t numa)
{
	static uint8_t message[RING_BYTES / 8];
	struct bus_pub *pub;
	struct mapping map;
	unsigned rings;

	OK(bus_topic_create(bus, topic,
			    BUS_OPTS(topic, .numa = numa, .bytes = RING_BYTES, .slots = RING_SLOTS)));
	CHECK(!find_ring(&map));
	rings = check_blocks("ring");
	OK(bus_pub_open(&pub, bus, topic, NULL));
	CHECK(find_ring(&map));
	CHECK(map.size >= RING_BYTES + RING_SLOTS * 64);
	EQUAL(check_blocks("ring"), rings + 1);
	check_resident(&map);
	check_policy(&map, numa);
	check_reported(topic, &map);
	for (int i = 0; i < 20; i++)
		OK(bus_pub_send(pub, message, sizeof(message)));
	check_reported(topic, &map);
	bus_pub_close(pub);
}

static void absent_node(void)
{
	char first[64];

	EQUAL(bus_topic_create(bus, "absent",
			       BUS_OPTS(topic, .numa = BUS_NUMA_NODE(nodes[node_count - 1] + 7))),
	      -EINVAL);
	snprintf(first, sizeof(first), "nodes with memory: %d", nodes[0]);
	CHECK(strstr(bus_why(bus), first) != NULL);
	snprintf(first, sizeof(first), "NUMA node %d here", nodes[node_count - 1] + 7);
	CHECK(strstr(bus_why(bus), first) != NULL);
}

/* A ring that is replaced by a larger one, a subscription's cursors, the bell pages. */
static void all_of_it(void)
{
	static uint8_t large[600000];
	struct bus_pub *pub;
	struct bus_sub *sub;
	struct mapping map;

	OK(bus_pub_open(&pub, bus, "grows", NULL));
	OK(bus_sub_open(&sub, bus, "grows", BUS_OPTS(sub, .max_rings = 5000)));
	OK(bus_pub_send(pub, large, sizeof(large)));
	CHECK(find_ring(&map));
	check_resident(&map);
	check_reported("grows", &map);
	CHECK(check_blocks("ring") >= 1);
	CHECK(check_blocks("cursors") >= 1);
	CHECK(check_blocks("bell") >= 1);
	bus_sub_close(sub);
	bus_pub_close(pub);
}

int main(void)
{
	char topic[32];

	page = (size_t)sysconf(_SC_PAGESIZE);
	read_nodes();
	rig_busd_start(NULL);
	bus = rig_connect("placement");
	place("auto", BUS_NUMA_AUTO);
	place("interleave", BUS_NUMA_INTERLEAVE);
	for (unsigned i = 0; i < node_count; i++) {
		snprintf(topic, sizeof(topic), "node.%d", nodes[i]);
		place(topic, BUS_NUMA_NODE(nodes[i]));
	}
	absent_node();
	all_of_it();
	bus_close(bus);
	return rig_done();
}

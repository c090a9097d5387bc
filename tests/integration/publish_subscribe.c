/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: what one process publishes, in every way there is, another process reads whole and in
 * order: copies, claims, batches, keys and headers, every size around the inline limit and around
 * the ends of the payload area; borrowed and copied out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/bus_rig.h"

#define SIZES 300

static void fill(uint8_t *at, uint32_t len, uint32_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		at[i] = (uint8_t)(seed * 31 + i * 7);
}

static void check_bytes(const void *data, uint32_t len, uint32_t seed)
{
	const uint8_t *at = data;

	for (uint32_t i = 0; i < len; i++)
		EQUAL(at[i], (uint8_t)(seed * 31 + i * 7));
}

static uint32_t size_of(uint32_t i)
{
	static const uint32_t odd[] = { 0,   1,   23,   24,   25,   40,    63,    64,   65,
					127, 128, 4095, 4096, 4097, 60000, 65535, 65536 };

	return i < sizeof(odd) / sizeof(odd[0]) ? odd[i] : i * 13 % 5000;
}

static void publish_all(struct bus_pub *pub)
{
	static uint8_t buf[65536];

	for (uint32_t i = 0; i < SIZES; i++) { /* copied */
		fill(buf, size_of(i), i);
		OK(bus_pub_send(pub, buf, size_of(i)));
	}
	/* in place; claimed larger than needed, some given up */
	for (uint32_t i = 0; i < SIZES; i++) {
		struct bus_claim c, lost;

		OK(bus_pub_claim(pub, 1000, &lost));
		memset(lost.data, 0xee, 1000);
		EQUAL(bus_pub_send(pub, buf, 1), -EBUSY);
		bus_pub_abort(pub, &lost);
		OK(bus_pub_claim(pub, size_of(i) + i % 3, &c));
		EQUAL((uintptr_t)c.data % 64, 0);
		fill(c.data, size_of(i), i);
		c.len = size_of(i);
		OK(bus_pub_commit(pub, &c));
	}
	for (uint32_t i = 0; i < SIZES; i += 10) { /* in batches, with key and headers */
		static uint8_t data[10][5000];
		struct bus_header h[10][2];
		struct bus_out out[10];
		char key[10][16];

		for (uint32_t j = 0; j < 10; j++) {
			fill(data[j], (i + j) % 700, i + j);
			snprintf(key[j], sizeof(key[j]), "key%u", i + j);
			h[j][0] = (struct bus_header){ .name = "number",
						       .value = key[j] + 3,
						       .value_len = (uint32_t)strlen(key[j] + 3) };
			h[j][1] = (struct bus_header){ .name = "empty" };
			out[j] = (struct bus_out){ .data = data[j],
						   .len = (i + j) % 700,
						   .key = key[j],
						   .key_len = (uint32_t)strlen(key[j]),
						   .headers = h[j],
						   .header_count = (i + j) % 3 };
		}
		EQUAL(bus_pub_send_batch(pub, out, 10), 10);
	}
	for (uint32_t i = 0; i < SIZES; i++) { /* in place with a key */
		struct bus_out attr = { .key = "k", .key_len = 1 };
		struct bus_claim c;

		OK(bus_pub_claim_with(pub, size_of(i), &attr, &c));
		EQUAL((uintptr_t)c.data % 16, 0);
		fill(c.data, size_of(i), i);
		OK(bus_pub_commit(pub, &c));
	}
}

static void check_attributes(const struct bus_msg *m, uint32_t i)
{
	char key[16];
	const void *value;
	uint32_t len, count = 0, at = 0;
	struct bus_header h;

	snprintf(key, sizeof(key), "key%u", i);
	EQUAL(m->key_len, strlen(key));
	CHECK(memcmp(m->key, key, m->key_len) == 0);
	EQUAL(m->key_hash, bus_key_hash(key, m->key_len));
	EQUAL(bus_msg_header(m, "number", &value, &len), i % 3 >= 1);
	if (i % 3 >= 1)
		CHECK(len == strlen(key + 3) && memcmp(value, key + 3, len) == 0);
	EQUAL(bus_msg_header(m, "empty", &value, &len), i % 3 == 2);
	EQUAL(bus_msg_header(m, "absent", NULL, NULL), 0);
	while (bus_msg_header_next(m, &at, &h))
		count++;
	EQUAL(count, i % 3);
}

static void check_one(const struct bus_msg *m, uint64_t seq)
{
	uint32_t part = (uint32_t)(seq / SIZES), i = (uint32_t)(seq % SIZES);

	EQUAL(m->seq, seq);
	EQUAL(m->lost, 0);
	CHECK(strcmp(m->topic, "all.ways") == 0 && strcmp(m->from->name, "writer") == 0);
	if (part == 2) {
		EQUAL(m->len, i % 700);
		check_attributes(m, i);
	} else {
		EQUAL(m->len, size_of(i));
		EQUAL(m->key_len, part == 3);
	}
	check_bytes(m->data, m->len, i);
}

static void read_all(struct bus_sub *sub, int batch)
{
	static struct bus_msg msgs[64];
	uint64_t seq = 0;

	while (seq < 4 * SIZES) {
		int n;

		CHECK(OK(bus_sub_wait(sub, 10000000000)) == 1);
		n = OK(bus_sub_peek(sub, msgs, batch));
		for (int i = 0; i < n; i++)
			check_one(&msgs[i], seq++);
		if (n > 1) { /* in two parts */
			OK(bus_sub_release(sub, 1));
			n--;
		}
		if (n > 0)
			OK(bus_sub_release(sub, n));
	}
	EQUAL(bus_sub_release(sub, 1), -EINVAL);
}

static void copy_all(struct bus_sub *sub)
{
	static uint8_t buf[70000];
	struct bus_msg m;

	for (uint64_t seq = 0; seq < 4 * SIZES;) {
		int n;

		CHECK(OK(bus_sub_wait(sub, 10000000000)) == 1);
		if (seq == 5) { /* too small a buffer: nothing is lost */
			n = bus_sub_recv(sub, buf, 39, &m);
			if (n != 0) {
				EQUAL(n, -EMSGSIZE);
				EQUAL(m.len, 40);
			}
		}
		n = OK(bus_sub_recv(sub, buf, sizeof(buf), &m));
		if (n == 1)
			check_one(&m, seq++);
	}
}

static void reader(int how)
{
	struct bus *bus = rig_connect("reader");
	struct bus_sub_info info;
	struct bus_sub *sub;

	OK(bus_sub_open(&sub, bus, "all.ways", NULL));
	rig_post(0);
	if (how == 0)
		copy_all(sub);
	else
		read_all(sub, how);
	OK(bus_sub_info(sub, &info));
	EQUAL(info.delivered, 4 * SIZES);
	EQUAL(info.lost, 0);
	bus_close(bus);
	rig_exit(0);
}

int main(void)
{
	static const int ways[] = { 0, 1, 7, 64 };
	struct bus_pub *pub;
	struct bus *bus;
	pid_t child[4];

	rig_busd_start(NULL);
	for (int i = 0; i < 4; i++) {
		child[i] = rig_fork();
		if (child[i] == 0)
			reader(ways[i]);
	}
	rig_await(0, 4);
	bus = rig_connect("writer");
	OK(bus_pub_open(&pub, bus, "all.ways", NULL));
	publish_all(pub);
	bus_close(bus);
	for (int i = 0; i < 4; i++)
		EQUAL(rig_wait(child[i]), 0);
	return rig_done();
}

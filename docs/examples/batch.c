/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.c - many small messages, each with a key and a header, published 24 at a time: readers are
 * woken once per batch. What a full ring does is chosen here: fail at once, and let the program
 * decide.
 *
 *	batch TOPIC COUNT
 */
#include <bus.h>
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BATCH 24

struct quote {
	char key[16], text[32];
};

static void fill(struct bus_out *out, struct quote *q, unsigned long number)
{
	static const struct bus_header source = { .name = "source",
						  .value = "batch.c",
						  .value_len = 7 };

	snprintf(q->key, sizeof(q->key), "item-%lu", number % 100);
	snprintf(q->text, sizeof(q->text), "%lu", number);
	*out = (struct bus_out){ .data = q->text,
				 .len = (uint32_t)strlen(q->text),
				 .key = q->key,
				 .key_len = (uint32_t)strlen(q->key),
				 .headers = &source,
				 .header_count = 1 };
}

/* All of it, however often the ring is full in between. */
static void send_all(struct bus_pub *pub, const struct bus_out *out, int count)
{
	while (count > 0) {
		int n = bus_pub_send_batch(pub, out, count);

		/* nothing fits: the slowest reliable subscriber is a whole ring behind */
		if (n == -EAGAIN) {
			usleep(100);
			continue;
		}
		if (n < 0)
			errx(1, "cannot publish: %s", strerror(-n));
		out += n; /* fewer than count: the ring was full after n of them */
		count -= n;
	}
}

int main(int argc, char **argv)
{
	struct bus_out out[BATCH];
	struct quote quotes[BATCH];
	struct bus *bus;
	struct bus_pub *pub;
	unsigned long total;

	if (argc != 3)
		errx(2, "usage: batch TOPIC COUNT");
	total = strtoul(argv[2], NULL, 10);
	if (bus_connect(&bus, NULL) < 0)
		errx(1, "%s", bus_why(NULL));
	if (bus_pub_open(&pub, bus, argv[1], BUS_OPTS(pub, .full = BUS_FULL_FAIL)) < 0)
		errx(1, "%s", bus_why(bus));
	for (unsigned long i = 0; i < total; i += BATCH) {
		int n = total - i < BATCH ? (int)(total - i) : BATCH;

		for (int k = 0; k < n; k++)
			fill(&out[k], &quotes[k], i + (unsigned long)k + 1);
		send_all(pub, out, n);
	}
	bus_close(bus);
	return 0;
}

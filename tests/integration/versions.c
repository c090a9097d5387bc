/* SPDX-License-Identifier: Apache-2.0 */
/*
 * versions.c - the instrument of versions.sh, of whichever libbus.so is put before it.
 *
 *   versions pub TOPIC COUNT      numbered messages with checksums, some too large for the ring; COUNT 0: until
 *                                 stopped by SIGTERM. Prints how many.
 *   versions sub PATTERN COUNT    reads until COUNT messages were good, each publisher's in order and none missing;
 *                                 COUNT 0: until SIGTERM. Prints how many, and the names of who published.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bus.h>

#define LARGE 300000 /* of a ring of 256 KiB no message may take more than a quarter */
#define MANY  64

static volatile sig_atomic_t stop;

static void stopped(int signo)
{
	(void)signo;
	stop = 1;
}

static void failed(const char *what, int err)
{
	fprintf(stderr, "versions: %s: %s (%s)\n", what, bus_why(NULL), strerror(-err));
	exit(1);
}

static uint64_t sum_of(const void *bytes, size_t len)
{
	const uint8_t *at = bytes;
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		sum = (sum ^ at[i]) * UINT64_C(0x100000001b3);
	return sum;
}

struct content {
	uint64_t sum; /* of all behind it */
	uint64_t n;
	uint8_t bytes[LARGE];
};

static int publish(struct bus *bus, const char *topic, uint64_t count)
{
	static struct content msg;
	struct bus_pub *pub;
	int err = bus_pub_open(&pub, bus, topic, BUS_OPTS(pub, .name = "speaker"));

	if (err < 0)
		failed("cannot publish", err);
	for (size_t i = 0; i < LARGE; i++)
		msg.bytes[i] = (uint8_t)(i * 7);
	for (msg.n = 0; (count == 0 || msg.n < count) && !stop; msg.n++) {
		size_t len = msg.n == 300 || msg.n == 700 ? LARGE * (msg.n / 300) / 2
							  : msg.n * 37 % 1500;

		msg.sum = sum_of(&msg.n, sizeof(msg.n) + len);
		err = bus_pub_send(pub, &msg, (uint32_t)(sizeof(msg.sum) + sizeof(msg.n) + len));
		if (err < 0)
			failed("cannot send", err);
		if (msg.n % 16 == 0)
			usleep(count == 0 ? 5000 : 500);
	}
	printf("%llu\n", (unsigned long long)msg.n);
	bus_pub_close(pub);
	return 0;
}

struct source {
	char topic[256], name[64];
	uint64_t id, next;
};

static struct source *source_of(const struct bus_msg *msg, struct source *sources, int *count)
{
	struct source *s;

	for (s = sources; s < sources + *count; s++)
		if (s->id == msg->from->id && strcmp(s->topic, msg->topic) == 0)
			return s;
	if (*count == MANY)
		failed("too many publishers", -ENOBUFS);
	snprintf(s->topic, sizeof(s->topic), "%s", msg->topic);
	snprintf(s->name, sizeof(s->name), "%s", msg->from->name);
	s->id = msg->from->id;
	(*count)++;
	return s;
}

static void check(const struct bus_msg *msg, struct source *source)
{
	uint64_t sum, n;

	memcpy(&sum, msg->data, sizeof(sum));
	memcpy(&n, (const uint8_t *)msg->data + sizeof(sum), sizeof(n));
	if (msg->lost != 0 || n != source->next ||
	    sum != sum_of((const uint8_t *)msg->data + sizeof(sum), msg->len - sizeof(sum))) {
		fprintf(stderr,
			"versions: %s of %s: message %llu instead of %llu, lost %llu, or damaged\n",
			source->topic, source->name, (unsigned long long)n,
			(unsigned long long)source->next, (unsigned long long)msg->lost);
		exit(1);
	}
	source->next++;
}

static int subscribe(struct bus *bus, const char *pattern, uint64_t count)
{
	static struct source sources[MANY];
	struct bus_msg msgs[64];
	struct bus_sub *sub;
	uint64_t total = 0;
	int known = 0, n, err = bus_sub_open(&sub, bus, pattern, NULL);

	if (err < 0)
		failed("cannot subscribe", err);
	while ((count == 0 && !stop) || total < count) {
		n = bus_sub_peek(sub, msgs, 64);
		if (n == 0) {
			err = bus_sub_wait(sub, 200000000);
			if (err < 0 && err != -EINTR && err != -ETIMEDOUT)
				failed("cannot wait", err);
			continue;
		}
		if (n < 0) {
			fprintf(stderr, "versions: %s (%s)\n", bus_why(NULL), strerror(-n));
			if (n != -EPROTONOSUPPORT)
				exit(1);
			continue;
		}
		for (int i = 0; i < n; i++)
			check(&msgs[i], source_of(&msgs[i], sources, &known));
		if (bus_sub_release(sub, n) < 0)
			failed("overwritten", -ESTALE);
		total += (uint64_t)n;
	}
	printf("%llu", (unsigned long long)total);
	for (int i = 0; i < known; i++)
		printf(" %s", sources[i].name);
	printf("\n");
	bus_sub_close(sub);
	return 0;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = stopped };
	struct bus *bus;
	int err, rc;

	if (argc != 4)
		return 2;
	sigaction(SIGTERM, &action, NULL);
	err = bus_connect(&bus, NULL);
	if (err < 0)
		failed("cannot connect", err);
	rc = strcmp(argv[1], "pub") == 0 ? publish(bus, argv[2], strtoull(argv[3], NULL, 10))
					 : subscribe(bus, argv[2], strtoull(argv[3], NULL, 10));
	bus_close(bus);
	return rc;
}

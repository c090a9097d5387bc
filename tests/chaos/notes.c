/* SPDX-License-Identifier: Apache-2.0 */
/* notes.c - see notes.h */
#include "chaos/notes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

struct chaos_notes *notes;
struct pub_notes *pub_notes[PUBS];
const char *const topic_names[TOPICS] = { "a.x", "a.y", "b.x", "b.y.z" };

static void *map_file(const char *dir, const char *name, size_t size)
{
	char path[300];
	void *p;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	p = fd >= 0 && ftruncate(fd, (off_t)size) == 0
		    ? mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
		    : MAP_FAILED;
	if (p == MAP_FAILED) {
		fprintf(stderr, "chaos: %s: %s\n", path, strerror(errno));
		exit(1);
	}
	close(fd);
	return p;
}

void notes_open(const char *dir)
{
	char name[20];

	notes = map_file(dir, "notes", sizeof(*notes));
	for (int i = 0; i < PUBS; i++) {
		snprintf(name, sizeof(name), "pub.%d", i);
		pub_notes[i] = map_file(dir, name, sizeof(struct pub_notes));
	}
}

void wrong(const char *format, ...)
{
	char text[500];
	va_list ap;
	int n;

	if (notes->wrong++ >= WRONG_SHOWN)
		return;
	n = snprintf(text, sizeof(text), "WRONG (pid %d): ", (int)getpid());
	va_start(ap, format);
	vsnprintf(text + n, sizeof(text) - (size_t)n - 1, format, ap);
	va_end(ap);
	strcat(text, "\n");
	if (write(STDERR_FILENO, text, strlen(text)) < 0)
		_exit(1);
}

/* ---- messages ---- */

static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 31) * UINT64_C(0x7fb5d329728ea185);
	return x ^ x >> 27;
}

static uint64_t sum_of(const struct chaos_head *head, const uint8_t *body, size_t size)
{
	uint64_t sum = mix((uint64_t)head->who << 32 | head->size) + head->number, w;

	for (; size >= 8; size -= 8, body += 8) {
		memcpy(&w, body, 8);
		sum = (sum ^ w) * UINT64_C(0x9e3779b97f4a7c15);
		sum ^= sum >> 29;
	}
	w = 0;
	memcpy(&w, body, size);
	return mix(sum ^ w);
}

void message_fill(void *at, uint32_t who, uint64_t number, uint32_t size)
{
	struct chaos_head head = { .who = who, .size = size, .number = number };
	uint64_t w = mix(number * UINT64_C(0x9e3779b97f4a7c15) + who);
	uint8_t *body = (uint8_t *)at + sizeof(head);
	uint32_t left = size - (uint32_t)sizeof(head), i = 0;

	for (; left - i >= 8; i += 8, w += UINT64_C(0x9e3779b97f4a7c15))
		memcpy(body + i, &w, 8);
	memcpy(body + i, &w, left - i);
	head.sum = sum_of(&head, body, left);
	memcpy(at, &head, sizeof(head));
}

const char *message_check(const void *at, uint32_t len, struct chaos_head *head)
{
	if (len < sizeof(*head))
		return "shorter than any that was sent";
	memcpy(head, at, sizeof(*head));
	if (head->size != len)
		return "its length is another message's";
	if (head->sum != sum_of(head, (const uint8_t *)at + sizeof(*head), len - sizeof(*head)))
		return "its checksum does not hold: torn";
	return NULL;
}

/* ---- chance, time ---- */

uint64_t chance_next(struct chance *c)
{
	uint64_t z = c->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void sleep_us(uint64_t us)
{
	struct timespec ts = { (time_t)(us / 1000000), (long)(us % 1000000) * 1000 };

	while (nanosleep(&ts, &ts) != 0 && errno == EINTR)
		;
}

/* ---- connecting ---- */

/*
 * A call that began before the kill, or soon after it, meets a busd or a worker that is not there.
 * What is not excused by a kill of those is wrong.
 */
bool party_excused(uint32_t gen, uint32_t worker_kills)
{
	return gen % 2 != 0 || notes->gen != gen || notes->worker_kills != worker_kills ||
	       (notes->worker_ns != 0 && now_ns() - notes->worker_ns < 2000000000u);
}

struct bus *party_connect(const char *name, uint32_t *gen)
{
	for (;;) {
		uint32_t kills = notes->worker_kills;
		struct bus *bus;
		int err;

		*gen = notes->gen;
		if (notes->phase != PHASE_RUN)
			return NULL;
		if (*gen % 2 != 0) {
			sleep_us(2000);
			continue;
		}
		err = bus_connect(&bus, BUS_OPTS(connect, .socket = notes->socket, .name = name,
						 .timeout_ns = 15000000000));
		if (err == 0)
			return bus;
		if (!party_excused(*gen, kills))
			wrong("%s cannot connect: %s", name, bus_why(NULL));
		notes->excused++;
		sleep_us(5000);
	}
}

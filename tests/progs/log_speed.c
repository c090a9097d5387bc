/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_speed.c - for `make bench`: what CRC32C and reading a log from the page cache reach, beside plain reads of
 * the same files. `log_speed [DIR]`: logs of some 130 MB each are written below DIR (/tmp), read, and removed.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bus_log.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "lib/log_rig.h"

#define ROUNDS 5
#define TOTAL  (UINT64_C(128) << 20)

static uint8_t page[1 << 16];

static void crc_of(size_t size)
{
	double best = 0;

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t n = (UINT64_C(1) << 29) / size, from = bus_monotonic_ns(), took;
		static volatile uint32_t crc;

		for (uint64_t i = 0; i < n; i++)
			crc = crc32c_extend(crc, page, size);
		took = bus_monotonic_ns() - from;
		if ((double)(n * size) / (double)took > best)
			best = (double)(n * size) / (double)took;
	}
	printf("crc32c (%s), %5zu bytes: %6.1f GB/s%s\n", crc32c_means(), size, best,
	       size == 4096 ? "   (at least 10)" : "");
}

static uint64_t write_log(const char *dir, uint32_t size)
{
	uint64_t per = BUS_ALIGN_UP(size, 64u), count = TOTAL / (per + 64);
	struct log_rig rig;

	log_rig_begin(&rig, dir, 1 << 18,
		      BUS_ALIGN_UP(per << 18, UINT64_C(4096)) >> (size > 64 ? 4 : 0));
	for (uint64_t i = 0; i < count; i++)
		log_rig_put(&rig, page + i % 1024, size);
	log_rig_end(&rig);
	return count;
}

/* ns for what bus_log_next() gives, all of it. */
static uint64_t read_log(const char *dir, uint64_t count)
{
	static struct bus_msg msgs[BUS_LOG_BATCH];
	uint64_t from = bus_monotonic_ns(), seen = 0;
	struct bus_log *log;
	int n;

	if (bus_log_open(&log, dir, NULL) < 0) {
		fprintf(stderr, "log_speed: %s\n", bus_why(NULL));
		exit(1);
	}
	while ((n = bus_log_next(log, msgs, BUS_LOG_BATCH)) > 0)
		seen += (uint64_t)n;
	bus_log_close(log);
	if (seen != count) {
		fprintf(stderr, "log_speed: %llu messages of %llu\n", (unsigned long long)seen,
			(unsigned long long)count);
		exit(1);
	}
	return bus_monotonic_ns() - from;
}

/* ns for read() of the same slots and payload, 256 KiB at a time. */
static uint64_t read_plainly(const char *dir, uint32_t size, uint64_t count)
{
	static uint8_t buf[256 << 10];
	struct log_header h;
	struct log_rig rig = { .fd = -1 };
	uint64_t from, done = 0, seq = 0;

	snprintf(rig.dir, sizeof(rig.dir), "%s", dir);
	from = bus_monotonic_ns();
	while (seq < count) {
		int fd = open(log_rig_path(&rig, seq), O_RDONLY);
		uint64_t here, room;

		if (fd < 0 || pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
			exit(1);
		room = h.bytes / BUS_ALIGN_UP(size, 64u);
		here = count - seq < h.slots ? count - seq : h.slots;
		here = here < room ? here : room;
		for (uint64_t at = LOG_SLOTS_OFF, end = at + here * 64; at < end; at += sizeof(buf))
			done += (uint64_t)pread(
				fd, buf, end - at < sizeof(buf) ? end - at : sizeof(buf), (off_t)at);
		for (uint64_t at = h.payload_off, end = at + here * BUS_ALIGN_UP(size, 64u);
		     at < end; at += sizeof(buf))
			done += (uint64_t)pread(
				fd, buf, end - at < sizeof(buf) ? end - at : sizeof(buf), (off_t)at);
		close(fd);
		seq += here;
	}
	return done > 0 ? bus_monotonic_ns() - from : 0;
}

static void replay(const char *where, uint32_t size)
{
	uint64_t best = UINT64_MAX, plain = UINT64_MAX, count;
	char dir[256];

	snprintf(dir, sizeof(dir), "%s/log_speed.XXXXXX", where);
	if (mkdtemp(dir) == NULL) {
		perror(dir);
		exit(1);
	}
	count = write_log(dir, size);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t a = read_log(dir, count), b = read_plainly(dir, size, count);

		best = a < best ? a : best;
		plain = b < plain ? b : plain;
	}
	log_rig_remove(dir);
	printf("log, %5u bytes: %6.1f M messages/s, %5.2f GB/s of payload, %4.2f of plain reads%s\n",
	       size, (double)count * 1e3 / (double)best, (double)(count * size) / (double)best,
	       (double)plain / (double)best,
	       size == 64     ? "   (at least 20 M/s)"
	       : size == 4096 ? "   (at least 0.70)"
			      : "");
}

int main(int argc, char **argv)
{
	const char *where = argc > 1 ? argv[1] : "/tmp";

	for (size_t i = 0; i < sizeof(page); i++)
		page[i] = (uint8_t)(i * 13 >> 3);
	crc_of(64);
	crc_of(1024);
	crc_of(4096);
	crc_of(65536);
	replay(where, 64);
	replay(where, 1024);
	replay(where, 4096);
	return 0;
}

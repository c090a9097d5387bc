/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_rate.c - how fast a stream's log is written, each figure beside the raw disk's in the same run: make bench-log.
 *
 *	log_rate [--dir DIR] [--seconds N] [--rounds N] [--only batch|none|one] [--threads]
 *
 * What is measured is busd's writer alone, fed from a ring in memory by the same thread: no sequencer, no publishers.
 * Raw: a file that was written before, overwritten by pwritev2 with RWF_DSYNC in pieces of the size that the log's
 * commits had; for one message at a time, 64 bytes overwritten, then fdatasync; and for policy none, a plain pwrite of
 * as many bytes, from memory of the ring's size, into files that are allocated and never synced.
 */
#include "log_file.h"
#include "recover.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MUST(cond) ((cond) ? (void)0 : stop(__LINE__, #cond))
#define RAW_BYTES  (UINT64_C(128) << 20)
#define WARM_BYTES (UINT64_C(3) << 30)
#define ROUNDS_MAX 64

static void stop(int line, const char *what)
{
	fprintf(stderr, "log_rate: line %d: %s does not hold: %s\n", line, what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static const char *parent = "build/bench/log";
static enum io_choice choice = IO_BEST;
static uint64_t seconds_ns = 1000000000;

static void empty(const char *path)
{
	DIR *list = opendir(path);
	struct dirent *e;

	if (!list)
		return;
	while ((e = readdir(list)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(list), e->d_name, 0);
	closedir(list);
}

/*
 * Memory for the page cache, of which the machine has just seen as much used: a virtual machine gives free memory back
 * to its host, and what it then takes again costs ten times what writing into it does.
 */
static void warm(uint64_t bytes)
{
	char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	MUST(at != MAP_FAILED);
	for (uint64_t i = 0; i < bytes; i += 4096)
		at[i] = 1;
	munmap(at, bytes);
}

/* ---- the log ---- */

struct feed {
	struct log_slot *slots;
	uint8_t *payload;
	struct log_view view;
	uint64_t head, pos;
	uint32_t len;
};

struct result {
	double messages_s, bytes_s, bytes;
	double commit_bytes, each_us;
};

static void feed_open(struct feed *f, uint32_t len, uint64_t slots)
{
	const uint64_t bytes = bus_ceil_pow2(slots * len);

	*f = (struct feed){ .len = len };
	f->slots = aligned_alloc(4096, slots * RING_SLOT_BYTES);
	f->payload = aligned_alloc(4096, bytes * 2);
	MUST(f->slots && f->payload);
	memset(f->slots, 0, slots * RING_SLOT_BYTES);
	memset(f->payload, 'x', bytes * 2);
	f->view = (struct log_view){ f->slots, f->payload, slots, bytes };
}

static void feed_to(struct feed *f, uint64_t head)
{
	for (; f->head < head; f->head++) {
		struct log_slot *slot = &f->slots[f->head & (f->view.slot_count - 1)];

		slot->commit = f->head + 1;
		slot->pos = f->pos;
		slot->lens = ring_pack_lens(f->len, 0, 0);
		slot->src = 1;
		slot->src_seq = f->head;
		f->pos += f->len;
	}
}

static void run_log(struct result *ret, uint32_t len, enum log_policy policy, bool one_at_a_time)
{
	struct log_file_opts opts = { .topic = "bench", .policy = policy };
	struct recovered rec;
	struct sources sources;
	struct retention retention;
	struct log_start start;
	struct log_file *log;
	struct io *io;
	struct why why = { "" };
	struct feed feed;
	uint64_t begun, end, first, wait_ns;
	int dir;

	empty(parent);
	dir = open(parent, O_RDONLY | O_DIRECTORY);
	MUST(dir >= 0);
	feed_open(&feed, len, len > 512 ? 16384 : 65536);
	if (io_open(&io, choice, 8, &why) < 0 ||
	    recover_open(&rec, io, dir, RECOVER_NO_RING, &sources, &retention, &why) < 0) {
		fprintf(stderr, "log_rate: %s\n", why.text);
		exit(1);
	}
	recover_start(&rec, feed.view.slot_count, &start);
	opts.view = feed.view;
	opts.dir = dir;
	memcpy(opts.uuid, rec.uuid, sizeof(opts.uuid));
	opts.sources = &sources;
	MUST(log_file_open(&log, io, &opts, &start, &why) == 0);
	/* The first segment, and the one ahead. */
	for (begun = now_ns(); now_ns() - begun < 300000000 || log_file_limit(log) == 0;) {
		log_file_run(log, now_ns());
		io_poll(io, 1);
	}
	begun = now_ns();
	end = begun + seconds_ns;
	first = feed.head;
	while (now_ns() < end || (one_at_a_time && log_file_durable(log) < feed.head)) {
		/* what has ended makes room, which is used before anything is waited for */
		log_file_run(log, now_ns());
		if (!one_at_a_time)
			feed_to(&feed, bus_min_u64(log_file_limit(log),
						   log_file_gate(log) + feed.view.slot_count));
		else if (log_file_durable(log) == feed.head && now_ns() < end)
			feed_to(&feed, feed.head + 1);
		log_file_offer(log, feed.head);
		wait_ns = log_file_run(log, now_ns());
		io_poll(io, wait_ns > 1000000 ? 1 : 0);
	}
	const double took = (double)(now_ns() - begun) / 1e9;
	const struct log_counts *c = log_file_counts(log);
	const uint64_t done = log_file_gate(log) - first;

	ret->messages_s = (double)done / took;
	ret->bytes = (double)done * (len + RING_SLOT_BYTES);
	ret->bytes_s = ret->bytes / took;
	ret->commit_bytes = c->commits ? (double)c->bytes / (double)c->commits : 0;
	ret->each_us = took * 1e6 / (double)bus_max_u64(done, 1);
	if (c->errors || c->full)
		printf("log_rate: %s\n", log_file_why(log));
	log_file_close(log);
	sources_close(&sources);
	retention_free(&retention);
	io_free(io);
	free(feed.slots);
	free(feed.payload);
	close(dir);
	empty(parent);
}

/* ---- the disk ---- */

struct raw {
	int fd;
	uint64_t piece, from, to, end_ns, bytes;
	char *data;
};

static int raw_file(void)
{
	char path[256];
	static char block[1 << 20];
	int fd;

	snprintf(path, sizeof(path), "%s.raw", parent);
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	MUST(fd >= 0);
	for (uint64_t at = 0; at < RAW_BYTES; at += sizeof(block))
		MUST(pwrite(fd, block, sizeof(block), (off_t)at) == sizeof(block));
	MUST(fsync(fd) == 0);
	return fd;
}

static void *raw_writes(void *arg)
{
	struct raw *raw = arg;
	uint64_t at = raw->from;

	while (now_ns() < raw->end_ns) {
		struct iovec iov = { raw->data, raw->piece };

		if (at + raw->piece > raw->to)
			at = raw->from;
		MUST(pwritev2(raw->fd, &iov, 1, (off_t)at, RWF_DSYNC) == (ssize_t)raw->piece);
		raw->bytes += raw->piece;
		at += raw->piece;
	}
	return NULL;
}

/* Bytes a second, with so many writes at a time. */
static double run_raw(int fd, double commit_bytes, unsigned depth)
{
	struct raw raw[4];
	pthread_t threads[4];
	const uint64_t begun = now_ns();
	uint64_t piece = BUS_ALIGN_UP((uint64_t)commit_bytes, (uint64_t)4096), bytes = 0;

	piece = bus_min_u64(bus_max_u64(piece, 4096), RAW_BYTES / 4);
	for (unsigned i = 0; i < depth; i++) {
		raw[i] = (struct raw){ .fd = fd,
				       .piece = piece,
				       .from = i * RAW_BYTES / depth,
				       .to = (i + 1) * RAW_BYTES / depth,
				       .end_ns = begun + seconds_ns };
		raw[i].data = malloc(piece);
		MUST(raw[i].data);
		memset(raw[i].data, 'y', piece);
		MUST(pthread_create(&threads[i], NULL, raw_writes, &raw[i]) == 0);
	}
	for (unsigned i = 0; i < depth; i++) {
		pthread_join(threads[i], NULL);
		bytes += raw[i].bytes;
		free(raw[i].data);
	}
	return (double)bytes * 1e9 / (double)(now_ns() - begun);
}

/* Bytes a second into the page cache: files of a segment's size, allocated, written in pieces, not synced. */
static double run_plain(uint64_t ring_bytes, uint64_t total)
{
	const uint64_t segment = LOG_DEFAULT_BYTES + LOG_DEFAULT_SLOTS * RING_SLOT_BYTES;
	const uint64_t piece = UINT64_C(1) << 20;
	char *data = malloc(ring_bytes);
	uint64_t begun, took, bytes = 0;
	char name[64];
	int files = 0, dir = open(parent, O_RDONLY | O_DIRECTORY);

	MUST(data && dir >= 0);
	memset(data, 'w', ring_bytes);
	begun = now_ns();
	while (bytes < total) {
		int fd;

		snprintf(name, sizeof(name), "plain.%d", files++);
		fd = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC, 0600);
		MUST(fd >= 0 && fallocate(fd, 0, 0, (off_t)segment) == 0);
		for (uint64_t at = 0; at < segment && bytes < total; at += piece) {
			MUST(pwrite(fd, data + at % ring_bytes, piece, (off_t)at) == (ssize_t)piece);
			bytes += piece;
		}
		close(fd);
	}
	took = now_ns() - begun;
	close(dir);
	empty(parent);
	free(data);
	return (double)bytes * 1e9 / (double)took;
}

/* us for 64 bytes, overwritten, and fdatasync */
static double run_raw_one(int fd)
{
	const uint64_t begun = now_ns();
	uint64_t n = 0;
	char line[64];

	memset(line, 'z', sizeof(line));
	while (now_ns() - begun < seconds_ns) {
		MUST(pwrite(fd, line, sizeof(line), (off_t)(n * sizeof(line) % RAW_BYTES)) ==
		     sizeof(line));
		MUST(fdatasync(fd) == 0);
		n++;
	}
	return (double)(now_ns() - begun) / 1e3 / (double)n;
}

/* ---- the table ---- */

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

static double median(double *values, unsigned n)
{
	qsort(values, n, sizeof(values[0]), by_value);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

struct series {
	double messages_s[ROUNDS_MAX], bytes_s[ROUNDS_MAX], commit[ROUNDS_MAX];
	double raw1[ROUNDS_MAX], raw2[ROUNDS_MAX], ratio[ROUNDS_MAX];
};

static void batch_round(struct series *s, unsigned i, uint32_t len, int raw)
{
	struct result r;

	run_log(&r, len, LOG_SYNC_BATCH, false);
	s->messages_s[i] = r.messages_s;
	s->bytes_s[i] = r.bytes_s;
	s->commit[i] = r.commit_bytes;
	s->raw1[i] = run_raw(raw, r.commit_bytes, 1);
	s->raw2[i] = run_raw(raw, r.commit_bytes, 2);
	s->ratio[i] = r.bytes_s / s->raw1[i];
}

static void batch_line(struct series *s, unsigned n, uint32_t len)
{
	printf("batch, %4u B   %9.2f M/s %8.0f MB/s   commits of %.0f KiB\n", len,
	       median(s->messages_s, n) / 1e6, median(s->bytes_s, n) / 1e6,
	       median(s->commit, n) / 1024);
	printf("  raw, RWF_DSYNC            %8.0f MB/s   x %.2f (at least 0.8); two at a time %.0f MB/s\n",
	       median(s->raw1, n) / 1e6, median(s->ratio, n), median(s->raw2, n) / 1e6);
}

static void none_round(struct series *s, unsigned i, uint32_t len)
{
	struct result r;

	warm(WARM_BYTES);
	run_log(&r, len, LOG_SYNC_NONE, false);
	s->messages_s[i] = r.messages_s;
	s->bytes_s[i] = r.bytes_s;
	warm(WARM_BYTES);
	s->raw1[i] = run_plain(UINT64_C(16) << 20, (uint64_t)r.bytes);
	s->ratio[i] = r.bytes_s / s->raw1[i];
}

static void none_line(struct series *s, unsigned n, uint32_t len, double wanted)
{
	const double rate = median(s->messages_s, n);

	printf("none,  %4u B   %9.2f M/s %8.0f MB/s   %.2f GB/s of payload (at least %.2f)\n", len,
	       rate / 1e6, median(s->bytes_s, n) / 1e6, rate * len / 1e9, wanted);
	printf("  pwrite, never synced      %8.0f MB/s   x %.2f (%.2f to %.2f)\n",
	       median(s->raw1, n) / 1e6, median(s->ratio, n), s->ratio[0], s->ratio[n - 1]);
}

static void one_round(struct series *s, unsigned i, int raw)
{
	struct result r;

	run_log(&r, 64, LOG_SYNC_BATCH, true);
	s->commit[i] = r.each_us;
	s->raw1[i] = run_raw_one(raw);
	s->ratio[i] = s->commit[i] / s->raw1[i];
}

static void one_line(struct series *s, unsigned n)
{
	printf("one at a time   %9.0f us   raw overwrite + fdatasync %.0f us   x %.2f (at most 1.3)\n",
	       median(s->commit, n), median(s->raw1, n), median(s->ratio, n));
}

static unsigned rounds = 3;
static const char *only;

static void parse(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (strcmp(argv[i], "--threads") == 0) {
			choice = IO_THREAD;
			continue;
		}
		if (value && strcmp(argv[i], "--dir") == 0) {
			parent = value;
		} else if (value && strcmp(argv[i], "--seconds") == 0) {
			seconds_ns = (uint64_t)(strtod(value, NULL) * 1e9);
		} else if (value && strcmp(argv[i], "--rounds") == 0) {
			rounds = (unsigned)strtoul(value, NULL, 0);
		} else if (value && strcmp(argv[i], "--only") == 0) {
			only = value;
		} else {
			fprintf(stderr, "log_rate [--dir DIR] [--seconds N] [--rounds N] "
					"[--only batch|none|one] [--threads]\n");
			exit(2);
		}
		i++;
	}
	if (rounds < 1 || rounds > ROUNDS_MAX || seconds_ns == 0) {
		fprintf(stderr, "log_rate: 1 to %d rounds of some time\n", ROUNDS_MAX);
		exit(2);
	}
}

static bool wanted(const char *what)
{
	return !only || strcmp(only, what) == 0;
}

int main(int argc, char **argv)
{
	static struct series batch64, batch1k, none64, none1k, one;
	char path[256];
	int raw;

	parse(argc, argv);
	MUST(mkdir(parent, 0700) == 0 || errno == EEXIST);
	raw = raw_file();
	for (unsigned i = 0; i < rounds; i++) {
		if (wanted("batch")) {
			batch_round(&batch64, i, 64, raw);
			batch_round(&batch1k, i, 1024, raw);
		}
		if (wanted("none")) {
			none_round(&none64, i, 64);
			none_round(&none1k, i, 1024);
		}
		if (wanted("one"))
			one_round(&one, i, raw);
	}
	printf("A stream's log, in %s: medians of %u rounds of %.1f s; MB/s with slots\n", parent,
	       rounds, (double)seconds_ns / 1e9);
	if (wanted("batch")) {
		batch_line(&batch64, rounds, 64);
		batch_line(&batch1k, rounds, 1024);
	}
	if (wanted("none")) {
		none_line(&none64, rounds, 64, 0.64);
		none_line(&none1k, rounds, 1024, 1.5);
	}
	if (wanted("one"))
		one_line(&one, rounds);
	close(raw);
	snprintf(path, sizeof(path), "%s.raw", parent);
	unlink(path);
	return 0;
}

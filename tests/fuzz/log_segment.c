/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes what reads a log: two segments, sound but for what the input changes in them, are read, searched and
 * checked as bus-fsck does. With each change come right checksums where the input says so, so that numbers behind
 * them are reached.
 *
 * Input: { u8 what; ... } repeated. what % 8:
 *   0  u8 file, u16 offset, u8 n, n bytes   written there (offset x 1)
 *   1  u8 file, u8 field, u64 value          a word of the header, sealed, in both copies
 *   2  u8 file, u8 slot, u8 field, u64 value a word of a slot, sealed with the bytes it then has
 *   3  u8 file, u8 mark, u8 field, u64 value a word of a mark, sealed
 *   4  u8 file, u16 size                     the file's length
 *   5  u8 file, u8 name                      another number in its name
 *   6  u64 time                              a time to look for
 *   7  u64 seq                               a number to go to
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bus_log.h>

#include "lib/log_rig.h"
#include "os/log_read.h"

#define SLOTS 16
#define BYTES 4096
#define IMAGE (LOG_SLOTS_OFF + 4096 + BYTES)

static char where[256];
static struct log_rig rig;
static uint8_t sound[2][IMAGE], image[2][IMAGE];
static size_t sizes[2];
static uint64_t bases[2], names[2];

struct input {
	const uint8_t *at;
	size_t left;
};

static uint64_t take(struct input *in, size_t n)
{
	uint64_t v = 0;

	n = n < in->left ? n : in->left;
	memcpy(&v, in->at, n);
	in->at += n;
	in->left -= n;
	return v;
}

static void clear(void)
{
	log_rig_remove(where);
}

static void begin(void)
{
	const struct log_rig_message keyed = { "key             ", "keyed", 16, 3, 5 };

	snprintf(where, sizeof(where), "/dev/shm/fuzz_log.XXXXXX");
	if (mkdtemp(where) == NULL)
		abort();
	log_rig_begin(&rig, where, SLOTS, BYTES);
	for (int f = 0; f < 2; f++) {
		bases[f] = rig.header.base_seq;
		for (int i = 0; i < 9; i++) {
			if (i == 6)
				log_rig_mark(&rig);
			if (i % 3 == 0)
				log_rig_put_with(&rig, &keyed);
			else
				log_rig_put(&rig, "0123456789", (uint32_t)i);
		}
		if (f == 0)
			log_rig_roll(&rig, 5);
	}
	close(rig.fd);
	for (int f = 0; f < 2; f++)
		log_rig_read(log_rig_path(&rig, bases[f]), 0, sound[f], IMAGE);
	clear();
	if (mkdir(where, 0700) < 0)
		abort();
	atexit(clear);
}

static void change_header(struct input *in, int f)
{
	struct log_header h;
	uint64_t field = take(in, 1) % (sizeof(h) / 8), value = take(in, 8);

	memcpy(&h, image[f], sizeof(h));
	memcpy((uint8_t *)&h + field * 8, &value, 8);
	log_rig_seal_header(&h);
	memcpy(image[f], &h, sizeof(h));
	memcpy(image[f] + LOG_COPY_OFF, &h, sizeof(h));
}

static void change_slot(struct input *in, int f)
{
	uint8_t *at = image[f] + LOG_SLOTS_OFF + take(in, 1) % SLOTS * RING_SLOT_BYTES;
	uint64_t field = take(in, 1) % 8, value = take(in, 8), pos, total;
	struct log_slot slot;
	struct log_header h;

	memcpy(&h, image[f], sizeof(h));
	memcpy(&slot, at, sizeof(slot));
	memcpy((uint8_t *)&slot + field * 8, &value, 8);
	pos = slot.pos - h.base_pos;
	total = (uint64_t)(uint16_t)(slot.lens >> 32) + (uint32_t)slot.lens;
	if (pos < BYTES && total <= BYTES - pos)
		log_rig_seal_slot(rig.uuid, &slot, image[f] + IMAGE - BYTES + pos);
	memcpy(at, &slot, sizeof(slot));
}

static void change_mark(struct input *in, int f)
{
	uint8_t *at = image[f] + LOG_MARKS_OFF + take(in, 1) % LOG_MARKS * LOG_MARK_BYTES;
	uint64_t field = take(in, 1) % 5, value = take(in, 8);
	struct log_mark mark;

	memcpy(&mark, at, sizeof(mark));
	memcpy((uint8_t *)&mark + field * 8, &value, 8);
	log_rig_seal_mark(rig.uuid, &mark);
	memcpy(at, &mark, sizeof(mark));
}

static void change_bytes(struct input *in, int f)
{
	size_t at = take(in, 2) % IMAGE, n = take(in, 1);

	n = n < in->left ? n : in->left;
	n = n < IMAGE - at ? n : IMAGE - at;
	memcpy(image[f] + at, in->at, n);
	take(in, n < 8 ? n : 8);
}

static void write_files(void)
{
	for (int f = 0; f < 2; f++) {
		int fd = open(log_rig_path(&rig, names[f]), O_WRONLY | O_CREAT | O_TRUNC, 0600);

		if (fd < 0 || write(fd, image[f], sizes[f]) != (ssize_t)sizes[f])
			abort();
		close(fd);
	}
}

static volatile uint8_t sum; /* so that each byte is looked at */

static void read_all(struct bus_log *log)
{
	static struct bus_msg msgs[8];
	int n;

	for (int batch = 0; batch < 1000 && (n = bus_log_next(log, msgs, 8)) > 0; batch++)
		for (int i = 0; i < n; i++) {
			struct bus_header header;
			uint32_t at = 0;

			for (uint32_t k = 0; k < msgs[i].len; k++)
				sum = sum ^ ((const uint8_t *)msgs[i].data)[k];
			while (bus_msg_header_next(&msgs[i], &at, &header))
				sum = sum ^ ((const uint8_t *)header.name)[0];
		}
}

static void look(uint64_t time, uint64_t seq)
{
	struct bus_log_finding f;
	struct bus_log_info info;
	struct bus_log *log;

	if (bus_log_open(&log, where, NULL) < 0)
		return;
	read_all(log);
	if (bus_log_seek(log, BUS_LOG_TIME, time) == 0)
		read_all(log);
	if (bus_log_seek(log, BUS_LOG_SEQ, seq) == 0)
		read_all(log);
	if (bus_log_seek(log, BUS_LOG_BACK, seq) == 0)
		read_all(log);
	if (bus_log_info(log, &info) == 0 && info.end_seq < info.first_seq)
		abort();
	while (bus_log_verify(log, &f) > 0)
		if (f.from > f.to)
			abort();
	bus_log_close(log);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	uint64_t time = 0, seq = 0;

	if (where[0] == 0)
		begin();
	memcpy(image, sound, sizeof(image));
	for (int f = 0; f < 2; f++) {
		sizes[f] = IMAGE;
		names[f] = bases[f];
	}
	while (in.left > 1) {
		uint64_t what = take(&in, 1) % 8;
		int f = what < 6 ? (int)(take(&in, 1) & 1) : 0;

		switch (what) {
		case 0:
			change_bytes(&in, f);
			break;
		case 1:
			change_header(&in, f);
			break;
		case 2:
			change_slot(&in, f);
			break;
		case 3:
			change_mark(&in, f);
			break;
		case 4:
			sizes[f] = take(&in, 2) % (IMAGE + 1);
			break;
		case 5:
			names[f] = take(&in, 1);
			break;
		case 6:
			time = take(&in, 8);
			break;
		default:
			seq = take(&in, 8);
		}
	}
	write_files();
	look(time, seq);
	unlink(log_rig_path(&rig, names[0]));
	unlink(log_rig_path(&rig, names[1]));
	return 0;
}

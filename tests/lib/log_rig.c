/* SPDX-License-Identifier: Apache-2.0 */
/* log_rig.c - see log_rig.h. Checksums by the tables, so that the reader's instruction meets another way. */
#include "lib/log_rig.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"

uint8_t log_rig_stream = 0xa0;

static void put(int fd, uint64_t at, const void *data, size_t size)
{
	if (pwrite(fd, data, size, (off_t)at) != (ssize_t)size)
		err(1, "log_rig: pwrite of %zu at %llu", size, (unsigned long long)at);
}

/* ---- checksums ---- */

void log_rig_seal_header(struct log_header *header)
{
	header->crc = crc32c_table_extend(0, header, offsetof(struct log_header, crc));
}

void log_rig_seal_mark(const uint8_t *uuid, struct log_mark *mark)
{
	mark->crc = crc32c_table_extend(0, uuid, LOG_UUID_BYTES);
	mark->crc = crc32c_table_extend(mark->crc, mark, offsetof(struct log_mark, crc));
}

void log_rig_seal_slot(const uint8_t *uuid, struct log_slot *slot, const void *bytes)
{
	uint32_t head_len = (uint16_t)(slot->lens >> 32), len = (uint32_t)slot->lens;
	uint32_t seed = crc32c_table_extend(0, uuid, LOG_UUID_BYTES), crc;

	crc = crc32c_table_extend(seed, &slot->pos, sizeof(slot->pos));
	slot->body_crc = crc32c_table_extend(crc, (const uint8_t *)bytes + head_len, len);
	crc = crc32c_table_extend(seed, slot, 52);
	crc = crc32c_table_extend(crc, (const uint8_t *)slot + 56, 8);
	slot->head_crc = crc32c_table_extend(crc, bytes, head_len);
}

/* ---- segments ---- */

const char *log_rig_path(const struct log_rig *rig, uint64_t base_seq)
{
	static char paths[4][320];
	static unsigned next;
	char *path = paths[next++ % 4];
	int n = snprintf(path, sizeof(paths[0]), "%s/", rig->dir);

	snprintf(path + n, sizeof(paths[0]) - (size_t)n, LOG_SEGMENT_NAME,
		 (unsigned long long)base_seq);
	return path;
}

uint64_t log_rig_slot_off(const struct log_rig *rig, uint64_t base_seq, uint64_t seq)
{
	(void)rig;
	return LOG_SLOTS_OFF + (seq - base_seq) * RING_SLOT_BYTES;
}

static void create(struct log_rig *rig, uint64_t index, uint64_t prev_end)
{
	uint64_t payload_off =
		BUS_ALIGN_UP(LOG_SLOTS_OFF + rig->slots * RING_SLOT_BYTES, (uint64_t)LOG_AREA_ALIGN);

	rig->pos = BUS_ALIGN_UP(rig->pos, (uint64_t)LOG_AREA_ALIGN);
	rig->header = (struct log_header){ .magic = LOG_MAGIC,
					   .version = LOG_VERSION,
					   .index = index,
					   .base_seq = rig->seq,
					   .base_pos = rig->pos,
					   .prev_end = prev_end,
					   .slots = rig->slots,
					   .bytes = rig->bytes,
					   .payload_off = payload_off,
					   .size = payload_off + rig->bytes,
					   .created_ns = rig->time,
					   .topic = "rig.log" };
	memcpy(rig->header.uuid, rig->uuid, LOG_UUID_BYTES);
	log_rig_seal_header(&rig->header);
	rig->fd = open(log_rig_path(rig, rig->seq), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (rig->fd < 0 || ftruncate(rig->fd, (off_t)rig->header.size) < 0)
		err(1, "log_rig: %s", log_rig_path(rig, rig->seq));
	put(rig->fd, 0, &rig->header, sizeof(rig->header));
	put(rig->fd, LOG_COPY_OFF, &rig->header, sizeof(rig->header));
	rig->marks = 0;
}

void log_rig_begin_at(struct log_rig *rig, const char *dir, uint64_t slots, uint64_t bytes,
		      uint64_t seq, uint64_t pos)
{
	*rig = (struct log_rig){ .slots = slots, .bytes = bytes, .seq = seq, .pos = pos, .src = 1 };
	rig->time = LOG_RIG_TIME;
	snprintf(rig->dir, sizeof(rig->dir), "%s", dir);
	for (size_t i = 0; i < LOG_UUID_BYTES; i++)
		rig->uuid[i] = (uint8_t)(log_rig_stream + i);
	rig->seed = crc32c_table_extend(0, rig->uuid, LOG_UUID_BYTES);
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		err(1, "log_rig: %s", dir);
	create(rig, 0, seq);
}

void log_rig_begin(struct log_rig *rig, const char *dir, uint64_t slots, uint64_t bytes)
{
	log_rig_begin_at(rig, dir, slots, bytes, 0, 0);
}

void log_rig_end(struct log_rig *rig)
{
	log_rig_mark(rig);
	close(rig->fd);
	rig->fd = -1;
}

bool log_rig_room(const struct log_rig *rig, uint64_t bytes)
{
	return rig->seq - rig->header.base_seq < rig->slots &&
	       rig->pos + bytes <= rig->header.base_pos + rig->bytes;
}

void log_rig_roll(struct log_rig *rig, uint64_t hole)
{
	uint64_t prev_end = rig->seq, index = rig->header.index;

	log_rig_end(rig);
	rig->seq += hole;
	create(rig, index + 1, prev_end);
}

uint64_t log_rig_put_with(struct log_rig *rig, const struct log_rig_message *msg)
{
	uint64_t total = (uint64_t)msg->head_len + msg->len;
	uint8_t *bytes = calloc(1, total + 1);
	struct log_slot slot;

	if (bytes == NULL)
		err(1, "log_rig");
	if (!log_rig_room(rig, total))
		log_rig_roll(rig, 0);
	if (!log_rig_room(rig, total))
		errx(1, "log_rig: a message of %llu bytes", (unsigned long long)total);
	if (msg->head_len)
		memcpy(bytes, msg->head, msg->head_len);
	if (msg->len)
		memcpy(bytes + msg->head_len, msg->data, msg->len);
	slot = (struct log_slot){ .commit = rig->seq + 1,
				  .pos = rig->pos,
				  .time = rig->time,
				  .lens = ring_pack_lens(msg->len, msg->head_len, msg->key_len),
				  .attrs = ring_pack_attrs(rig->flags, msg->key_len ? 0x1234 : 0),
				  .src_seq = rig->src_seq,
				  .src = rig->src };
	log_rig_seal_slot(rig->uuid, &slot, bytes);
	put(rig->fd, rig->header.payload_off + (rig->pos - rig->header.base_pos), bytes, total);
	put(rig->fd, log_rig_slot_off(rig, rig->header.base_seq, rig->seq), &slot, sizeof(slot));
	free(bytes);
	rig->pos += BUS_ALIGN_UP(total, (uint64_t)RING_POS_ALIGN);
	rig->time += 1000;
	rig->src_seq++;
	return rig->seq++;
}

uint64_t log_rig_put(struct log_rig *rig, const void *data, uint32_t len)
{
	const struct log_rig_message msg = { .data = data, .len = len };

	return log_rig_put_with(rig, &msg);
}

void log_rig_mark(struct log_rig *rig)
{
	uint8_t sector[LOG_MARK_BYTES] = { 0 };
	struct log_mark mark = { .magic = LOG_MARK_MAGIC,
				 .base_seq = rig->header.base_seq,
				 .seq = rig->seq,
				 .pos = rig->pos,
				 .time_ns = rig->time };

	log_rig_seal_mark(rig->uuid, &mark);
	memcpy(sector, &mark, sizeof(mark));
	put(rig->fd, LOG_MARKS_OFF + (uint64_t)(rig->marks++ % LOG_MARKS) * LOG_MARK_BYTES, sector,
	    sizeof(sector));
}

/* ---- files ---- */

static int open_file(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);

	if (fd < 0)
		err(1, "log_rig: %s", path);
	return fd;
}

void log_rig_read(const char *path, uint64_t at, void *buf, size_t size)
{
	int fd = open_file(path, O_RDONLY);

	if (pread(fd, buf, size, (off_t)at) != (ssize_t)size)
		err(1, "log_rig: %s", path);
	close(fd);
}

void log_rig_write(const char *path, uint64_t at, const void *buf, size_t size)
{
	int fd = open_file(path, O_WRONLY);

	put(fd, at, buf, size);
	close(fd);
}

void log_rig_flip(const char *path, uint64_t bit)
{
	uint8_t byte;

	log_rig_read(path, bit / 8, &byte, 1);
	byte ^= (uint8_t)(1 << bit % 8);
	log_rig_write(path, bit / 8, &byte, 1);
}

void log_rig_temporary(char *dir, size_t size)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, size, "%s/log_rig.XXXXXX", tmp ? tmp : "/tmp");
	if (mkdtemp(dir) == NULL)
		err(1, "log_rig: %s", dir);
}

void log_rig_remove(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[700];

	while (d != NULL && (e = readdir(d)) != NULL) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (unlink(path) < 0 && (errno == EISDIR || errno == EPERM))
			log_rig_remove(path);
	}
	if (d != NULL)
		closedir(d);
	rmdir(dir);
}

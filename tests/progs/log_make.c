/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_make.c - for scripts: `log_make DIR COUNT SLOTS BYTES` writes a log of COUNT messages "message N" into
 * segments of SLOTS messages and BYTES of payload. `log_make --flip FILE OFFSET BIT` flips a bit. `log_make --later FILE
 * NS` makes the first message, which has neither key nor headers, so much younger.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "lib/log_rig.h"

static int make_later(const char *path, uint64_t ns)
{
	struct log_header header;
	struct log_slot slot;
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd < 0 || pread(fd, &header, sizeof(header), 0) != sizeof(header) ||
	    pread(fd, &slot, sizeof(slot), LOG_SLOTS_OFF) != sizeof(slot) ||
	    slot.commit != header.base_seq + 1)
		return 1;
	slot.time += ns;
	slot.head_crc = crc32c_extend(crc32c(header.uuid, sizeof(header.uuid)), &slot,
				      offsetof(struct log_slot, head_crc));
	slot.head_crc = crc32c_extend(slot.head_crc, &slot.body_crc, 8);
	return pwrite(fd, &slot, sizeof(slot), LOG_SLOTS_OFF) != sizeof(slot);
}

int main(int argc, char **argv)
{
	struct log_rig rig;
	char text[64];

	if (argc == 5 && strcmp(argv[1], "--flip") == 0) {
		log_rig_flip(argv[2], strtoull(argv[3], NULL, 0) * 8 + strtoull(argv[4], NULL, 0));
		return 0;
	}
	if (argc == 4 && strcmp(argv[1], "--later") == 0)
		return make_later(argv[2], strtoull(argv[3], NULL, 0));
	if (argc != 5) {
		fprintf(stderr, "usage: log_make DIR COUNT SLOTS BYTES\n");
		return 2;
	}
	log_rig_begin(&rig, argv[1], strtoull(argv[3], NULL, 0), strtoull(argv[4], NULL, 0));
	for (unsigned long n = strtoul(argv[2], NULL, 0), i = 0; i < n; i++) {
		int len = snprintf(text, sizeof(text), "message %lu", i);

		log_rig_put(&rig, text, (uint32_t)len);
	}
	log_rig_end(&rig);
	return 0;
}

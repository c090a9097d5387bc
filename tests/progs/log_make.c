/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_make.c - for scripts: `log_make DIR COUNT SLOTS BYTES` writes a log of COUNT messages "message N" into
 * segments of SLOTS messages and BYTES of payload. `log_make --flip FILE OFFSET BIT` flips a bit.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log_rig.h"

int main(int argc, char **argv)
{
	struct log_rig rig;
	char text[64];

	if (argc == 5 && strcmp(argv[1], "--flip") == 0) {
		log_rig_flip(argv[2], strtoull(argv[3], NULL, 0) * 8 + strtoull(argv[4], NULL, 0));
		return 0;
	}
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

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_config.c - libFuzzer target: any bytes as a configuration file; refused with a sentence,
 * or taken and settled.
 */
#include <assert.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config.h"
#include "numa_place.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct ctl_topic_settings nothing;
	struct ctl_topic_settings settled;
	struct config *config = config_new();
	int fd = memfd_create("config", MFD_CLOEXEC);
	struct why why = { "" };
	char path[64];
	int rc;

	numa_start();
	assert(config && fd >= 0);
	if (write(fd, data, size) != (ssize_t)size)
		assert(0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	rc = config_read(config, path, &why);
	assert(rc == 0 || strlen(why.text) > 0);
	if (rc == 0 && config_settle(config, "a.b", &nothing, &settled, &why) == 0) {
		assert(bus_is_pow2(settled.slots) && bus_is_pow2(settled.bytes));
		assert(settled.max_bytes >= settled.bytes);
	}
	config_free(config);
	close(fd);
	return 0;
}

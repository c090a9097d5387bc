/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/own_dir.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char own_dir_path[64];

int own_dir_make(const char *name)
{
	int dir;

	snprintf(own_dir_path, sizeof(own_dir_path), "/dev/shm/bus-%s.XXXXXX", name);
	assert_non_null(mkdtemp(own_dir_path));
	dir = open(own_dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(dir >= 0);
	return dir;
}

int own_dir_remove(int dir)
{
	char command[sizeof(own_dir_path) + 16];

	close(dir);
	snprintf(command, sizeof(command), "rm -rf '%s'", own_dir_path);
	return system(command);
}

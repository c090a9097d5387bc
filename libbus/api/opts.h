/* SPDX-License-Identifier: Apache-2.0 */
/*
 * opts.h - copying a caller's options struct into one of our own size: what a newer caller set that
 * we do not know is
 * -E2BIG, what an older caller does not have is zero.
 */
#ifndef BUS_OPTS_H
#define BUS_OPTS_H

#include <errno.h>
#include <string.h>

#include "base/base.h"

static inline int bus__opts_copy(void *ret, size_t known, const void *opts)
{
	const uint8_t *bytes = opts;
	size_t size;

	memset(ret, 0, known);
	if (opts == NULL)
		return 0;
	memcpy(&size, opts, sizeof(size));
	if (size < sizeof(size) || size > 4096)
		return -EINVAL;
	for (size_t i = known; i < size; i++)
		if (bytes[i] != 0)
			return -E2BIG;
	memcpy(ret, opts, size < known ? size : known);
	return 0;
}

#endif

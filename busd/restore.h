/* SPDX-License-Identifier: Apache-2.0 */
/*
 * restore.h - a new worker reads what the dead one wrote down, takes the descriptors that the
 * keeper held, and has the same registry again. Its clients are absent until they come back
 * (resume.h).
 */
#ifndef BUSD_RESTORE_H
#define BUSD_RESTORE_H

#include "busd.h"
#include "why.h"

/* Before the loop exists: clocks. After it: everything. true: there was a worker before. */
bool restore_clocks(struct busd *busd);
int restore_all(struct busd *busd, struct why *why);

#endif

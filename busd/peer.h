/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peer.h - who is at the other end of a socket, as the kernel attests it, and a descriptor that
 * tells when it has ended.
 */
#ifndef BUSD_PEER_H
#define BUSD_PEER_H

#include "why.h"

#include <sys/types.h>

struct peer_identity {
	uint32_t pid, uid, gid; /* pid 0: it lives in a pid namespace that busd does not see */
	int pidfd;              /* -1: the kernel gives none for pid 0 */
	gid_t *groups;          /* malloc */
	size_t group_count;
	char command[32];
};

/* 0, or -errno (-ESRCH: it has ended already). */
int peer_identify(int fd, struct peer_identity *ret, struct why *why);

#endif

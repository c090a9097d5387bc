/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keeper.h - the process that stays. It holds what must outlive a worker (shared memory, pidfds,
 * the journal, the listening socket), starts a worker, and a new one when that has died. It parses
 * nothing that a client sent, and knows nothing of topics.
 *
 * Signals: TERM, INT: the worker says goodbye, then both end. HUP: the configuration is read
 * again; and where another program lies at busd's path than the worker runs, it is replaced. USR2
 * (busd --upgrade): the worker is replaced, whatever lies there.
 */
#ifndef BUSD_KEEPER_H
#define BUSD_KEEPER_H

#include "why.h"

struct keeper_setup {
	const char *socket_path; /* absolute */
	const char *config_path; /* absolute, NULL: none */
	const char *data_dir;
	bool foreground, private_;
	int listener_fd, config_fd; /* config_fd: a copy of the file, -1: none */
	void (*ready)(void);        /* the first worker serves */
};

/* Until the worker leaves in order, or the first one cannot start. The exit code. */
int keeper_run(const struct keeper_setup *setup);

#endif

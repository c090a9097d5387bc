/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sandbox.h - what busd gives up before it listens to strangers: root, where a user is configured,
 * and the system calls that it has no use for. The only user of libseccomp.
 */
#ifndef BUSD_SANDBOX_H
#define BUSD_SANDBOX_H

#include "config.h"

/*
 * Becomes config->user for good, if one is set: groups, uid, no capability left, no way back
 * through a set-uid program. The socket and the log file are given to that user first. To be called
 * once both are open, by the one thread there is. 0; -EPERM: busd is neither root nor that user
 * already.
 */
int sandbox_become_user(const struct config *config, const char *socket_path, struct why *why);

/*
 * From now on, and in all threads made later: system calls that busd has no use for fail by -EPERM
 * and are logged by the kernel (audit); those that only somebody else's code inside busd would make
 * (exec, ptrace, mount, ...) kill it. Nothing is done where config->sandbox is false.
 */
int sandbox_enter(const struct config *config, struct why *why);

#endif

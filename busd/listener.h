/* SPDX-License-Identifier: Apache-2.0 */
/*
 * listener.h - the path where clients find busd: one busd owns it, by a lock on PATH.lock that
 * the kernel takes away with its owner. Whoever has the lock may unlink what lies at the path.
 */
#ifndef BUSD_LISTENER_H
#define BUSD_LISTENER_H

#include "busd.h"

/* The default path for this user; malloc. NULL with a sentence. */
char *listener_default_path(struct why *why);
/*
 * Makes the directory where it is missing and takes the lock. 0; -EEXIST: another busd has it
 * (named in the sentence).
 */
int listener_lock(struct busd *busd, struct why *why);
/* The pid of the busd that has the lock; 0: nobody says. */
int listener_owner(const struct busd *busd);
/* Binds and listens. A descriptor or -errno. */
int listener_make(const struct busd *busd, struct why *why);
/* Accepts from now on; takes over fd. */
int listener_serve(struct busd *busd, int fd, struct why *why);
/* TIMER_ACCEPT: looks at who waits again. */
void listener_resume(struct busd *busd);
/* Unlinks the path and closes. */
void listener_close(struct busd *busd);
/*
 * Leaves if nobody comes any more: unlinks the path, lets nobody else queue up, and serves who
 * has queued up already; then the path is bound anew. true: nobody was there, busd may go.
 */
bool listener_try_leave(struct busd *busd);

#endif

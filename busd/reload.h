/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reload.h - the configuration takes effect: at start, and anew on SIGHUP. A bad file is refused
 * whole, and the present one goes on. Rights that are no longer there are withdrawn from those who
 * use them: publishers are shut down, subscriptions taken off their topics.
 */
#ifndef BUSD_RELOAD_H
#define BUSD_RELOAD_H

#include "busd.h"

/* Limits and log level as the configuration says. 0 or -ENOMEM. */
int reload_apply(struct busd *busd);
void reload_config(struct busd *busd);

#endif

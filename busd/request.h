/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.h - what clients send: received, checked (length, type, strings), passed on. What does
 * not fit ends the connection; what is of a later version is refused.
 */
#ifndef BUSD_REQUEST_H
#define BUSD_REQUEST_H

#include "client.h"

void request_ready(struct busd *busd, struct watch *watch, uint32_t events);
void request_ev_ready(struct busd *busd, struct watch *watch, uint32_t events);
/* The answer to the present request was given: the next may be taken. */
void request_resume(struct client *client);

/*
 * Is this a message of a known type, of a length that some version has, all its strings ended? NULL,
 * or what is wrong with it. Made one of this version; *more: not quite, it says something that is
 * not known here. bytes has room for CTL_MAX. Pure: the fuzzer's door.
 */
const char *request_check(void *bytes, size_t len, bool *more);

#endif

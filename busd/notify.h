/* SPDX-License-Identifier: Apache-2.0 */
/* notify.h - telling the service manager ($NOTIFY_SOCKET) that busd is ready. */
#ifndef BUSD_NOTIFY_H
#define BUSD_NOTIFY_H

void notify_ready(void);

#endif

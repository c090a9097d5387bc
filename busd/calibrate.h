/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calibrate.h - what a tick of the raw counter is in Unix time. Measured at start, and anew every
 * minute: readers convert time stamps with what stands on the board.
 */
#ifndef BUSD_CALIBRATE_H
#define BUSD_CALIBRATE_H

#include "busd.h"

#define CALIBRATE_EVERY_NS UINT64_C(60000000000)

/* Takes about 10 ms. */
void calibrate_start(struct calibrator *calibrator);
void calibrate_again(struct calibrator *calibrator);
/* NULL, or why stamps of different cores or after a sleep of the machine may disagree. */
const char *calibrate_doubt(void);

#endif

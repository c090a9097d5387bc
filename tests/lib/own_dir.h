/* SPDX-License-Identifier: Apache-2.0 */
/* own_dir.h - a directory of a test's own, in memory, one at a time. For cmocka's programs. */
#ifndef TESTS_OWN_DIR_H
#define TESTS_OWN_DIR_H

extern char own_dir_path[64];

/* Makes it, with `name` in its name. A descriptor; a failure ends the test. */
int own_dir_make(const char *name);
/* It goes, with all that is in it, and so does the descriptor. 0 */
int own_dir_remove(int dir);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list.h - doubly linked lists whose links are inside their members. No allocation, so nothing
 * can fail.
 */
#ifndef BUSD_LIST_H
#define BUSD_LIST_H

#include "base/base.h"

struct list {
	struct list *prev, *next;
};

static inline void list_init(struct list *list)
{
	list->prev = list->next = list;
}

static inline bool list_empty(const struct list *list)
{
	return list->next == list;
}

static inline void list_append(struct list *list, struct list *link)
{
	link->prev = list->prev;
	link->next = list;
	list->prev->next = link;
	list->prev = link;
}

/* The list begins with link, which is on it. Its order stays. */
static inline void list_begin_with(struct list *list, struct list *link)
{
	list->prev->next = list->next;
	list->next->prev = list->prev;
	list_append(link, list); /* links have no ends: right before it */
}

/* A link that is on no list points to itself: removing it again does no harm. */
static inline void list_remove(struct list *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

#define list_entry(link, type, member) BUS_CONTAINER_OF(link, type, member)

/* The present member may be removed (and freed) in the body; others may not. */
#define for_each(pos, head, member) \
	for (struct list *pos##_link = (head)->next, *pos##_next = pos##_link->next; \
	     pos##_link != (head) && \
	     ((pos) = list_entry(pos##_link, __typeof__(*(pos)), member), true); \
	     pos##_link = pos##_next, pos##_next = pos##_link->next)

#endif

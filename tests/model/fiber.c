/* SPDX-License-Identifier: Apache-2.0 */
#include "fiber.h"

#include <string.h>

#if defined(__x86_64__)

__asm__(".text\n"
	".globl bus__fiber_switch\n"
	".type bus__fiber_switch,@function\n"
	"bus__fiber_switch:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size bus__fiber_switch,.-bus__fiber_switch\n");

void *bus__fiber_make(void *stack_top, void (*entry)(void))
{
	void **sp = (void **)((uintptr_t)stack_top & ~(uintptr_t)15);

	*--sp = NULL; /* where entry's caller would be: keeps the alignment that a call leaves */
	*--sp = (void *)entry;
	sp -= 6;
	memset(sp, 0, 6 * sizeof(*sp));
	return sp;
}

#elif defined(__aarch64__)

__asm__(".text\n"
	".globl bus__fiber_switch\n"
	".type bus__fiber_switch,%function\n"
	"bus__fiber_switch:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp, #0]\n"
	"	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n"
	"	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n"
	"	str x9, [x0]\n"
	"	mov sp, x1\n"
	"	ldp x19, x20, [sp, #0]\n"
	"	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n"
	"	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size bus__fiber_switch,.-bus__fiber_switch\n");

void *bus__fiber_make(void *stack_top, void (*entry)(void))
{
	uint8_t *sp = (uint8_t *)((uintptr_t)stack_top & ~(uintptr_t)15) - 160;

	memset(sp, 0, 160);
	memcpy(sp + 88, &entry, sizeof(entry)); /* x30 */
	return sp;
}

#else
#error "fiber.c: no stack switch for this processor"
#endif

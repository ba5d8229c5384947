/* ptrace() for a kernel that knows less of a processor's registers than the processor has.
 *
 * User-Mode Linux 6.1 keeps 2696 bytes of extended state for each process, enough up to AVX-512. Where there is more, such as the
 * tiles of AMX, the machine's kernel refuses to set registers by less than all of them, and the guest dies of it. Here the whole
 * state of the process is read, the part that the guest knows is replaced, and the whole is set: the rest stays as it was.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

typedef long (*ptrace_t)(int, int, void *, void *);

static char state[65536] __attribute__((aligned(64))); /* the most that XSAVE has of one component */

static long set_known(ptrace_t call, int process, void *kind, const struct iovec *known)
{
	struct iovec whole = {state, sizeof(state)};

	if (call(PTRACE_GETREGSET, process, kind, &whole))
		return -1;
	if (known->iov_len >= whole.iov_len)
		return call(PTRACE_SETREGSET, process, kind, (void *)known);
	memcpy(state, known->iov_base, known->iov_len);
	return call(PTRACE_SETREGSET, process, kind, &whole);
}

long ptrace(enum __ptrace_request request, ...)
{
	static ptrace_t call;
	int process;
	void *address, *data;
	va_list rest;

	if (!call)
		call = (ptrace_t)dlsym(RTLD_NEXT, "ptrace");
	va_start(rest, request);
	process = va_arg(rest, int);
	address = va_arg(rest, void *);
	data = va_arg(rest, void *);
	va_end(rest);
	if (request == PTRACE_SETREGSET && (long)address == NT_X86_XSTATE)
		return set_known(call, process, address, data);
	return call(request, process, address, data);
}
